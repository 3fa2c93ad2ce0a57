"""Shapley values by whichever estimator suits the number of participants."""

from __future__ import annotations

import jax

from relayjax.valuation.estimate import Estimate
from relayjax.valuation.exact import exact_shapley
from relayjax.valuation.games import Game
from relayjax.valuation.permutation import antithetic_shapley

# 4 096 coalitions; each participant more doubles them.
EXACT_UP_TO = 12


def shapley(game: Game, key: jax.Array, *, permutations: int = 64) -> Estimate:
    """Shapley values: exact up to 12 participants, from antithetic orders above.

    Args:
      game: any game.
      key: `jax.random.key`, unused by the exact estimator.
      permutations: orders walked above 12 participants, reverses included: even, at least 4.

    Returns:
      The estimate; its `method` says which estimator it was.
    """
    if game.participants <= EXACT_UP_TO:
        return exact_shapley(game)
    return antithetic_shapley(game, key, permutations=permutations)
