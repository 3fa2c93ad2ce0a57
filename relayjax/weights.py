"""Model weights as the protocol sees them: one flat float32 vector, and its digest. P: parameters."""

from __future__ import annotations

import numpy as np

from relayjax import hashing

CARRIED = "carried/"
"""What the names of arrays start with that are handed on beside the parameters."""

_ALIGNED = 64  # bytes


def digest(theta: np.ndarray) -> str:
    """A version's identity: the digest of its bytes as an artefact, hexadecimal; see `hashing`."""
    return hashing.digest(as_bytes(theta))


def as_bytes(theta: np.ndarray) -> memoryview:
    """The parameters as little-endian float32 [P], 4 P bytes: a view where they lie like that already."""
    return np.ascontiguousarray(theta, dtype="<f4").data.cast("B")


def empty(size: int) -> np.ndarray:
    """A vector to be filled, little-endian float32 [size], that lies where XLA takes it without a copy."""
    whole = np.empty(size + _ALIGNED // 4, "<f4")
    start = -whole.ctypes.data % _ALIGNED // 4
    return whole[start : start + size]
