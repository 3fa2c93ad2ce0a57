"""Shapley values from orders that lie far from each other.

Shapes: N participants, M pairs of orders, T = ⌈M / (N − 1)⌉ tuples of orthogonal directions.
"""

from __future__ import annotations

import jax
import numpy as np

from relayjax.valuation.antithetic import with_reverse
from relayjax.valuation.draws import Draws
from relayjax.valuation.estimate import Estimate
from relayjax.valuation.games import Game
from relayjax.valuation.orders import shapley_of_orders


def orthogonal_shapley(game: Game, key: jax.Array, *, budget: int) -> Estimate:
    """Shapley values over antithetic pairs of orders from orthogonal directions; see `shapley_of_orders`.

    Orders are the corners of a polytope inscribed in a sphere of N − 1 dimensions. N − 1 directions are drawn
    at right angles to each other, each gives the order nearest to it, its opposite the reverse. Orders of one
    tuple resemble each other less than independent ones do, so that together they say more. The reported
    sampling error is that of independent pairs: up to a third too large.

    Args:
      game: any game.
      key: `jax.random.key`; the first orders of a larger budget are those of a smaller one.
      budget: most distinct coalitions to evaluate; a pair takes 2 (N − 1) beside the empty and the full one.

    Raises:
      ConfigError: the budget does not suffice for two pairs.

    References:
      Mitchell et al., Sampling Permutations for Shapley Value Estimation, 2022 (orthogonal spherical codes).
    """
    participants = game.participants
    return shapley_of_orders(
        game,
        lambda count: with_reverse(orthogonal_orders(key, count, participants)),
        together=2,
        budget=budget,
        method="orthogonal",
    )


def orthogonal_orders(key: jax.Array, count: int, participants: int) -> np.ndarray:
    """Orders of tuples of orthogonal directions, int [M, N]; each with its reverse is uniform."""
    dimensions = participants - 1
    tuples = -(-count // dimensions)
    directions, _ = np.linalg.qr(Draws(key).normal(tuples, dimensions, dimensions))
    # The columns of Q are the directions. LAPACK's choice of their signs does not matter: opposites follow.
    directions = directions.swapaxes(1, 2).reshape(-1, dimensions)[:count]
    return (directions @ _hyperplane(participants)).argsort(axis=1, kind="stable")


def _hyperplane(participants: int) -> np.ndarray:
    """An orthonormal basis of the vectors that sum to 0, float64 [N − 1, N]: (1, −1, 0, …), (1, 1, −2, …)."""
    basis = np.tri(participants - 1, participants)
    k = np.arange(1, participants)
    basis[k - 1, k] = -k
    return basis / np.sqrt(k * (k + 1))[:, None]
