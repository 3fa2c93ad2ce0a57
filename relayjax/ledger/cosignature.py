"""Cosignatures: a witness's word that a log has grown consistently, and when it saw it.

The signature of a line is timestamp (uint64, big-endian, POSIX seconds) ‖ Ed25519 over

    cosignature/v1
    time TIMESTAMP
    the text of the checkpoint

The first line keeps it apart from whatever else the same key might sign.

References:
  C2SP tlog-cosignature v1, sections "Format" and "Ed25519 signed message".
"""

from __future__ import annotations

from relayjax.canonical import encode_base64
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys, ed25519
from relayjax.ledger.vkey import COSIGNATURE, VerifierKey

_TIME_SIZE = 8
_TIME_LIMIT = 2**63


def cosigner_key(name: str, keys: Keys) -> VerifierKey:
    """The verifier key of a witness that signs with these keys under a name."""
    return VerifierKey(name, COSIGNATURE, bytes.fromhex(keys.public.signing))


def cosign(text: str, name: str, keys: Keys, timestamp: int) -> str:
    """Cosigns a checkpoint.

    Args:
      text: The checkpoint's text, with all its lines.
      name: The witness's name.
      keys: The witness's. They serve one name only, for an Ed25519 cosignature does not say whose it is.
      timestamp: POSIX seconds, from 1 on.

    Returns:
      The signature line with its newline.

    Raises:
      FormatError: The timestamp is out of range.
    """
    if not 1 <= timestamp < _TIME_LIMIT:
        raise FormatError(f"cosignature: time {timestamp} is not from 1 to 2**63 - 1; set the clock")
    signature = timestamp.to_bytes(_TIME_SIZE, "big") + keys.sign(_message(text, timestamp))
    return f"— {name} {encode_base64(cosigner_key(name, keys).key_id + signature)}\n"


def verify_cosignature(text: str, key: VerifierKey, signature: bytes, where: str) -> int:
    """Verifies a cosignature of a checkpoint; returns its time in POSIX seconds.

    Args:
      text: The checkpoint's text.
      key: The witness's.
      signature: From its line, without the key id.
      where: Names the checkpoint in the error.

    Raises:
      IntegrityError: It does not hold.
    """
    timestamp = int.from_bytes(signature[:_TIME_SIZE], "big")
    if timestamp >= _TIME_LIMIT:
        raise IntegrityError(where, f"the cosignature of {key.name} has an impossible time")
    ed25519.verify(key.public, signature[_TIME_SIZE:], _message(text, timestamp), where)
    return timestamp


def _message(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()
