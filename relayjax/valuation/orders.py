"""Shapley values from whole orders: what plain, antithetic and orthogonal sampling have in common.

Shapes: N participants, U units of orders drawn together, K orders a unit, R = U · K orders, C distinct
coalitions, E validation examples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.exact import covers_all, exact_shapley
from relayjax.valuation.games import Game

# Orders whose coalitions are all known cost no evaluation, only memory here: stop at this multiple of the
# units that the budget would pay for if no coalition came twice.
_REPEATS = 4


def shapley_of_orders(
    game: Game, units: Callable[[int], np.ndarray], orders: int, budget: int, method: str
) -> Estimate:
    """Mean marginal contributions over as many units of orders as a budget allows.

        φ_i = 1/R Σ_r [ v(before_r(i) ∪ i) − v(before_r(i)) ]

    The contributions of one order add up to v(N), and so do the values. A coalition met in several orders is
    evaluated once. The variance reported is

        var_u(φ_{i,u}) / U  +  var_e(φ_{i,e}) / E        (both with n − 1)

    with φ_{i,u} a unit's and φ_{i,e} an example's own value: orders and examples are drawn independently, and
    each term holds the variance of their interaction, which is thus counted twice, never missed. Below some
    ten units the first term is itself a rough guess.

    Args:
      game: any game.
      units: gives the first so many units, int [U, K, N]; the first of more are the same.
      orders: K.
      budget: most distinct coalitions to evaluate; if it covers all of them, the values are exact.
      method: the estimator's name.

    Raises:
      ConfigError: the budget does not suffice for two units, which a variance takes.
    """
    participants = game.participants
    if covers_all(budget, participants):
        return exact_shapley(game)
    prefixes = _affordable(units, orders, participants, budget)
    if len(prefixes) < 2:
        raise ConfigError(
            f"{method}: a budget of {budget} coalitions does not suffice for {participants} participants; "
            f"{sufficient(participants, 2 * orders)} do: "
            f"a standard error takes two {'orders' if orders == 1 else 'pairs of orders'}"
        )
    flat = prefixes.reshape(-1, participants)
    coalitions, found = np.unique(flat, axis=0, return_inverse=True)
    walks = prefixes.reshape(-1, participants + 1, participants)
    positions = participants - walks.sum(axis=1)  # [R, N]: how many come before each participant
    found = found.reshape(walks.shape[:2])  # [R, N+1]: the row of `coalitions` each prefix is
    without = np.take_along_axis(found, positions, axis=1)
    joined = np.take_along_axis(found, positions + 1, axis=1)

    coefficients = np.zeros((participants, len(coalitions)))
    players = np.arange(participants)
    np.add.at(coefficients, (players, joined), 1 / len(walks))
    np.add.at(coefficients, (players, without), -1 / len(walks))

    table = game.utility_per_example(coalitions)
    utilities = table.mean(axis=1, dtype=np.float64)
    own = (utilities[joined] - utilities[without]).reshape(-1, orders, participants).mean(axis=1)
    return from_table(coalitions, table, coefficients, method, own.var(axis=0, ddof=1) / len(own))


def sufficient(participants: int, orders: int) -> int:
    """A budget that always suffices for so many orders: their proper prefixes, the empty and the full one."""
    return min(orders * (participants - 1) + 2, 2**participants)


def prefixes_of(orders: np.ndarray) -> np.ndarray:
    """Who the first 0, 1, ..., N of each order are: bool [..., N+1, N] of orders int [..., N]."""
    positions = orders.argsort(axis=-1)
    return positions[..., None, :] < np.arange(orders.shape[-1] + 1)[:, None]


def fitting(coalitions: np.ndarray, budget: int) -> int:
    """How many leading units the budget pays for, bool [U, coalitions of a unit, N]: repeats are free."""
    packed = np.packbits(coalitions, axis=-1)
    rows = packed.reshape(-1, packed.shape[-1])
    _, first = np.unique(rows.view(f"V{rows.shape[-1]}").ravel(), return_index=True)
    new = np.bincount(first // coalitions.shape[1], minlength=len(coalitions))
    return int(np.searchsorted(new.cumsum(), budget, side="right"))


def _affordable(
    units: Callable[[int], np.ndarray], orders: int, participants: int, budget: int
) -> np.ndarray:
    """The prefixes of the units that a budget pays for, bool [U, K (N+1), N]."""
    without_repeats = max(budget // (orders * (participants - 1)), 1)
    count = without_repeats + 1
    while True:
        drawn = prefixes_of(units(count)).reshape(count, -1, participants)
        fit = fitting(drawn, budget)
        if fit < count or count > _REPEATS * without_repeats:
            return drawn[: min(fit, _REPEATS * without_repeats)]
        count *= 2
