"""What a contribution is worth: games say what a coalition achieves, estimators share it out.

`games/` holds the games; `estimate` what every estimator returns; `memo` and `refine` spend a budget of
evaluations without wasting any; every other module is one estimator. An estimator sees a game through
`utility_per_example(coalitions)` alone (Aumann–Shapley, which differentiates, needs a `Composition`) and
returns an `Estimate` with a standard error. Nothing here knows of relays, records or tasks.

    game = Composition(Partial(losses, images, labels), base, deltas, weights)
    paid = aumann_shapley(game)
    audit = shapley(game, jax.random.key(0))
    fixed_point(paid.values)  # integers, as records hold them

    # any of `ESTIMATORS`, as precise as asked or as the budget of coalitions allows
    refine(estimator("stratified"), game, jax.random.key(0), budget=4096, target_stderr=1e-3)
"""

from relayjax.valuation.antithetic import antithetic_shapley
from relayjax.valuation.aumann_shapley import aumann_shapley
from relayjax.valuation.averaged_path import averaged_path
from relayjax.valuation.banzhaf import banzhaf
from relayjax.valuation.estimate import Estimate, PostedTable, fixed_point
from relayjax.valuation.estimators import ESTIMATORS, estimator
from relayjax.valuation.exact import exact_shapley
from relayjax.valuation.games import NOBODY, Composition, Function, Game, Path, Retraining
from relayjax.valuation.gaussian_process import gaussian_process_shapley
from relayjax.valuation.kernel_shap import leverage_shap
from relayjax.valuation.leave_one_out import leave_one_out
from relayjax.valuation.memo import Memo
from relayjax.valuation.orthogonal import orthogonal_shapley
from relayjax.valuation.owen import owen_shapley
from relayjax.valuation.permutation import permutation_shapley
from relayjax.valuation.refine import Estimator, refine
from relayjax.valuation.shapley import shapley
from relayjax.valuation.stratified import stratified_shapley

__all__ = [
    "ESTIMATORS",
    "NOBODY",
    "Composition",
    "Estimate",
    "Estimator",
    "Function",
    "Game",
    "Memo",
    "Path",
    "PostedTable",
    "Retraining",
    "antithetic_shapley",
    "aumann_shapley",
    "averaged_path",
    "banzhaf",
    "estimator",
    "exact_shapley",
    "fixed_point",
    "gaussian_process_shapley",
    "leave_one_out",
    "leverage_shap",
    "orthogonal_shapley",
    "owen_shapley",
    "permutation_shapley",
    "refine",
    "shapley",
    "stratified_shapley",
]
