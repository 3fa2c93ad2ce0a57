"""Model weights as the protocol sees them: one flat float32 vector, its digest, and its composition.

P: parameters, N: participants.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from blake3 import blake3


def digest(theta: np.ndarray) -> str:
    """A version's identity: BLAKE3 of the parameters as little-endian float32 [P], hexadecimal."""
    return blake3(np.ascontiguousarray(theta, dtype="<f4").data.cast("B")).hexdigest()


def compose(parent: np.ndarray, deltas: Sequence[np.ndarray], places: int) -> np.ndarray:
    """The next head of a braid round: parent + Σ δ_i / places.

    The sum is taken in the order given, one float32 product and one float32 sum at a time, on the
    host: every machine gets the same bits. The weights are fixed at 1 / places, so a refused delta
    leaves its place empty instead of raising the weight of the others: larger weights overshoot.

    Args:
      parent: float32 [P].
      deltas: the accepted participants' decoded deltas, float32 [P] each, sorted by name.
      places: how many participants were matched in the round.

    Returns:
      float32 [P].
    """
    child = parent.copy()
    weight = np.float32(1.0) / np.float32(places)
    for delta in deltas:
        child += weight * delta
    return child
