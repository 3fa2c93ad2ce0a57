"""How members reach what they share: files by path, each whole or not there; a folder is the first.

What is large consists of many files (`parcel.py`, the store), so that none takes much memory.

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
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Protocol, runtime_checkable

import numpy as np

from relayjax import files, hashing
from relayjax.errors import DiskError, FormatError, IntegrityError
from relayjax.hashing import CHUNK

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_KNOWN = 4_096
"""Files whose digests are remembered until they change."""


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


@runtime_checkable
class Streaming(Protocol):
    """What an exchange may do beside that, so that large files are copied and moved less often.

    The functions `fetch_into` and `holds` do the same with any exchange.
    """

    def fetch_into(self, path: str, target: memoryview) -> int | None:
        """Fetches a file into a buffer; errors as for `fetch`, the limit is the buffer's length.

        Returns:
          The file's length; None if it is not there now.
        """
        ...

    def holds(self, path: str, digest: str) -> bool:
        """Tells whether a file with the digest lies there, moving little; errors as for `fetch`."""
        ...


class FolderExchange:
    """An exchange in a folder that all members can see. May be used from several threads."""

    def __init__(self, folder: Path):
        """Opens a folder; nothing is read yet."""
        self.folder = folder
        self._lock = Lock()
        self._known: OrderedDict[Path, tuple[tuple[int, ...], str]] = OrderedDict()

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

    def fetch_into(self, path: str, target: memoryview) -> int | None:
        file = self.locate(path)
        if not is_regular(file):
            return None
        try:
            size = file.stat().st_size
            if size <= len(target):
                files.read_into(file, 0, target[:size])
                return size
        except (OSError, DiskError):
            if file.exists():
                raise
            return None  # removed in between
        raise IntegrityError(str(file), f"more than the {len(target)} bytes it may have; it is left unread")

    def holds(self, path: str, digest: str) -> bool:
        file = self.locate(path)
        if not is_regular(file):
            return False
        try:
            found = file.lstat()
            identity = (found.st_ino, found.st_ctime_ns, found.st_size)  # nobody can set these back
            with self._lock:
                known = self._known.pop(file, None)
            if known is None or known[0] != identity:
                known = identity, digest_of(file)
        except (OSError, DiskError):  # removed or cut in between
            return False
        with self._lock:
            self._known[file] = known
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return known[1] == digest

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


def fetch_into(exchange: Exchange, path: str, target: memoryview) -> int | None:
    """Fetches a file into a buffer; see `Streaming.fetch_into`."""
    if isinstance(exchange, Streaming):
        return exchange.fetch_into(path, target)
    data = exchange.fetch(path, len(target))
    if data is None:
        return None
    target[: len(data)] = data
    return len(data)


def room(size: int) -> memoryview:
    """A buffer of so many bytes whose memory is taken as it is filled, in large pages where there are some.

    Whoever serves a file may state any length and send nothing; and a buffer of small pages costs more than
    what comes into it.
    """
    return np.empty(size, np.uint8).data


def holds(exchange: Exchange, path: str, digest: str, size: int) -> bool:
    """Tells whether a file of so many bytes with the digest lies there; see `Streaming.holds`."""
    if isinstance(exchange, Streaming):
        return exchange.holds(path, digest)
    try:
        data = exchange.fetch(path, size)
    except IntegrityError:
        return False
    return data is not None and hashing.digest(data) == digest


def put(exchange: Exchange, path: str, data: bytes) -> str:
    """Offers a file unless it lies there as it is; what others have made of it is replaced.

    Returns:
      The file's digest.
    """
    digest = hashing.digest(data)
    if not holds(exchange, path, digest, len(data)):
        exchange.offer(path, data)
    return digest


def is_regular(file: Path) -> bool:
    """Whether there is a plain file under a name: neither a link nor a pipe that would have readers wait."""
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:
        return False


def digest_of(file: Path) -> str:
    """Digest of a plain file, of which a chunk is in memory at a time.

    Raises:
      OSError, DiskError: it was removed or cut in between.
    """
    return hashing.digest_of_pieces(_chunks(file, file.lstat().st_size))


def _chunks(file: Path, size: int) -> Iterator[memoryview]:
    """The content of a file, a chunk at a time in the same buffer."""
    buffer = memoryview(bytearray(min(size, CHUNK)))
    for start in range(0, max(size, 1), CHUNK):
        part = buffer[: min(CHUNK, size - start)]
        files.read_into(file, start, part)
        yield part
