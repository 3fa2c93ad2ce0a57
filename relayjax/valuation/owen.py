"""Shapley values as an integral of the multilinear extension.

Shapes: N participants, U pairs of complementary coalitions, K = 2 N + 4 coalitions evaluated for a pair.
"""

from __future__ import annotations

import jax
import numpy as np

from relayjax.valuation.draws import Draws
from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.exact import covers_all, exact_shapley
from relayjax.valuation.games import Game
from relayjax.valuation.marginals import affordable, mean_marginals


def owen_shapley(game: Game, key: jax.Array, *, budget: int) -> Estimate:
    """Shapley values as mean marginal contributions to coalitions that everyone joins with probability q.

        φ_i = ∫₀¹ E_q[ v(S ∪ i) − v(S \\ i) ] dq,   from q and 1 − q together, as S and N \\ S

    q runs through the van der Corput sequence from a random start, so that any number of pairs covers [0, 1]
    evenly. Given q, ⌊q (N + 1)⌋ participants join, all sets of so many alike: over q this is the same
    distribution as joining one by one, without the variance of how many do. Everyone's contribution to
    S and to N \\ S is then measured.

    The values are made to add up to v(N): what is missing is shared out in proportion to the sampling error
    of each value, so that whoever brings nothing gets exactly 0. Measured on games of digits, this lowers the
    error by a twentieth, as equal shares do.

    The variance reported is that of `shapley_of_orders` with these pairs for units, divided by U − 1 instead
    of U because the shares are fitted to the same pairs.

    Args:
      game: any game.
      key: `jax.random.key`; the first pairs of a larger budget are those of a smaller one.
      budget: most distinct coalitions to evaluate; a pair takes 2 (N + 1) beside the empty and the full one.
        If it covers all there are, the values are exact.

    Raises:
      ConfigError: the budget does not suffice for two pairs.

    References:
      Owen, Multilinear Extensions of Games, 1972.
      Okhrati and Lipani, A Multilinear Sampling Algorithm to Estimate Shapley Values, 2021.
    """
    participants = game.participants
    if covers_all(budget, participants):
        return exact_shapley(game)
    enough = min(4 * (participants + 1) + 2, 2**participants)
    units = affordable(
        lambda count: _neighbourhoods(_coalitions(key, count, participants)),
        2 * (participants + 1),
        budget,
        f"owen: a budget of {budget} coalitions does not suffice for {participants} participants; "
        f"{enough} do: a standard error takes two pairs of coalitions and their neighbours",
    )
    middle = units[:, [0, participants + 1]]  # S and N \ S
    toggled = np.arange(1, participants + 1) + np.array([[0], [participants + 1]])
    center = np.array([[0], [participants + 1]])
    found = mean_marginals(game, units, np.where(middle, center, toggled), np.where(middle, toggled, center))
    # What is missing, w (v(N) − Σ φ), is linear in the utilities too once the weights are given.
    weights = found.own.std(axis=0)
    weights = weights / weights.sum() if weights.any() else np.full(participants, 1 / participants)
    sizes = found.coalitions.sum(axis=1)
    worth_of_all = (sizes == participants).astype(np.float64) - (sizes == 0)
    missing = worth_of_all - found.coefficients.sum(axis=0)
    coefficients = found.coefficients + np.outer(weights, missing)
    corrected = found.own - np.outer(found.own.sum(axis=1), weights)  # and the same to each from v(N)
    variance = corrected.var(axis=0, ddof=1) / (len(corrected) - 1)
    return from_table(found.coalitions, found.per_example, coefficients, "owen", variance)


def _coalitions(key: jax.Array, count: int, participants: int) -> np.ndarray:
    """One of each pair, bool [U, N]."""
    draws = Draws(key)
    start = draws.uniform()
    sizes = np.floor((_van_der_corput(count) + start) % 1 * (participants + 1)).astype(int)
    positions = draws.orders(count, participants).argsort(axis=1)
    return positions < sizes[:, None]


def _neighbourhoods(coalitions: np.ndarray) -> np.ndarray:
    """S, S with each participant in turn left out or let in; the same of N \\ S; ∅; N; bool [U, K, N]."""
    participants = coalitions.shape[1]
    half = coalitions[:, None] ^ np.concatenate(
        [np.zeros((1, participants), bool), np.eye(participants, dtype=bool)]
    )
    ends = np.broadcast_to(np.array([[False], [True]]), (len(coalitions), 2, participants))
    return np.concatenate([half, ~half, ends], axis=1)


def _van_der_corput(count: int) -> np.ndarray:
    """0, 1/2, 1/4, 3/4, 1/8, ...: binary digits of 0, 1, 2, ... mirrored at the point; float64 [U]."""
    index, point = np.arange(count), np.zeros(count)
    for place in range(max(count - 1, 1).bit_length()):
        point += (index >> place & 1) * 0.5 ** (place + 1)
    return point
