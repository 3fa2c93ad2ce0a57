"""Model weights as the protocol sees them: one flat float32 vector, and its digest. P: parameters."""

from __future__ import annotations

import numpy as np
from blake3 import blake3

CARRIED = "carried/"
"""What the names of arrays start with that are handed on beside the parameters."""


def digest(theta: np.ndarray) -> str:
    """A version's identity: BLAKE3 of the parameters as little-endian float32 [P], hexadecimal."""
    return blake3(np.ascontiguousarray(theta, dtype="<f4").data.cast("B")).hexdigest()
