"""The ordering maintainer's end of the inbox: signed envelopes from anybody, one a file.

A file is looked at only if it is a plain one of a size that a record can have, and its name is its digest;
whatever other files lie there are removed, directories left alone.

Removing is the last step: a file stays until its record is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relayjax import canonical, files, hashing
from relayjax.errors import DiskError, FormatError
from relayjax.hashing import is_digest
from relayjax.identity import Envelope
from relayjax.peers.exchange import is_regular
from relayjax.peers.voice import WHY_LIMIT, encode

FOLDER = "inbox"
_AT_ONCE = 1_024
"""Files looked at in one go, so that a flood of them cannot keep a round from going on."""

REASONS = 1_024
"""Reasons that lie there at most: anybody can be refused, and whoever serves the folder counts its files."""


@dataclass(frozen=True)
class Letter:
    """A signed envelope in the inbox; nobody has verified it.

    Attributes:
      digest: of its bytes.
      envelope: what they are.
    """

    digest: str
    envelope: Envelope

    @classmethod
    def of(cls, envelope: Envelope) -> Letter:
        """The letter that brings an envelope."""
        return cls(hashing.digest(encode(envelope)), envelope)


class Inbox:
    """The inbox of a folder."""

    def __init__(self, folder: Path):
        self._directory = folder / FOLDER

    def letters(self, refused: Callable[[str, str], None]) -> Iterator[Letter]:
        """Yields what lies there, by digest; removes what is no letter.

        Args:
          refused: is told the name of a file that was removed, and why.
        """
        names = sorted(path.name for path in self._directory.iterdir()) if self._directory.is_dir() else []
        candidates = [
            name
            for name in names
            if not (name.startswith(".") or name.endswith(".why") or _is_directory(self._directory / name))
        ]
        for name in candidates[:_AT_ONCE]:
            path = self._directory / name
            try:
                letter = _read(path)
            except FormatError as error:
                refused(name[:80], str(error))
                with suppress(DiskError):  # another user's
                    files.remove(path)
                continue
            except DiskError:  # removed in between
                continue
            yield letter

    def lying(self) -> Iterator[Envelope]:
        """Yields what lies there for the orderer, as anybody can see it; nothing is removed."""
        names = sorted(path.name for path in self._directory.glob("*.json"))
        for name in names[:_AT_ONCE]:
            with suppress(FormatError, DiskError):
                yield _read(self._directory / name).envelope

    def remove(self, letter: Letter) -> None:
        """Removes a letter whose record is durable, or that was refused."""
        files.remove(self._directory / f"{letter.digest}.json")

    def refuse(self, letter: Letter, reason: str) -> None:
        """Removes a letter and says why, unless very many have been told why in this round."""
        if sum(1 for _ in self._directory.glob("*.why")) < REASONS:
            text = reason.encode()[:WHY_LIMIT]
            files.write_atomic(self._directory / f"{letter.digest}.why", text)
        self.remove(letter)

    def forget(self) -> None:
        """Removes the reasons given so far."""
        if self._directory.is_dir():
            for path in sorted(self._directory.glob("*.why")):
                if is_regular(path):
                    with suppress(DiskError):  # another user's
                        files.remove(path)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _read(path: Path) -> Letter:
    """Reads a letter.

    Raises:
      FormatError: it is none.
      DiskError: it can't be read.
    """
    digest, dot, suffix = path.name.partition(".")
    if not (is_regular(path) and is_digest(digest) and dot + suffix == ".json"):
        raise FormatError("not a plain file under the digest of its bytes")
    data = files.read(path, canonical.SIZE_LIMIT + 1)
    if len(data) > canonical.SIZE_LIMIT:
        raise FormatError(f"more than {canonical.SIZE_LIMIT} bytes")
    if hashing.digest(data) != digest:
        raise FormatError("not what its name says")
    return Letter(digest, Envelope.from_json(canonical.decode(data)))
