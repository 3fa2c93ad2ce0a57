"""What is new in a delta beside everything accepted before; earlier siblings are compared, too.

Valuation alone does not stop a replay: what helped once may help again. So a delta is compared before it is
valued. If it points (either way) where an earlier one pointed, it is an echo, and refused; what remains under
the limit is valued without the part that earlier ones explain: the nearest one, then the one nearest to what
that leaves, and so on. Noise added to a replay or to a mixture of several lowers the likeness, but then the
noise is all that is left to value.

Shapes: P parameters, K deltas of one round, M deltas remembered, S of them that explain one delta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST = 0.1
"""|cosine| from which on a further delta explains what nearer ones left."""

LUCK = 4.0
"""… but at least this over √P: in few dimensions, strangers are alike."""

SHORT = 1e-3
"""Of the median length: what is shorter is left out, for a tiny delta must not speak for a whole direction.
What is long enough explains any length, or a replay would only have to be made longer."""

NOTHING = 1e-10
"""Share of a delta's squared length below which nothing is left of it but rounding."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """One delta beside what was there before.

    Attributes:
      echo: largest |cosine| with a remembered delta or with an earlier sibling, in [0, 1]; 0 if strangers
        in so few dimensions may be as alike.
      novel: the delta less its projection on the remembered ones that explain it, float32 [P].
    """

    echo: float
    novel: np.ndarray


class Novelties:
    """The accepted deltas of a relay, remembered to compare new ones with.

    Memory is 4 · P bytes a delta. To compare one takes M dot products of P numbers, and as many again for
    each remembered delta that explains something for the first time.
    """

    def __init__(self, least: float = LEAST) -> None:
        """Remembers nothing yet.

        Args:
          least: |cosine| from which on a further delta explains what nearer ones left, above 0; with 1 only
            the nearest one does. The smaller, the less a noised mixture of old ones keeps, or honest work.
        """
        self._least = least
        self._deltas: list[np.ndarray] = []
        self._norms: list[float] = []
        self._rows: dict[int, np.ndarray] = {}

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
        cosines = self._cosines(delta, norm, 0) * self._long()
        beside = [_cosine(sibling, delta, norm) for sibling in siblings]
        luck, novel = LUCK / np.sqrt(delta.size), delta
        for index, share in self._explained(cosines, max(self._least, luck)):
            novel = novel - np.float32(share * norm / self._norms[index]) * self._deltas[index]
        echo = min(1.0, max(map(abs, [*cosines, *beside]), default=0.0))
        return Novelty(echo if echo > luck else 0.0, novel)

    def _explained(self, cosines: np.ndarray, least: float) -> list[tuple[int, float]]:
        """Which remembered deltas explain a delta, and how much of it: orthogonal matching pursuit.

        The next one is always that with the largest |cosine| with what is left; then the delta is projected
        on all S together. Each sticks out of the span of those before by at least `least` of its length, so
        the S equations are well conditioned.

        Args:
          cosines: of the delta with every remembered one, float64 [M].
          least: |cosine| that the second and later ones must reach.

        Returns:
          (index, share) each, all lengths being 1.

        References:
          Pati, Rezaiifar and Krishnaprasad, Orthogonal Matching Pursuit, Asilomar 1993.
        """
        found: list[int] = []
        shares = np.zeros(0)
        left, remaining = 1.0, np.abs(cosines)  # squared length, and cosines times length, of what is left
        while left > NOTHING and len(found) < len(cosines):
            index = int(remaining.argmax())
            if found and remaining[index] < least * np.sqrt(left):
                break
            found.append(index)
            rows = np.stack([self._row(one) for one in found]) * self._long()
            shares = np.linalg.solve(rows[:, found], cosines[found])
            left = 1 - shares @ cosines[found]
            remaining = np.abs(cosines - shares @ rows)
        return list(zip(found, shares.tolist(), strict=True))

    def _long(self) -> np.ndarray:
        """Which remembered deltas are long enough to count, bool [M]."""
        norms = np.array(self._norms, np.float64)
        return norms >= SHORT * np.median(norms) if len(norms) else norms > 0

    def _row(self, index: int) -> np.ndarray:
        """Cosines of a remembered delta with all of them, float64 [M]."""
        known = self._rows.get(index, np.zeros(0))
        fresh = self._cosines(self._deltas[index], self._norms[index], len(known))
        self._rows[index] = np.concatenate([known, fresh])
        return self._rows[index]

    def _cosines(self, delta: np.ndarray, norm: float, first: int) -> np.ndarray:
        """Of a delta with the remembered ones from the `first` on, float64."""
        lengths = zip(self._deltas[first:], self._norms[first:], strict=True)
        return np.array([_dot(old, delta) / (length * norm) for old, length in lengths], np.float64)


def _cosine(other: np.ndarray, delta: np.ndarray, norm: float) -> float:
    length = _norm(other)
    return _dot(other, delta) / (length * norm) if length else 0.0


def _norm(delta: np.ndarray) -> float:
    return float(np.sqrt(_dot(delta, delta)))


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    # Pairwise in float64: a BLAS product of float32 would lose digits, and its order is not told.
    return float(np.multiply(a, b, dtype=np.float64).sum())
