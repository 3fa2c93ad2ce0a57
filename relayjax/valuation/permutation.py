"""Shapley values from sampled orders, one by one.

Shapes: N participants, R orders.
"""

from __future__ import annotations

import jax

from relayjax.valuation.draws import Draws
from relayjax.valuation.estimate import Estimate
from relayjax.valuation.games import Game
from relayjax.valuation.orders import shapley_of_orders
from relayjax.valuation.truncated import truncated_shapley


def permutation_shapley(
    game: Game, key: jax.Array, *, budget: int, tolerance: float | None = None
) -> Estimate:
    """Shapley values as mean marginal contributions over independent orders; see `shapley_of_orders`.

    The simplest unbiased estimator, here to compare others with: `stratified_shapley` costs the same and is
    several times as precise.

    Args:
      game: any game.
      key: `jax.random.key`; the first orders of a larger budget are those of a smaller one.
      budget: most distinct coalitions to evaluate; an order takes N − 1 beside the empty and the full one.
      tolerance: leave an order once its prefix is worth v(N) within so many nats. Cheaper and biased: see
        `truncated_shapley`. None walks every order to its end.

    Raises:
      ConfigError: the budget does not suffice for two orders, or the tolerance is negative.

    References:
      Castro, Gómez and Tejada, Polynomial calculation of the Shapley value based on sampling, 2009.
    """
    if tolerance is not None:
        return truncated_shapley(game, key, budget=budget, tolerance=tolerance)
    participants = game.participants
    return shapley_of_orders(
        game,
        lambda count: Draws(key).orders(count, participants)[:, None],
        together=1,
        budget=budget,
        method="permutation",
    )
