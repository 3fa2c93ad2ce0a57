"""How members reach what they share: files by path, read and written whole. A folder is the first such place.

Nothing that is fetched is believed: the log's signature, a record's signature or an artefact's digest says
what it is. So an exchange may lose, delay or alter what it likes: that denies service, and no more.

    ledger/     the log, as static files
    store/      artefacts at rest; seals/ their manifests
    inbox/      records on their way to the ordering maintainer: `DIGEST.json`, a signed envelope under the
                BLAKE3 digest of its bytes; `DIGEST.why` says why one was refused
    handover/   sealed artefacts of the present round on their way, see `handover.py`
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Protocol

from relayjax import files
from relayjax.errors import DiskError, FormatError, IntegrityError

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Exchange(Protocol):
    """Files by relative path, names parted by slashes."""

    def fetch(self, path: str, limit: int) -> bytes | None:
        """Returns a file; None if it is not there now.

        Args:
          path: of the file.
          limit: bytes it may have.

        Raises:
          IntegrityError: it is longer.
          FormatError: the path leads out of the exchange.
          DiskError: it can't be read.
          ExchangeError: who serves it can't be reached now; trying again may help.
        """
        ...

    def offer(self, path: str, data: bytes) -> None:
        """Puts a file there, in place of what may be there; others see it whole or not at all.

        Raises:
          FormatError: the path leads out of the exchange.
          DiskError: it can't be written.
          ExchangeError: who serves it can't be reached now, or does not take it.
        """
        ...


class FolderExchange:
    """An exchange in a folder that all members can see."""

    def __init__(self, folder: Path):
        """Opens a folder; nothing is read yet."""
        self.folder = folder

    def fetch(self, path: str, limit: int) -> bytes | None:
        file = self.locate(path)
        if not is_regular(file):
            return None
        try:
            data = files.read(file, max(limit, 0) + 1)
        except DiskError:
            if not file.exists():  # removed in between
                return None
            raise
        if len(data) > limit:
            raise IntegrityError(str(file), f"more than the {limit} bytes it may have; it is left unread")
        return data

    def offer(self, path: str, data: bytes) -> None:
        files.write_atomic(self.locate(path), data)

    def locate(self, path: str) -> Path:
        """Where a path leads; links that others may have put in the way do not lead out of the folder.

        Raises:
          FormatError: the path is none, or leads out.
        """
        file = self.folder.joinpath(*parts_of(path))
        if not file.parent.resolve().is_relative_to(self.folder.resolve()):
            raise FormatError(f"{file.parent}: leads out of {self.folder}; remove what was put there")
        return file


def parts_of(path: str) -> list[str]:
    """The names that a path consists of.

    Raises:
      FormatError: one of them is none that an exchange has.
    """
    parts = path.split("/")
    if not all(map(_PART.fullmatch, parts)):
        raise FormatError(f"path {path[:80]!r}: names of letters, digits, dots, - and _ parted by slashes")
    return parts


def put(exchange: Exchange, path: str, data: bytes) -> None:
    """Offers a file unless it lies there as it is; what others have made of it is replaced."""
    try:
        there = exchange.fetch(path, len(data))
    except IntegrityError:
        there = None
    if there != data:
        exchange.offer(path, data)


def is_regular(file: Path) -> bool:
    """Whether there is a plain file under a name: neither a link nor a pipe that would have readers wait."""
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:
        return False
