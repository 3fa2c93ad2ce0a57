"""Checkpoints: what a log commits to at one size, as a signed note.

References:
  C2SP tlog-checkpoint v1, https://c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relayjax.canonical import decode_base64, encode_base64
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys
from relayjax.ledger.merkle import HASH_SIZE
from relayjax.ledger.note import check_key_name, sign_note, verify_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Checkpoint:
    """Origin, tree size and root hash of a log.

    Attributes:
      origin: The log's own name, also the one it signs with; no spaces, no plus.
      size: Number of entries.
      root: Merkle root over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def encode(self) -> str:
        """Returns the note's text: origin, size in decimal, root in base64, a newline after each."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    @classmethod
    def decode(cls, text: str) -> Checkpoint:
        """Reads what `encode` writes; further lines, which the format would allow, are refused.

        Raises:
          FormatError: The text is no checkpoint.
        """
        match text.split("\n"):
            case [origin, size, root, ""] if _SIZE.fullmatch(size):
                check_key_name(origin)
                if len(root_hash := decode_base64(root)) == HASH_SIZE:
                    return cls(origin, int(size), root_hash)
        raise FormatError("checkpoint: expected the three lines origin, size and root hash in base64")


def sign_checkpoint(checkpoint: Checkpoint, keys: Keys) -> bytes:
    """Signs a checkpoint in the name of its origin; returns the note."""
    return sign_note(checkpoint.encode(), checkpoint.origin, keys)


def verify_checkpoint(data: bytes, origin: str, public_key: str, where: str = "checkpoint") -> Checkpoint:
    """Verifies a signed checkpoint of a log.

    Args:
      data: The note.
      origin: The log it must be of.
      public_key: The log's Ed25519 public key, 64 hex digits.
      where: Names the checkpoint in the error.

    Raises:
      FormatError: The bytes are no checkpoint.
      IntegrityError: It is not signed by this log, or is of another.
    """
    checkpoint = Checkpoint.decode(verify_note(data, {origin: public_key}, where))
    if checkpoint.origin != origin:
        raise IntegrityError(where, f"it is of the log {checkpoint.origin}, expected {origin}")
    return checkpoint
