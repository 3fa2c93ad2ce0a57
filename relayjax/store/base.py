"""What a store of artefacts is: bytes under the digest of themselves, that of `relayjax.hashing`.

A digest is written as 64 lower-case hexadecimal digits, everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from relayjax.errors import FormatError
from relayjax.hashing import Buffer, is_digest


class Store(Protocol):
    """Keeps artefacts. Whatever `get` returns has the digest that was asked for."""

    def put(self, data: Buffer) -> str:
        """Keeps bytes for good and returns their digest; putting them again changes nothing."""
        ...

    def put_many(self, blobs: Sequence[Buffer]) -> list[str]:
        """Keeps several byte strings for good; returns their digests in order."""
        ...

    def get(self, digest: str, limit: int | None = None) -> bytes:
        """Returns the bytes of a digest.

        Args:
          digest: of the bytes.
          limit: refuse more bytes than these before reading them; no limit by default.

        Raises:
          FormatError: the digest is malformed.
          IntegrityError: missing, longer than the limit, or other bytes than the digest names.
        """
        ...

    def has(self, digest: str) -> bool:
        """Tells whether there is something under this digest; it may still be damaged."""
        ...

    def delete(self, digest: str) -> None:
        """Removes the bytes of a digest, if they are there."""
        ...

    def digests(self) -> Iterable[str]:
        """Returns the digests of all that is kept, sorted."""
        ...


def check_digest(text: str) -> None:
    """Refuses what is not spelt as a digest; nothing else may become part of a path.

    Raises:
      FormatError: other than 64 lower-case hexadecimal digits.
    """
    if not is_digest(text):
        raise FormatError(f"digest {text[:80]!r}: expected 64 lower-case hexadecimal digits")
