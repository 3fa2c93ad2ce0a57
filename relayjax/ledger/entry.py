"""Log entries: a signed record at its index, chained to the entry before.

    {"envelope": DSSE, "index": n, "prev": BLAKE3 of the bytes of entry n − 1 in hex, 64 zeros for the first}

in canonical JSON. The chain repeats what the Merkle tree says in a form that needs no tree: whoever holds a
run of entries can see that none is missing, and which of an entry and a tile is damaged when they disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from blake3 import blake3

from relayjax import canonical
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Envelope

FIRST_PREV = "0" * 64
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """A log entry.

    Attributes:
      index: Its number in the log, from 0.
      prev: BLAKE3 of the bytes of the entry before, 64 hex digits; zeros for the first.
      envelope: The signed record. Its signature is verified by who knows the signers, not here.
    """

    index: int
    prev: str
    envelope: Envelope

    def encode(self) -> bytes:
        """Returns the entry's bytes, canonical JSON as the module says."""
        return canonical.encode({"envelope": self.envelope.to_json(), "index": self.index, "prev": self.prev})

    @classmethod
    def decode(cls, data: bytes) -> Entry:
        """Reads what `encode` writes.

        Raises:
          FormatError: The bytes are no canonical entry.
        """
        match canonical.decode(data):
            case {"envelope": envelope, "index": int(index), "prev": str(prev), **more} if not more:
                if index >= 0 and not isinstance(index, bool) and _DIGEST.fullmatch(prev):
                    return cls(index, prev, Envelope.from_json(envelope))
        raise FormatError(
            "log entry: expected envelope, index from 0 and prev of 64 hex digits, nothing else"
        )


def digest(data: bytes) -> str:
    """Returns BLAKE3 of an entry's bytes in hex, the `prev` of the next."""
    return blake3(data).hexdigest()


def chain(envelopes: Iterable[Envelope], start: int = 0, prev: str = FIRST_PREV) -> list[bytes]:
    """Makes consecutive entries out of signed records; returns their bytes.

    Args:
      envelopes: The records in their order.
      start: Index of the first, the size of the log so far.
      prev: Digest of the entry before it.
    """
    encoded: list[bytes] = []
    for index, envelope in enumerate(envelopes, start):
        encoded.append(Entry(index, prev, envelope).encode())
        prev = digest(encoded[-1])
    return encoded


def verify_chain(
    entries: Iterable[bytes], start: int = 0, prev: str = FIRST_PREV, where: str = "log"
) -> list[Entry]:
    """Verifies that entries follow each other without a gap; returns them decoded.

    Args:
      entries: Bytes of consecutive entries.
      start: The index that the first must have.
      prev: The `prev` that the first must have.
      where: Names the source in the error, for instance its file.

    Raises:
      IntegrityError: An entry is malformed, has another index or another `prev`; it names the entry.
    """
    decoded: list[Entry] = []
    for index, data in enumerate(entries, start):
        try:
            entry = Entry.decode(data)
        except FormatError as error:
            raise IntegrityError(f"{where}, entry {index}", str(error)) from error
        if entry.index != index:
            raise IntegrityError(f"{where}, entry {index}", f"it says that its index is {entry.index}")
        if entry.prev != prev:
            raise IntegrityError(
                f"{where}, entry {index}", f"its prev is {entry.prev}, the entry before has {prev}"
            )
        decoded.append(entry)
        prev = digest(data)
    return decoded
