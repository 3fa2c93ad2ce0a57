"""Cosignatures: a witness's word that a log has grown consistently, and when it saw it.

The signature of a line is timestamp (uint64, big-endian, POSIX seconds) ‖ Ed25519 over

    cosignature/v1
    time TIMESTAMP
    the text of the checkpoint

or ‖ ML-DSA-44 over

    "subtree/v1\\n\\0" ‖ length (1 byte) ‖ name of the witness ‖ timestamp ‖ length ‖ origin of the log
    ‖ 0 (uint64) ‖ size (uint64) ‖ root

The first line keeps it apart from whatever else the same key might sign. Our own witness signs with Ed25519,
which the logs and monitors of today read; of others both are accepted.

References:
  C2SP tlog-cosignature v1, sections "Format", "Ed25519 signed message" and "ML-DSA-44 signed message".
"""

from __future__ import annotations

import re
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from relayjax.canonical import decode_base64, encode_base64
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys, ed25519
from relayjax.ledger.vkey import COSIGNATURE, VerifierKey

_TIME_SIZE = 8
_TIME_LIMIT = 2**63
_NAME_LIMIT = 255
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")


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
    if not 1 <= timestamp < _TIME_LIMIT:  # 0 would say nothing of the largest tree that was seen
        raise IntegrityError(where, f"the cosignature of {key.name} has an impossible time")
    if key.kind == COSIGNATURE:
        ed25519.verify(key.public, signature[_TIME_SIZE:], _message(text, timestamp), where)
        return timestamp
    message = _subtree_message(text, key.name, timestamp)
    try:
        MLDSA44PublicKey.from_public_bytes(key.public).verify(signature[_TIME_SIZE:], message)
    except InvalidSignature:
        raise IntegrityError(where, f"the cosignature does not hold under the key of {key.name}") from None
    return timestamp


def _subtree_message(text: str, name: str, timestamp: int) -> bytes:
    """What ML-DSA-44 signs: the first three lines of a checkpoint, as a subtree from entry 0."""
    match text.split("\n"):
        case [origin, size, root, *_] if _SIZE.fullmatch(size):
            cosigner, log = (_counted(line) for line in (name, origin))
            numbers = struct.pack(">QQ", 0, int(size))
            return (
                b"subtree/v1\n\0"
                + cosigner
                + struct.pack(">Q", timestamp)
                + log
                + numbers
                + decode_base64(root)
            )
    raise FormatError("cosignature: the note is no checkpoint")


def _counted(line: str) -> bytes:
    data = line.encode()
    if len(data) > _NAME_LIMIT:
        raise FormatError(f"cosignature: the name {line[:80]!r} has more than {_NAME_LIMIT} bytes")
    return bytes([len(data)]) + data


def _message(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()
