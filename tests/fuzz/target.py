"""What it takes to hand hostile bytes to a parser."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from relayjax import canonical
from relayjax.errors import FormatError
from relayjax.identity import Keys

KEYS = Keys.derive("log", b"fuzz")
"""Of whoever signs what the targets want signed: an insider may be hostile, too."""

Parse = Callable[[bytes], bytes | None]
"""Reads bytes; returns how it would write what it has read, or None where that may differ."""


@dataclass(frozen=True)
class Target:
    """A parser, and valid bytes to start from.

    Attributes:
      name: of the parser and of its corpus.
      parse: must raise `RelayError` only, in memory and work that grow with the input and no faster.
      make: gives inputs that it reads, made by the code that writes them.
    """

    name: str
    parse: Parse
    make: Callable[[], list[bytes]]

    @cached_property
    def seeds(self) -> list[bytes]:
        """What `make` gives, once."""
        return self.make()


def respelt(data: bytes, limit: int = canonical.SIZE_LIMIT) -> bytes:
    """JSON in its one spelling, lest a changed value be refused for its spelling alone; else the input.

    Raises:
      FormatError: A value has no canonical spelling, or the text is too long to be parsed.
    """
    if len(data) > limit:
        raise FormatError("too long")
    try:
        return canonical.encode(json.loads(data))
    except (ValueError, RecursionError):
        return data


def folder() -> Path:
    """An empty directory, for the time of this process."""
    path = Path(tempfile.mkdtemp(prefix="relayjax-fuzz-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
