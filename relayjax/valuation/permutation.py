"""Shapley values from sampled orders, each with its reverse.

Shapes: N participants, R orders, M = R / 2 pairs, C distinct coalitions, E validation examples.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.games import Game


def antithetic_shapley(game: Game, key: jax.Array, *, permutations: int = 64) -> Estimate:
    """Shapley values as mean marginal contributions over antithetic pairs of orders.

        φ_i = 1/R Σ_r [ v(before_r(i) ∪ i) − v(before_r(i)) ]

    An order and its reverse cancel what pairwise interaction adds to the variance. A coalition met in several
    orders is evaluated once. The variance reported is

        var_m(φ_{i,m}) / M  +  var_e(φ_{i,e}) / E        (both with n − 1)

    with φ_{i,m} a pair's and φ_{i,e} an example's own value: orders and examples are drawn independently, and
    each term holds the variance of their interaction, which is thus counted twice, never missed. Below some
    ten pairs the first term is itself a rough guess.

    Args:
      game: any game.
      key: `jax.random.key`; the first orders of a larger budget are those of a smaller one.
      permutations: R, orders walked, reverses included: even, at least 4 (a variance takes two pairs).

    Returns:
      The estimate; `evaluations` is C ≤ R (N − 1) + 2.

    Raises:
      ConfigError: `permutations` is odd or below 4.

    References:
      Castro, Gómez and Tejada, Polynomial calculation of the Shapley value based on sampling, 2009.
      Mitchell et al., Sampling Permutations for Shapley Value Estimation, 2022.
    """
    if permutations < 4 or permutations % 2:
        raise ConfigError(
            f"antithetic_shapley: permutations is {permutations}; give an even number, 4 or more: "
            "each order is walked with its reverse, and a standard error takes two pairs"
        )
    orders = _paired_orders(key, permutations // 2, game.participants)
    positions = orders.argsort(axis=1)  # [R, N]: how many come before each participant
    prefixes = positions[:, None, :] < np.arange(game.participants + 1)[:, None]  # [R, N+1, N]
    coalitions, found = np.unique(prefixes.reshape(-1, game.participants), axis=0, return_inverse=True)
    found = found.reshape(prefixes.shape[:2])  # [R, N+1]: the row of `coalitions` each prefix is
    without = np.take_along_axis(found, positions, axis=1)
    joined = np.take_along_axis(found, positions + 1, axis=1)

    coefficients = np.zeros((game.participants, len(coalitions)))
    players = np.arange(game.participants)
    np.add.at(coefficients, (players, joined), 1 / permutations)
    np.add.at(coefficients, (players, without), -1 / permutations)

    table = game.utility_per_example(coalitions)
    utilities = table.mean(axis=1, dtype=np.float64)
    pairs = (utilities[joined] - utilities[without]).reshape(-1, 2, game.participants).mean(axis=1)
    sampling_variance = pairs.var(axis=0, ddof=1) / len(pairs)
    return from_table(coalitions, table, coefficients, "antithetic", sampling_variance)


def _paired_orders(key: jax.Array, pairs: int, participants: int) -> np.ndarray:
    """Sampled orders, each followed by its reverse, int [2 · pairs, N]."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(pairs))
    forward = np.asarray(jax.vmap(lambda k: jax.random.permutation(k, participants))(keys))
    return np.stack([forward, forward[:, ::-1]], axis=1).reshape(-1, participants)
