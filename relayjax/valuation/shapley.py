"""Shapley values for the record: exact where the budget covers all coalitions, else by least squares.

What is recorded has to be recomputed by others on other machines. A regression of N unknowns gives the same
digits everywhere; the Gaussian process is more precise, but chooses between kernels on the way.
"""

from __future__ import annotations

import jax

from relayjax.valuation.estimate import Estimate
from relayjax.valuation.exact import covers_all, exact_shapley
from relayjax.valuation.games import Game
from relayjax.valuation.kernel_shap import leverage_shap


def shapley(game: Game, key: jax.Array, *, budget: int = 256) -> Estimate:
    """Shapley values of any game.

    Args:
      game: any game.
      key: `jax.random.key`, unused by the exact estimator.
      budget: most distinct coalitions to evaluate.

    Returns:
      The estimate; its `method` says which estimator it was.

    Raises:
      ConfigError: the budget does not suffice.
    """
    if covers_all(budget, game.participants):
        return exact_shapley(game)
    return leverage_shap(game, key, budget=budget)
