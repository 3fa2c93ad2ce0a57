"""Shapley values from complementary contributions, stratified by the size of the coalition.

Shapes: N participants, M pairs of complementary coalitions, F features of the fit, C = 2 M + 2 coalitions.
"""

from __future__ import annotations

from itertools import islice

import jax
import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.draws import Draws
from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.exact import covers_all, exact_shapley
from relayjax.valuation.games import Game
from relayjax.valuation.least_squares import error_variances, pseudoinverse
from relayjax.valuation.paired import paired_stream, sampled_fraction, with_complements

# Pairs per participant from which on each participant has a slope of its own in the size: fewer, and the fit
# follows noise.
_SLOPES_FROM = 5


def stratified_shapley(game: Game, key: jax.Array, *, budget: int) -> Estimate:
    """Shapley values as means of complementary contributions over the coalitions of each size.

        φ_i = 1/N Σ_j E[ u(S) | i ∈ S, |S| = j ],   u(S) = v(S) − v(N \\ S) = −u(N \\ S)

    A pair says something about everyone: about those in S at size |S|, about the others at size N − |S|. But
    u is large even where nobody interacts, and its mean over few coalitions poor. So what a simple game û
    explains is taken out first, and its own values, which are known, are added in the end:

        φ = φ(û) + 1/N Σ_j mean[ u(S) − û(S) | i ∈ S, |S| = j ]
        û(S) = Σ_i z_i (β_i + γ_i (1 − b²)),   z_i = 1 if i ∈ S, else −1,   b = mean_i z_i,   Σ_i β_i = v(N)

    û is fitted by least squares; the γ_i, which tell how gains diminish with the size, are all alike below
    5 N pairs. Where û is wrong the means set it right: with all pairs the values are exact. Sizes take turns,
    participants are in equally many coalitions of a size, and no pair is evaluated twice. Measured on games
    of digits, the error is a tenth of that without û, and half of that of antithetic orders.

    The values are made to add up to v(N) by equal shares, which can only bring them closer to the truth. Who
    brings nothing gets nothing up to the standard error, not exactly.

    The variance reported is Σ_m (a_{i,m} ε_m)² / (1 − h_m) · (1 − f_m) + var_e(φ_{i,e}) / E: a the values'
    coefficients, ε the residuals of the fit, h their leverage, f the fraction of the pairs of that size that
    were evaluated.

    Args:
      game: any game.
      key: `jax.random.key`; the pairs of a larger budget begin with those of a smaller one.
      budget: most distinct coalitions to evaluate; if it covers all there are, the values are exact.

    Raises:
      ConfigError: the budget is below 4 N − 2: the fit takes about as many pairs as participants, and its
        error as many again.

    References:
      Zhang, Sun, Liu, Xiong, Pei and Ren, Efficient Sampling Approaches to Shapley Value Approximation, 2023.
      Witter, Liu and Musco, Regression-adjusted Monte Carlo Estimators for Shapley Values and Probabilistic
      Values, 2025.
    """
    participants = game.participants
    if covers_all(budget, participants):
        return exact_shapley(game)
    enough = min(4 * participants - 2, 2**participants)
    if budget < enough:
        raise ConfigError(
            f"stratified: a budget of {budget} coalitions does not suffice for {participants} participants; "
            f"{enough} do: a regression takes about twice as many pairs of coalitions as participants"
        )
    pairs = np.array(list(islice(paired_stream(Draws(key), participants), budget // 2 - 1)))
    features, fit, values = _regression(pairs)
    of_worth, of_pairs = coefficients_of(pairs, features, fit, values)
    half = np.concatenate([of_worth[:, None], of_pairs], axis=1)
    coalitions = with_complements(pairs)  # N, pairs, ∅, complements

    table = game.utility_per_example(coalitions)
    utilities = table.mean(axis=1, dtype=np.float64)
    differences = utilities[: len(pairs) + 1] - utilities[len(pairs) + 1 :]
    contributions = differences[1:] - _balance(pairs) * differences[0]
    unseen = 1 - sampled_fraction(pairs)
    sampling = of_pairs**2 @ (error_variances(features, fit, contributions) * unseen)
    return from_table(coalitions, table, np.concatenate([half, -half], axis=1), "stratified", sampling)


def coefficients_of(
    pairs: np.ndarray, features: np.ndarray, fit: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The values as a linear map: φ = of_worth · u(N) + of_pairs u.

    Args:
      pairs: bool [M, N].
      features: see `_regression`, float64 [M, F].
      fit: their pseudoinverse, float64 [F, M].
      values: the features' own Shapley values, float64 [N, F].

    Returns:
      of_worth, float64 [N], and of_pairs, float64 [N, M].
    """
    means = _means_of_strata(pairs)
    of_pairs = means + (values - means @ features) @ fit
    of_pairs -= of_pairs.mean(axis=0)
    return 1 / pairs.shape[1] - of_pairs @ _balance(pairs), of_pairs


def _regression(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The least squares fit of û − b v(N): games that are worth nothing as a whole.

    Returns:
      The features of every pair, float64 [M, F]; their pseudoinverse, [F, M]; their Shapley values, [N, F].
    """
    count, participants = pairs.shape
    signs, balance = np.where(pairs, 1.0, -1.0), _balance(pairs)
    directions = np.linalg.svd(np.ones((1, participants)))[2][1:].T  # orthonormal, of sum 0, [N, N − 1]
    curved = 1 - balance**2
    features, values = [signs @ directions], [directions]
    features.append((curved * balance)[:, None])  # alike for all, so of value 0 to each
    values.append(np.zeros((participants, 1)))
    if count >= _SLOPES_FROM * participants:
        # z_i (1 − b²) at every size j with i in S, and what all others, who are in S as often, get of it.
        size = np.arange(1, participants + 1)
        share = (1 - (2 * size / participants - 1) ** 2) * 2 * (participants - size) / (participants - 1)
        features.append(curved[:, None] * features[0])
        values.append(share.mean() * directions)
    joined = np.concatenate(features, axis=1)
    return joined, pseudoinverse(joined), np.concatenate(values, axis=1)


def _balance(pairs: np.ndarray) -> np.ndarray:
    """b: the share of those present less that of those absent, float64 [M]."""
    return 2 * pairs.mean(axis=1) - 1


def _means_of_strata(pairs: np.ndarray) -> np.ndarray:
    """1/N Σ_j of the mean of u over a participant's coalitions of size j, as a map of u: float64 [N, M].

    A stratum without coalitions counts as 0.
    """
    count, participants = pairs.shape
    sizes = pairs.sum(axis=1)
    means = np.zeros((participants, count))
    for size in np.unique(sizes):
        these = np.flatnonzero(sizes == size)
        inside = pairs[these].T
        members = inside.sum(axis=1, keepdims=True)
        others = len(these) - members
        if 2 * size == participants:  # S and its complement are of one stratum
            members = others = len(these)
        means[:, these] = inside / np.maximum(members, 1) - ~inside / np.maximum(others, 1)
    return means / participants
