"""What is new in a delta beside everything accepted before; earlier siblings are compared, too.

Valuation alone does not stop a replay: what helped once may help again. So a delta is compared before it is
valued. If it points (either way) where an earlier one pointed, it is an echo, and refused; what remains under
the limit is valued without the part that earlier work explains: the accepted delta, or movement of the head,
that is nearest, then the one nearest to what that leaves, and so on. Noise added to a replay or to a mixture
of several lowers the likeness, but then the noise is nearly all that is left to value.

Shapes: P parameters, M deltas remembered, C candidates to explain a delta (at most 2 M), S of them that do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from relayjax.kernels.products import dot, dots
from relayjax.weights import digest

LEAST = 0.1
"""|cosine| from which on a further candidate explains what nearer ones left."""

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
    """

    echo: float
    _find_novel: Callable[[], np.ndarray]

    @cached_property
    def novel(self) -> np.ndarray:
        """The delta less its projection on the remembered work that explains it, float32 [P].

        To be asked for before more is remembered.
        """
        return self._find_novel()


class Novelties:
    """The accepted deltas of a relay, remembered to compare new ones with.

    Memory is 4 · P bytes a delta. Each that is remembered takes M dot products of P numbers, and each that is
    compared.
    """

    def __init__(self, least: float = LEAST) -> None:
        """Remembers nothing yet.

        Args:
          least: |cosine| from which on a further candidate explains what nearer ones left, above 0; with 1
            only the nearest one does. The smaller, the less a noised mixture keeps, or honest work.
        """
        self._least = least
        self._deltas: list[np.ndarray] = []
        self._products = np.zeros((0, 0))
        self._candidates = self._alike = np.zeros((0, 0))
        self._asked: dict[str, np.ndarray] = {}
        self._known = 0

    def remember(self, delta: np.ndarray) -> None:
        """Adds an accepted delta, float32 [P], in the order of the rounds; zeros resemble nothing."""
        if delta.any():
            self._deltas.append(delta)
            self._asked = {}
            row = dots(self._deltas, delta)
            self._products = np.block([[self._products, row[:-1, None]], [row]])

    def compare(self, deltas: Sequence[np.ndarray]) -> list[Novelty]:
        """The novelty of one round's deltas.

        Args:
          deltas: float32 [P] each, in the order in which they were committed to: of two that are alike, the
            later one is the echo.

        Returns:
          In the order given.
        """
        if self._known != len(self._deltas):
            self._prepare()
        return [self._one(delta, deltas[:place]) for place, delta in enumerate(deltas)]

    def _one(self, delta: np.ndarray, siblings: Sequence[np.ndarray]) -> Novelty:
        norm = _norm(delta)
        if norm == 0:
            return Novelty(0.0, lambda: delta)
        along = self._products_with(delta) / norm
        cosines = np.divide(along, self._norms, out=np.zeros_like(along), where=self._long)
        beside = [_cosine(sibling, delta, norm) for sibling in siblings]
        luck = LUCK / np.sqrt(delta.size)
        echo = min(1.0, max(map(abs, [*cosines, *beside]), default=0.0))
        novel = partial(self._novel, delta, along, norm, max(self._least, luck))
        return Novelty(echo if echo > luck else 0.0, novel)

    def _products_with(self, delta: np.ndarray) -> np.ndarray:
        """With the remembered ones, float64 [M]: asked for at the test, and again for the value."""
        key = digest(delta)
        if key not in self._asked:
            self._asked[key] = dots(self._deltas, delta)
        return self._asked[key]

    def _novel(self, delta: np.ndarray, along: np.ndarray, norm: float, least: float) -> np.ndarray:
        novel = delta
        for index, share in enumerate(self._explained(along, least) * norm):
            if share:
                novel = novel - np.float32(share) * self._deltas[index]
        return novel

    def _explained(self, along: np.ndarray, least: float) -> np.ndarray:
        """What remembered deltas explain of one of length 1: orthogonal matching pursuit over the candidates.

        The next one is always that with the largest |cosine| with what is left; then the delta is projected
        on all S together. Each sticks out of the span of those before by at least `least` of its length, so
        the S equations are well conditioned.

        Args:
          along: its products with the remembered ones, float64 [M].
          least: |cosine| that the second and later ones must reach.

        Returns:
          How many times each remembered delta is contained in it, float64 [M].

        References:
          Pati, Rezaiifar and Krishnaprasad, Orthogonal Matching Pursuit, Asilomar 1993.
        """
        found: list[int] = []
        cosines, shares = self._candidates @ along, np.zeros(0)
        left, remaining = 1.0, np.abs(cosines)  # squared length, and cosines times length, of what is left
        while left > NOTHING and len(found) < len(cosines):
            index = int(remaining.argmax())
            if found and remaining[index] < least * np.sqrt(left):
                break
            found.append(index)
            rows = self._alike[found]
            shares = np.linalg.solve(rows[:, found], cosines[found])
            left = 1 - shares @ cosines[found]
            remaining = np.abs(cosines - shares @ rows)
        return shares @ self._candidates[found]

    @property
    def _norms(self) -> np.ndarray:
        """Lengths of the remembered deltas, float64 [M]."""
        return np.sqrt(np.diag(self._products))

    @property
    def _long(self) -> np.ndarray:
        """Which of them are long enough to count, bool [M]."""
        return self._norms >= SHORT * np.median(self._norms) if self._deltas else np.zeros(0, bool)

    def _prepare(self) -> None:
        """Makes the candidates, [C, M], so many times each delta, of length 1; and their products, [C, C].

        Candidates are the deltas, and the sums of all from one on: where the head went since that leg. The
        sum of a braid round points where the head went in it, but beside chain legs it counts for too much.
        """
        count, products = len(self._deltas), self._products
        sums = np.triu(np.ones((count, count)))[:-1] * self._long
        candidates = np.concatenate([np.eye(count)[self._long], sums])
        squares = candidates @ products @ candidates.T
        lengths = np.sqrt(np.diag(squares).clip(0))
        there = lengths > SHORT * np.median(self._norms)  # legs may have undone each other
        scale = lengths[there]
        self._candidates = candidates[there] / scale[:, None]
        self._alike = squares[np.ix_(there, there)] / np.outer(scale, scale)
        self._known = count


def _cosine(other: np.ndarray, delta: np.ndarray, norm: float) -> float:
    length = _norm(other)
    return dot(other, delta) / (length * norm) if length else 0.0


def _norm(delta: np.ndarray) -> float:
    return float(np.sqrt(dot(delta, delta)))
