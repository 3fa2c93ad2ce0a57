"""Shapley values from whole orders: what plain, antithetic and orthogonal sampling have in common.

Shapes: N participants, U units of orders drawn together, K orders a unit, R = U · K orders.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.exact import covers_all, exact_shapley
from relayjax.valuation.games import Game
from relayjax.valuation.marginals import affordable, mean_marginals


def shapley_of_orders(
    game: Game, units: Callable[[int], np.ndarray], together: int, budget: int, method: str
) -> Estimate:
    """Mean marginal contributions over as many units of orders as a budget pays for.

        φ_i = 1/R Σ_r [ v(before_r(i) ∪ i) − v(before_r(i)) ]

    The contributions in one order add up to v(N), and so do the values. The variance reported is

        var_u(φ_{i,u}) / U  +  var_e(φ_{i,e}) / E        (both with n − 1)

    with φ_{i,u} a unit's and φ_{i,e} an example's own value: orders and examples are drawn independently, and
    each term holds the variance of their interaction, which is thus counted twice, never missed. Below some
    ten units the first term is itself a rough guess.

    Args:
      game: any game.
      units: gives the first so many units, int [U, K, N]; the first of more are the same.
      together: K.
      budget: most distinct coalitions to evaluate; if it covers all there are, the values are exact.
      method: the estimator's name.

    Raises:
      ConfigError: the budget does not suffice for two units, which a variance takes.
    """
    participants = game.participants
    if covers_all(budget, participants):
        return exact_shapley(game)
    walked = affordable(
        lambda count: prefixes(units(count)).reshape(count, -1, participants),
        together * (participants - 1),
        budget,
        f"{method}: a budget of {budget} coalitions does not suffice for {participants} participants; "
        f"{sufficient(participants, 2 * together)} do: "
        f"a standard error takes two {'orders' if together == 1 else 'pairs of orders'}",
    )
    orders = walked.reshape(-1, together, participants + 1, participants)
    positions = participants - orders.sum(axis=2)  # [U, K, N]: how many come before each participant
    without = positions + (participants + 1) * np.arange(together)[:, None]
    found = mean_marginals(game, walked, without + 1, without)
    sampling = found.own.var(axis=0, ddof=1) / len(found.own)
    return from_table(found.coalitions, found.per_example, found.coefficients, method, sampling)


def sufficient(participants: int, orders: int) -> int:
    """A budget that pays for so many orders whatever they are: two ends and all that lies between."""
    return min(orders * (participants - 1) + 2, 2**participants)


def prefixes(orders: np.ndarray) -> np.ndarray:
    """Who the first 0, 1, ..., N of each order are: bool [..., N+1, N] of orders int [..., N]."""
    positions = orders.argsort(axis=-1)
    return positions[..., None, :] < np.arange(orders.shape[-1] + 1)[:, None]
