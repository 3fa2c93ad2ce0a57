"""Shapley values as the regression that best explains what coalitions are worth.

Shapes: N participants, M pairs of coalitions, C = 2 M + 2 coalitions, E validation examples.
"""

from __future__ import annotations

import jax
import numpy as np

from relayjax.valuation.draws import Draws
from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.exact import covers_all, exact_shapley
from relayjax.valuation.games import Game
from relayjax.valuation.paired import affordable_pairs, sampled_fraction, with_complements

# Smallest 1 − h that a residual is divided by.
_LEAST_FREEDOM = 1e-6


def leverage_shap(game: Game, key: jax.Array, *, budget: int) -> Estimate:
    """KernelSHAP on coalitions sampled by their leverage, each with its complement, none twice.

    The Shapley values are the additive game with the right total that is nearest to the game:

        φ = argmin_{Σ φ_i = v(N)} Σ_S μ(S) (v(S) − Σ_{i∈S} φ_i)²,   μ(S) = 1 / (C(N, |S|) |S| (N − |S|))

    The sum runs over sampled pairs, each divided by the fraction π of its size that was sampled. With values
    φ = Σ_S B_S o(S), odd parts o(S) = (v(S) − v(N∖S)) / 2 and residuals e_S = o(S) − x_S · φ, the
    sampling variance reported is

        Σ_S (1 − π_S) (B_iS e_S / (1 − h_S))²,   h_S = x_S · B_S the pair's leverage

    that of a sample without replacement, linearised about the solution, each residual as if the pair had been
    left out of the fit. It knows nothing of the balance between participants that the sample has, nor of what
    all residuals of a size have in common: where those matter, the error is smaller than reported.

    Args:
      game: any game.
      key: `jax.random.key`; the coalitions of a larger budget include those of a smaller one.
      budget: most distinct coalitions to evaluate; if it covers all of them, the values are exact.

    Raises:
      ConfigError: the budget is below 3 (N + 4).

    References:
      Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017 (theorem 2).
      MacKinnon and White, Some Heteroskedasticity-Consistent Covariance Matrix Estimators, 1985 (HC3).
      Musco and Witter, Provably Accurate Shapley Value Estimation via Leverage Score Sampling, 2024.
    """
    participants = game.participants
    if covers_all(budget, participants):
        return exact_shapley(game)
    pairs = affordable_pairs(Draws(key), participants, budget, "leverage-shap")
    coalitions = with_complements(pairs)
    table = game.utility_per_example(coalitions)
    odd = np.subtract(*np.split(table.mean(axis=1, dtype=np.float64), 2)) / 2
    weights = regression(pairs)
    variance = _sampling_variance(pairs, weights, odd)
    return from_table(coalitions, table, np.hstack([weights, -weights]) / 2, "leverage-shap", variance)


def regression(pairs: np.ndarray) -> np.ndarray:
    """The values as a linear map of the odd parts of the full coalition and the sampled pairs.

    Exactly the Shapley values if the pairs are all there are. Those that no pair tells apart get the same.

    Args:
      pairs: bool [M, N], the smaller side of each.

    Returns:
      float64 [N, M + 1]; the columns add up to 2 for the full coalition and to 0 for the others.
    """
    participants = pairs.shape[1]
    sizes = pairs.sum(axis=1)
    # μ / π, where the number of coalitions of a size cancels. Both members of a pair say the same, so that
    # one is enough; of halves there are half as many pairs as coalitions.
    counts = np.bincount(sizes)[sizes] * np.where(2 * sizes == participants, 2, 1)
    weights = 1 / (counts * sizes * (participants - sizes))
    centred = pairs - sizes[:, None] / participants
    gram = centred.T * weights @ centred
    slopes = np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ (centred.T * weights)
    # What everybody gets before anything else is known: an equal share of v(N) = 2 o(N).
    equal = 2 / participants - slopes @ (2 * sizes / participants - 1)
    return balanced(np.hstack([equal[:, None], slopes]))


def balanced(weights: np.ndarray) -> np.ndarray:
    """The map with what rounding took from efficiency given back: Σ_i φ_i = v(N) = 2 o(N)."""
    total = np.zeros(weights.shape[1])
    total[0] = 2
    return weights + (total - weights.sum(axis=0)) / len(weights)


def _sampling_variance(pairs: np.ndarray, weights: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Variance of the values for want of more coalitions, float64 [N]; see `leverage_shap`."""
    sizes, slopes = pairs.sum(axis=1), weights[:, 1:]
    values = weights @ odd
    residuals = odd[1:] - (pairs @ values - odd[0])
    leverage = ((pairs - sizes[:, None] / pairs.shape[1]) * slopes.T).sum(axis=1)
    # Leverage is 1 where nothing but the pair itself determines a value: no residual tells of its error.
    residuals /= np.maximum(1 - leverage, _LEAST_FREEDOM)
    return slopes**2 @ ((1 - sampled_fraction(pairs)) * residuals**2)
