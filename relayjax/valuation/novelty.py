"""What is new in a delta, beside everything accepted before and the siblings committed before it.

Valuation alone does not stop a replay: what helped once may help again. So a delta is compared before it is
valued. If it points (either way) where an earlier one pointed, it is an echo, and refused; what remains under
the limit is valued without the part that its nearest predecessor explains. Noise added to a replay lowers
the likeness, but then all that is left to value is the noise.

Shapes: P parameters, K deltas of one round, M deltas remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Novelty:
    """One delta beside what was there before.

    Attributes:
      echo: largest |cosine| with a remembered delta or with an earlier sibling, in [0, 1].
      novel: the delta less its projection on the nearest remembered one, float32 [P].
    """

    echo: float
    novel: np.ndarray


class Novelties:
    """The accepted deltas of a relay, remembered to compare new ones with.

    Memory is 4 · P bytes a delta; to compare one takes M dot products of P numbers.
    """

    def __init__(self) -> None:
        """Remembers nothing yet."""
        self._deltas: list[np.ndarray] = []
        self._norms: list[float] = []

    def remember(self, delta: np.ndarray) -> None:
        """Adds an accepted delta, float32 [P]; one of zeros resembles nothing and is left out."""
        norm = _norm(delta)
        if norm > 0:
            self._deltas.append(delta)
            self._norms.append(norm)

    def compare(self, deltas: Sequence[np.ndarray]) -> list[Novelty]:
        """The novelty of one round's deltas.

        Args:
          deltas: float32 [P] each, in the order in which they were committed to: of two that are alike, the
            later one is the echo.

        Returns:
          In the order given.
        """
        return [self._one(delta, deltas[:place]) for place, delta in enumerate(deltas)]

    def _one(self, delta: np.ndarray, siblings: Sequence[np.ndarray]) -> Novelty:
        norm = _norm(delta)
        if norm == 0:
            return Novelty(0.0, delta)
        cosines = [_dot(old, delta) / (length * norm) for old, length in self._lengths()]
        beside = [_cosine(sibling, delta, norm) for sibling in siblings]
        novel = delta
        if cosines:
            nearest = int(np.argmax(np.abs(cosines)))
            share = np.float32(cosines[nearest] * norm / self._norms[nearest])
            novel = delta - share * self._deltas[nearest]
        return Novelty(min(1.0, max(map(abs, [*cosines, *beside]), default=0.0)), novel)

    def _lengths(self) -> zip[tuple[np.ndarray, float]]:
        return zip(self._deltas, self._norms, strict=True)


def _cosine(other: np.ndarray, delta: np.ndarray, norm: float) -> float:
    length = _norm(other)
    return _dot(other, delta) / (length * norm) if length else 0.0


def _norm(delta: np.ndarray) -> float:
    return float(np.sqrt(_dot(delta, delta)))


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    # Pairwise in float64: a BLAS product of float32 would lose digits, and its order is not told.
    return float(np.multiply(a, b, dtype=np.float64).sum())
