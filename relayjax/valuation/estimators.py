"""Every estimator by the name that users type."""

from __future__ import annotations

import jax

from relayjax.errors import ConfigError
from relayjax.valuation.antithetic import antithetic_shapley
from relayjax.valuation.aumann_shapley import aumann_shapley
from relayjax.valuation.banzhaf import banzhaf
from relayjax.valuation.estimate import Estimate
from relayjax.valuation.exact import exact_shapley
from relayjax.valuation.games import Composition, Game
from relayjax.valuation.gaussian_process import gaussian_process_shapley
from relayjax.valuation.kernel_shap import leverage_shap
from relayjax.valuation.leave_one_out import leave_one_out
from relayjax.valuation.memo import Memo
from relayjax.valuation.orthogonal import orthogonal_shapley
from relayjax.valuation.owen import owen_shapley
from relayjax.valuation.permutation import permutation_shapley
from relayjax.valuation.refine import Estimator
from relayjax.valuation.stratified import stratified_shapley

# More do not change the values of smooth losses.
_MOST_NODES = 16


def aumann_shapley_within(game: Game, key: jax.Array, *, budget: int) -> Estimate:
    """Aumann–Shapley values as an `Estimator`: of a budget of derivatives, N to a node, 16 nodes at most.

    Args:
      game: a `Composition`, or a `Memo` of one.
      key: unused.
      budget: most directional derivatives, each of which costs about as much as a coalition.

    Raises:
      ConfigError: the game is no composition, or the budget is below N.
    """
    game = game.game if isinstance(game, Memo) else game
    if not isinstance(game, Composition):
        raise ConfigError(
            f"aumann-shapley: differentiates a Composition, which a {type(game).__name__} is not; "
            "use an estimator that evaluates coalitions"
        )
    if budget < game.participants:
        raise ConfigError(
            f"aumann-shapley: a budget of {budget} derivatives does not suffice for {game.participants} "
            f"participants; {game.participants} do, {_MOST_NODES * game.participants} are enough"
        )
    return aumann_shapley(game, nodes=min(budget // game.participants, _MOST_NODES))


ESTIMATORS: dict[str, Estimator] = {
    "exact": exact_shapley,
    "permutation": permutation_shapley,
    "antithetic": antithetic_shapley,
    "orthogonal": orthogonal_shapley,
    "owen": owen_shapley,
    "stratified": stratified_shapley,
    "leverage-shap": leverage_shap,
    "gaussian-process": gaussian_process_shapley,
    "banzhaf": banzhaf,
    "leave-one-out": leave_one_out,
    "aumann-shapley": aumann_shapley_within,
}
"""Each computes Shapley values but for the last three."""


def estimator(name: str) -> Estimator:
    """The estimator of a name.

    Raises:
      ConfigError: there is none.
    """
    if name not in ESTIMATORS:
        raise ConfigError(f"there is no estimator {name!r}; choose one of {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]
