"""What a contribution is worth: games say what a coalition achieves, estimators share it out.

`games` holds the games, every other module but `estimate` one estimator. An estimator sees a game through
`utility_per_example(coalitions)` alone (Aumann–Shapley, which differentiates, needs a `Composition`) and
returns an `Estimate` with a standard error. Nothing here knows of relays, records or tasks.

    game = Composition(Partial(losses, images, labels), base, deltas, weights)
    paid = aumann_shapley(game)
    audit = shapley(game, jax.random.key(0))
    fixed_point(paid.values)  # integers, as records hold them
"""

from relayjax.valuation.aumann_shapley import aumann_shapley
from relayjax.valuation.estimate import Estimate, PostedTable, fixed_point
from relayjax.valuation.exact import exact_shapley
from relayjax.valuation.games import Composition, Game
from relayjax.valuation.permutation import antithetic_shapley
from relayjax.valuation.shapley import shapley

__all__ = [
    "Composition",
    "Estimate",
    "Game",
    "PostedTable",
    "antithetic_shapley",
    "aumann_shapley",
    "exact_shapley",
    "fixed_point",
    "shapley",
]
