"""Shapley values from a Gaussian process: what the evaluated coalitions say of those that were not.

Shapes: N participants, M pairs with that of the full and the empty coalition, C = 2 M coalitions,
E validation examples, L probes.
"""

from __future__ import annotations

from itertools import islice

import jax
import numpy as np
from scipy.linalg import cholesky, solve_triangular

from relayjax.errors import ConfigError
from relayjax.valuation.draws import Draws
from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.exact import covers_all, exact_shapley
from relayjax.valuation.games import Game
from relayjax.valuation.kernel_shap import balanced, regression
from relayjax.valuation.likeliest_kernel import likeliest_kernel
from relayjax.valuation.odd_kernel import OddKernel
from relayjax.valuation.paired import affordable_pairs, paired_stream, with_complements

# The covariances of 4 096 pairs take 128 MiB.
MAX_BUDGET = 8192

# Pairs a participant on which the posterior variance is worked out.
_PROBES = 32


def gaussian_process_shapley(game: Game, key: jax.Array, *, budget: int) -> Estimate:
    """The Shapley values of the posterior mean of a Gaussian process, given paired coalitions.

        o(x) = Σ_i β_i x_i + g(x),   β flat a priori,   g ~ GP(0, a k),   k as in `odd_kernel`
        φ = 2 β̂ + cov(φ, g) K⁻¹ (o − X β̂),   β̂ = (Xᵀ K⁻¹ X)⁻¹ Xᵀ K⁻¹ o

    Coalitions are those of `leverage_shap`. The process passes through everything evaluated, so the values
    add up to v(N); an additive game is valued exactly. k is chosen by likelihood from a grid. The choice
    looks at the mean utilities, and for the directions in which participants act at those of each example.
    Given k the values are linear in the utilities, as the posted coefficients have it.

    The sampling variance reported is the posterior one, with the amplitude a integrated out:

        zᵀ K⁻¹ z / (M − N − 2) · (cov(φ, φ) − …),   z = o − X β̂,

    as honest as the prior; that k was chosen as well is not in it, so below some 4 (N + 1) coalitions it is
    rather too small.

    Args:
      game: any game; one with many distinct examples takes fewer coalitions.
      key: `jax.random.key`; the coalitions of a larger budget include those of a smaller one.
      budget: most distinct coalitions to evaluate, up to 8 192; if it covers all, the values are exact.

    Raises:
      ConfigError: the budget is below 3 (N + 4) or above 8 192.

    References:
      Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006 (section 2.7).
    """
    participants = game.participants
    if covers_all(budget, participants):
        return exact_shapley(game)
    if budget > MAX_BUDGET:
        raise ConfigError(
            f"gaussian-process: a budget of {budget} coalitions takes too large a matrix; "
            f"give at most {MAX_BUDGET}, or use leverage-shap"
        )
    draws = Draws(key)
    pairs = affordable_pairs(draws, participants, budget, "gaussian-process")
    coalitions = with_complements(pairs)
    table = game.utility_per_example(coalitions)
    signs = _signs(pairs)
    odd = np.subtract(*np.split(np.asarray(table, np.float64), 2)) / 2
    kernel = likeliest_kernel(signs, odd)
    weights, amplitude = _posterior(kernel, signs, odd.mean(axis=1))
    probes = np.array(list(islice(paired_stream(draws, participants), _PROBES * participants)))
    variance = amplitude * _variance(kernel, signs, weights, probes)
    return from_table(coalitions, table, np.hstack([weights, -weights]) / 2, "gaussian-process", variance)


def _signs(pairs: np.ndarray) -> np.ndarray:
    """The full coalition and the pairs' smaller sides as vectors of signs, float64."""
    return np.where(with_complements(pairs)[: len(pairs) + 1], 1.0, -1.0)


def _posterior(kernel: OddKernel, signs: np.ndarray, odd: np.ndarray) -> tuple[np.ndarray, float]:
    """The values as a linear map of the odd parts, and the amplitude of the kernel.

    Args:
      kernel: the prior covariance.
      signs: X, float64 [M, N].
      odd: o, float64 [M].

    Returns:
      float64 [N, M], and a.
    """
    count, participants = signs.shape
    lower = cholesky(kernel.smooth(signs, signs) + kernel.rough * np.eye(count), lower=True)
    plain = solve_triangular(lower, signs, lower=True)
    fit = np.linalg.pinv(plain, rcond=1e-9)
    white = solve_triangular(lower, odd, lower=True)
    rest = white - plain @ (fit @ white)
    known = kernel.smooth_with_values(signs) + kernel.rough_with_values(signs)
    known = solve_triangular(lower, known.T, lower=True).T
    weights = known + (2 * np.eye(participants) - known @ plain) @ fit
    weights = solve_triangular(lower, weights.T, lower=True, trans=1).T
    return balanced(weights), rest @ rest / (count - participants - 2)


def _variance(kernel: OddKernel, signs: np.ndarray, weights: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """Posterior variance of the values at amplitude 1, float64 [N].

    With w_i the weights and r_i(y) = cov(φ_i − w_i · o, o(y)) it is φ_i[r_i] − w_i · r_i, where φ_i[r_i] is
    the Shapley value of r_i taken as a game: estimated from probes. The rough term is in closed form.

    Args:
      kernel: the prior covariance.
      signs: float64 [M, N].
      weights: float64 [N, M]; exact on additive games, whose coefficients thus add nothing.
      probes: pairs drawn independently of those evaluated, bool [L, N].
    """

    def left(points: np.ndarray) -> np.ndarray:
        return kernel.smooth_with_values(points) - weights @ kernel.smooth(signs, points)

    smooth = (regression(probes) * left(_signs(probes))).sum(axis=1) - (weights * left(signs)).sum(axis=1)
    rough = kernel.rough_value_variance(signs.shape[1]) + (
        weights * (kernel.rough * weights - 2 * kernel.rough_with_values(signs))
    ).sum(axis=1)
    return np.maximum(smooth, 0) + np.maximum(rough, 0)
