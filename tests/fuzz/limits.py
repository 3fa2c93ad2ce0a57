"""Measures what a parser takes for an input, and refuses what it may not do at all."""

from __future__ import annotations

import os
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

_ELSEWHERE = ("os.exec", "os.fork", "os.posix_spawn", "os.system", "pickle.find_class", "socket.connect")
_ELSEWHERE += ("subprocess.Popen", "urllib.Request")
_CHANGES = ("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")
_OWN = os.path.join(tempfile.gettempdir(), "relayjax-fuzz-")
"""What the targets' own directories begin with."""

_CODE = (".py", ".pyc", ".so")
"""Modules that are imported when first needed."""


@dataclass
class Cost:
    """What parsing took.

    Attributes:
      memory: most bytes of Python's and NumPy's at once.
      calls: of functions, of Python and of C.
    """

    memory: int = 0
    calls: int = 0


_watching: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching is None:
        return
    if event in _ELSEWHERE or event in _CHANGES or event == "open":
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
        opened = event == "open" and (
            not path or (path.endswith(_CODE) and arguments[1] in ("r", "rb", None))
        )
        if event in _ELSEWHERE or not (opened or path.startswith(_OWN)):
            _watching.append(f"{event} {arguments[:2]}")


sys.addaudithook(_watch)


@contextmanager
def measured(counting: bool = True) -> Iterator[Cost]:
    """Measures what happens inside.

    Args:
      counting: calls, too, which takes some time.

    Raises:
      AssertionError: a file was opened outside of the targets' own directories, or a process or connection.
    """
    global _watching
    cost = Cost()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            cost.calls += 1

    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    _watching = watched = []
    sys.setprofile(count if counting else None)
    try:
        yield cost
    finally:
        sys.setprofile(None)
        _watching = None
        cost.memory = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
    assert not watched, watched


def bombs(seed: bytes, size: int) -> Iterator[bytes]:
    """Inputs of some size that begin as valid ones do and go on with more of one thing than anybody needs."""
    for piece in (b"[", b'{"a":', b"9", b"\n", b"\n\n", b"\0", b"\xff", b"a/", b"=", b",", b'"', b"\\u0000"):
        for start in (0, len(seed) // 2, len(seed)):
            yield seed[:start] + piece * (size // len(piece)) + seed[start:]
    yield seed * (size // max(1, len(seed)))
    yield (seed + b"\n") * (size // (1 + len(seed)))
