"""Checkpoints: what a log commits to at one size, as a signed note.

References:
  C2SP tlog-checkpoint v1, https://c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from relayjax.canonical import decode_base64, encode_base64
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys
from relayjax.ledger.merkle import HASH_SIZE
from relayjax.ledger.note import parse_note, sign_note, signer_key, verify_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Checkpoint:
    """Origin, tree size and root hash of a log.

    Attributes:
      origin: The log's own name. Ours sign with it, so theirs have no spaces and no plus.
      size: Number of entries.
      root: Merkle root over them, 32 bytes.
      extensions: Further lines, opaque. Our logs write none; a witness signs those of others along.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def encode(self) -> str:
        """Returns the note's text: origin, size in decimal, root in base64, a newline after each line."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def decode(cls, text: str) -> Checkpoint:
        """Reads what `encode` writes.

        Raises:
          FormatError: The text is no checkpoint.
        """
        match text.split("\n"):
            case [origin, size, root, *extensions, ""] if _SIZE.fullmatch(size):
                root_hash = decode_base64(root)
                if len(root_hash) == HASH_SIZE and origin and all(extensions):
                    return cls(origin, int(size), root_hash, tuple(extensions))
        raise FormatError("checkpoint: expected the lines origin, size and root hash in base64, none empty")


def sign_checkpoint(checkpoint: Checkpoint, keys: Keys) -> bytes:
    """Signs a checkpoint in the name of its origin; returns the note."""
    return sign_note(checkpoint.encode(), checkpoint.origin, keys)


def verify_checkpoint(
    data: bytes, origin: str, public_keys: str | Iterable[str], where: str = "checkpoint"
) -> Checkpoint:
    """Verifies a signed checkpoint of a log.

    Args:
      data: The note.
      origin: The log it must be of.
      public_keys: The log's Ed25519 public key, 64 hex digits, or several of which any will do.
      where: Names the checkpoint in the error.

    Raises:
      FormatError: The bytes are no checkpoint.
      IntegrityError: It is not signed by this log, or is of another.
    """
    keys = [public_keys] if isinstance(public_keys, str) else public_keys
    checkpoint = Checkpoint.decode(verify_note(data, [signer_key(origin, key) for key in keys], where).text)
    if checkpoint.origin != origin:
        raise IntegrityError(where, f"it is of the log {checkpoint.origin}, expected {origin}")
    return checkpoint


def read_claim(data: bytes, origin: str, where: str = "checkpoint") -> Checkpoint:
    """What a checkpoint of a log says before anybody has vouched for it: its entries say who may.

    Args:
      data: The note.
      origin: The log it must be of.
      where: Names the checkpoint in the error.

    Raises:
      FormatError: The bytes are no checkpoint.
      IntegrityError: It is of another log.
    """
    checkpoint = Checkpoint.decode(parse_note(data).text)
    if checkpoint.origin != origin:
        raise IntegrityError(where, f"it is of the log {checkpoint.origin}, expected {origin}")
    return checkpoint
