"""Artefacts of the present round on their way, sealed, at names that follow from the agreed state.

    handover/ROUND-parent-VERSION.age    a head's weights, sealed by the orderer to the matched trainers
    handover/ROUND-delta-NAME.age        an encoded delta, sealed by its trainer to the orderer
    handover/ROUND-candidate-NAME.age    the same, sealed by the orderer to all maintainers

A trainer seals to the orderer alone, and the orderer passes on what it has checked: else a trainer could
show its delta to some maintainers only, and the others could not report. What is opened counts only if its
digest is the ledger's. P: parameters and what is carried beside them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from relayjax import hashing
from relayjax.errors import AccessError, DiskError, IntegrityError
from relayjax.identity import Keys, open_sealed, seal
from relayjax.mechanism.state import State
from relayjax.peers.exchange import Exchange
from relayjax.replay import public_keys
from relayjax.weights import digest

FOLDER = "handover"


def parent(round: int, version: int) -> str:
    """Path of a version's weights for a round's trainers."""
    return f"{FOLDER}/{round:05d}-parent-{version}.age"


def delta(round: int, name: str) -> str:
    """Path of a trainer's delta for the orderer."""
    return f"{FOLDER}/{round:05d}-delta-{name}.age"


def candidate(round: int, name: str) -> str:
    """Path of a trainer's delta for all maintainers."""
    return f"{FOLDER}/{round:05d}-candidate-{name}.age"


def round_of(file_name: str) -> int | None:
    """The round that a file in the folder belongs to; None for one that is not named as above."""
    number = file_name.partition("-")[0]
    return int(number) if number.isdecimal() and number.isascii() and len(number) < 16 else None


def sealed_for(plaintext: bytes, state: State, names: Iterable[str]) -> bytes:
    """Seals something to members."""
    return seal(plaintext, [public_keys(state.members[name]).receiving for name in sorted(set(names))])


def take(exchange: Exchange, path: str, keys: Keys, expected: str, limit: int) -> bytes | None:
    """Opens what somebody handed over.

    Args:
      exchange: where.
      path: of the file.
      keys: of who opens it.
      expected: digest of the plaintext.
      limit: bytes the plaintext may have.

    Returns:
      The plaintext; None if it is not there, or is something else: then it is to be handed over again.
    """
    try:
        sealed = exchange.fetch(path, sealed_limit(limit))
        plaintext = None if sealed is None else open_sealed(sealed, keys)
    except (AccessError, IntegrityError, DiskError):
        return None
    return plaintext if plaintext is not None and hashing.digest(plaintext) == expected else None


def take_weights(exchange: Exchange, path: str, keys: Keys, expected: str, size: int) -> np.ndarray | None:
    """Opens a version's weights, float32 [P]; None as for `take`.

    Args:
      exchange, path, keys: as for `take`.
      expected: the version's digest.
      size: P.
    """
    plaintext = take(exchange, path, keys, expected, 4 * size)
    if plaintext is None or len(plaintext) != 4 * size:
        return None
    theta = np.frombuffer(plaintext, dtype="<f4").astype(np.float32)
    return theta if digest(theta) == expected else None


def weights_bytes(theta: np.ndarray) -> bytes:
    """A version's weights, float32 [P], as they are sealed: little-endian, so that their digest is its."""
    return np.ascontiguousarray(theta, dtype="<f4").tobytes()


def sealed_limit(size: int) -> int:
    """Bytes that an age file of so large a plaintext may have, for up to some hundred recipients."""
    return size + size // 1024 + (1 << 17)
