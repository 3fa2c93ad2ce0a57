"""Receipts: proof that an entry is in a log, in one text file that anyone can check without the log.

    c2sp.org/tlog-proof@v1
    extra BASE64 of the entry
    index N
    BASE64 of a hash, one a line, from the leaf's sibling to the root's child
    (one empty line)
    the signed checkpoint, as it is

References:
  C2SP tlog-proof v1, https://c2sp.org/tlog-proof; it leaves the meaning of `extra` to the application.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relayjax.canonical import decode_base64, encode_base64
from relayjax.errors import FormatError
from relayjax.ledger import tiles
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from relayjax.ledger.note import signer_key
from relayjax.ledger.policy import NONE, Policy
from relayjax.ledger.vkey import VerifierKey

_HEADER = "c2sp.org/tlog-proof@v1"
_SIZE_LIMIT = 1 << 18
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Receipt:
    """An entry with the proof that it is in the log.

    Attributes:
      index: The entry's number in the log.
      entry: Its bytes.
      proof: Inclusion proof, 32 bytes each, the leaf's sibling first.
      checkpoint: The signed checkpoint it leads to, a note.
    """

    index: int
    entry: bytes
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """Returns the receipt as a text file, as the module says; its usual extension is `.tlog-proof`."""
        lines = [_HEADER, f"extra {encode_base64(self.entry)}", f"index {self.index}"]
        lines += [encode_base64(sibling) for sibling in self.proof]
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint

    @classmethod
    def decode(cls, data: bytes) -> Receipt:
        """Reads what `encode` writes; proves nothing yet.

        Raises:
          FormatError: The bytes are no receipt.
        """
        if len(data) > _SIZE_LIMIT:
            raise FormatError(f"receipt: {len(data)} bytes, at most {_SIZE_LIMIT} are allowed")
        head, _, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise FormatError(f"receipt: {error}") from error
        match [line.split(" ") for line in lines]:
            case [[header], ["extra", entry], ["index", index], *_] if header == _HEADER:
                # The format allows proofs without `extra`; a receipt that lacks its entry proves nothing.
                proof = tuple(decode_base64(line) for line in lines[3:])
                if _INDEX.fullmatch(index) and all(len(sibling) == HASH_SIZE for sibling in proof):
                    return cls(int(index), decode_base64(entry), proof, checkpoint)
        raise FormatError(f"receipt: expected the lines {_HEADER}, extra, index, hashes, and a checkpoint")


def verify_receipt(
    receipt: Receipt, origin: str, public_key: str, policy: Policy | None = None
) -> Checkpoint:
    """Verifies that a log has committed to the entry of a receipt; returns the checkpoint that says so.

    Args:
      receipt: From whoever.
      origin: The log's origin.
      public_key: The log's Ed25519 public key, 64 hex digits; from a source you trust.
      policy: Whose cosignatures the checkpoint must have.

    Raises:
      FormatError: The checkpoint is malformed or the entry too long.
      IntegrityError: The checkpoint is not signed by the log, or the entry is not where the receipt says.
    """
    policy = policy or Policy(NONE)
    return verify_receipt_under(receipt, policy, signer_key(origin, public_key))


def verify_receipt_under(receipt: Receipt, policy: Policy, log: VerifierKey | None = None) -> Checkpoint:
    """Verifies a receipt under a policy, which also names the logs one accepts unless one is given.

    Args:
      receipt: From whoever.
      policy: From a source you trust.
      log: The one log to accept.

    Raises:
      FormatError: As `verify_receipt` says.
      IntegrityError: As `verify_receipt` says, or witnesses are missing.
    """
    tiles.check_entry(receipt.entry)
    checkpoint = policy.verify(receipt.checkpoint, log, "checkpoint of the receipt")
    verify_inclusion(leaf_hash(receipt.entry), receipt.index, checkpoint.size, receipt.proof, checkpoint.root)
    return checkpoint
