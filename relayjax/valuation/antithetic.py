"""Shapley values from sampled orders, each with its reverse."""

from __future__ import annotations

import jax
import numpy as np

from relayjax.valuation.draws import Draws
from relayjax.valuation.estimate import Estimate
from relayjax.valuation.games import Game
from relayjax.valuation.orders import shapley_of_orders


def antithetic_shapley(game: Game, key: jax.Array, *, budget: int) -> Estimate:
    """Shapley values as mean marginal contributions over antithetic pairs of orders; see `shapley_of_orders`.

    An order and its reverse cancel what pairwise interaction adds to the variance.

    Args:
      game: any game.
      key: `jax.random.key`; the first orders of a larger budget are those of a smaller one.
      budget: most distinct coalitions to evaluate; a pair takes 2 (N − 1) beside the empty and the full one.

    Raises:
      ConfigError: the budget does not suffice for two pairs.

    References:
      Castro, Gómez and Tejada, Polynomial calculation of the Shapley value based on sampling, 2009.
      Mitchell et al., Sampling Permutations for Shapley Value Estimation, 2022.
    """
    participants = game.participants
    return shapley_of_orders(
        game,
        lambda count: with_reverse(Draws(key).orders(count, participants)),
        together=2,
        budget=budget,
        method="antithetic",
    )


def with_reverse(orders: np.ndarray) -> np.ndarray:
    """Each order beside its reverse, int [pairs, 2, N]."""
    return np.stack([orders, orders[:, ::-1]], axis=1)
