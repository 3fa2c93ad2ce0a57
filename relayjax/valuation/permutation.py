"""Shapley values from sampled orders, one by one.

Shapes: N participants, R orders.
"""

from __future__ import annotations

import jax

from relayjax.valuation.draws import Draws
from relayjax.valuation.estimate import Estimate
from relayjax.valuation.games import Game
from relayjax.valuation.orders import shapley_of_orders


def permutation_shapley(game: Game, key: jax.Array, *, budget: int) -> Estimate:
    """Shapley values as mean marginal contributions over independent orders; see `shapley_of_orders`.

    The simplest unbiased estimator, here to compare others with: `orthogonal_shapley` costs the same and is
    several times as precise.

    Args:
      game: any game.
      key: `jax.random.key`; the first orders of a larger budget are those of a smaller one.
      budget: most distinct coalitions to evaluate; an order takes N − 1 beside the empty and the full one.

    Raises:
      ConfigError: the budget does not suffice for two orders.

    References:
      Castro, Gómez and Tejada, Polynomial calculation of the Shapley value based on sampling, 2009.
    """
    participants = game.participants
    return shapley_of_orders(
        game,
        lambda count: Draws(key).orders(count, participants)[:, None],
        orders=1,
        budget=budget,
        method="permutation",
    )
