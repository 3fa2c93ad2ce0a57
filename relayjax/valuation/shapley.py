"""Shapley values by whichever estimator suits the number of participants."""

from __future__ import annotations

import jax

from relayjax.valuation.estimate import Estimate
from relayjax.valuation.exact import exact_shapley
from relayjax.valuation.games import Game
from relayjax.valuation.orders import sufficient
from relayjax.valuation.stratified import stratified_shapley

# 4 096 coalitions; each participant more doubles them.
EXACT_UP_TO = 12


def sufficient_budget(participants: int) -> int:
    """The least budget with which `shapley` never refuses a game of so many participants."""
    return 0 if participants <= EXACT_UP_TO else sufficient(participants, orders=4)


def shapley(game: Game, key: jax.Array, *, budget: int = 1024) -> Estimate:
    """Shapley values: exact up to 12 participants, from complementary contributions above.

    Args:
      game: any game.
      key: `jax.random.key`, unused by the exact estimator.
      budget: most distinct coalitions to evaluate above 12 participants; see `sufficient_budget`.

    Returns:
      The estimate; its `method` says which estimator it was.

    Raises:
      ConfigError: the budget does not suffice.
    """
    if game.participants <= EXACT_UP_TO:
        return exact_shapley(game)
    return stratified_shapley(game, key, budget=budget)
