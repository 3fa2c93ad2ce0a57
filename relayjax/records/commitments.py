"""What binds somebody to what is shown later, or shows that a key is there without using it."""

from __future__ import annotations

import dataclasses

from blake3 import blake3

from relayjax.records.codec import encode
from relayjax.records.members import Recover, RecoveryKey, Rotate
from relayjax.records.rounds import Score, Value


def commitment(salt: bytes, delta: str, parent: str, round: int, author: str) -> str:
    """BLAKE3 of salt, delta digest, parent digest, round and author, each length-prefixed; hexadecimal.

    The salt hides the delta until it is revealed; the other parts stop anybody from committing to
    somebody else's work or to work on another parent.
    """
    hasher = blake3(derive_key_context="relayjax 2026 commit v1")
    for part in (
        salt,
        bytes.fromhex(delta),
        bytes.fromhex(parent),
        round.to_bytes(8, "big"),
        author.encode(),
    ):
        hasher.update(len(part).to_bytes(8, "big")).update(part)
    return hasher.hexdigest()


def report_commitment(report: Score | Value) -> str:
    """What a pledge states: BLAKE3 of the report's canonical bytes, hexadecimal.

    Its salt, author and round are among them: the salt hides the figures, the others stop anybody from
    pledging to somebody else's report.
    """
    hasher = blake3(encode(report), derive_key_context="relayjax 2026 report commitment v1")
    return hasher.hexdigest()


def possession(record: RecoveryKey | Rotate | Recover) -> bytes:
    """What the key that a record brings must sign: the record's canonical bytes with an empty `proof`."""
    return encode(dataclasses.replace(record, proof=""))
