"""Prior covariances of the odd part of a game, and of its Shapley values with it.

A coalition is a vector x of signs here, +1 for members and −1 for the others. The odd part of a game is
o(x) = (v(x) − v(−x)) / 2. What is additive in it is left to a regression; these covariances are of the rest:

    k(x, y) = (1 − ρ) [sinh(xᵀAy) − xᵀAy] / c  +  ρ Σ_e (x·d_e)³ (y·d_e)³  +  ε [x = y]

The first term has interactions of every odd order, the fewer the higher; with A a multiple of the identity it
depends on the Hamming distance alone. The second takes an example's loss for a function of one variable,
x·d_e, where d_e says what each participant does to the example, and keeps its third order. The third term is
for what neither foresees.

Shapes: N participants, M coalitions (L others), E validation examples, Q quadrature nodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class OddKernel:
    """The covariance above.

    Attributes:
      metric: A, positive semidefinite, float64 [N, N].
      scale: c, that makes the first term of typical size 1.
      directions: d_e, scaled so that the second term is of typical size 1, float64 [N, E].
      share: ρ, of the second term, in [0, 1].
      rough: ε.
    """

    metric: np.ndarray
    scale: float
    directions: np.ndarray
    share: float
    rough: float

    def smooth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The first two terms, float64 [M, L].

        Args:
          x: signs, float64 [M, N].
          y: signs, float64 [L, N].
        """
        return (1 - self.share) * self.waves(x, y) + self.share * self.ridges(x, y)

    def waves(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The first term without its share, float64 [M, L]."""
        product = x @ self.metric @ y.T
        return (np.sinh(product) - product) / self.scale

    def ridges(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The second term without its share, float64 [M, L]."""
        return (x @ self.directions) ** 3 @ ((y @ self.directions) ** 3).T

    def smooth_with_values(self, y: np.ndarray) -> np.ndarray:
        """Covariance of the Shapley values with the odd part at y, by the first two terms, float64 [N, L]."""
        moves = self.metric @ y.T
        waves = values_of_exponential(moves) - 2 * moves
        ridges = values_of_cube(self.directions) @ ((y @ self.directions) ** 3).T
        return (1 - self.share) * waves / self.scale + self.share * ridges

    def rough_with_values(self, y: np.ndarray) -> np.ndarray:
        """The same by the third term: ε times a Shapley value's own weight of o(y), float64 [N, L].

        ∂φ_i / ∂o(S) = 2 / (N C(N−1, |S|−1)) if i ∈ S,   −2 / (N C(N−1, |S|)) otherwise
        """
        participants = y.shape[1]
        after = [2 / (participants * math.comb(participants - 1, k)) for k in range(participants)]
        sizes = (y > 0).sum(axis=1)
        return self.rough * np.where(y.T > 0, np.array([0, *after])[sizes], -np.array([*after, 0])[sizes])

    def rough_value_variance(self, participants: int) -> float:
        """Variance of a Shapley value by the third term: ε Σ of its squared weights, over pairs."""
        return self.rough * sum(
            4 / (participants**2 * math.comb(participants - 1, k)) for k in range(participants)
        )


def values_of_exponential(slopes: np.ndarray) -> np.ndarray:
    """Shapley values of games x ↦ exp(m · x).

    The multilinear extension is a product, and a Shapley value the integral of its slope along the diagonal:

        φ_i = sinh(m_i) ∫₋₁¹ Π_{j≠i} (cosh m_j + t sinh m_j) dt,   exactly by ⌈N/2⌉ Gauss–Legendre nodes

    Args:
      slopes: m of each game, float64 [N, L].

    Returns:
      float64 [N, L].

    References:
      Owen, Multilinear Extensions of Games, 1972 (theorem 5).
    """
    nodes, weights = np.polynomial.legendre.leggauss((len(slopes) + 1) // 2)
    cosh, sinh = np.cosh(slopes), np.sinh(slopes)
    total = np.zeros_like(slopes)
    for node, weight in zip(nodes, weights, strict=True):
        factors = cosh + node * sinh  # positive, since |t| < 1
        total += weight * factors.prod(axis=0) / factors
    return sinh * total


def values_of_cube(slopes: np.ndarray) -> np.ndarray:
    """Shapley values of games x ↦ (m · x)³.

    Since x_i² = 1 the cube is a sum of x_i (m_i³ + 3 m_i Σ_{j≠i} m_j²) and of 6 m_i m_j m_k x_i x_j x_k over
    triples; x_i is worth 2 to i, x_i x_j x_k is worth 2/3 to each:

        φ_i = 2 m_i³ + 6 m_i Σ_{j≠i} m_j² + 4 m_i Σ_{j<k; j,k≠i} m_j m_k

    Args:
      slopes: m of each game, float64 [N, L].

    Returns:
      float64 [N, L].
    """
    others = slopes.sum(axis=0) - slopes
    squares = (slopes**2).sum(axis=0) - slopes**2
    return 2 * slopes**3 + 6 * slopes * squares + 2 * slopes * (others**2 - squares)
