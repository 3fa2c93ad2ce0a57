"""Exact Shapley values: all 2^N coalitions, one matrix product.

Shapes: N participants, C = 2^N coalitions, E validation examples.
"""

from __future__ import annotations

import math

import jax
import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.games import Game

MAX_PARTICIPANTS = 16


def exact_shapley(game: Game, key: jax.Array | None = None, *, budget: int | None = None) -> Estimate:
    """Shapley values of a small game, in float64 on the host once the coalitions are evaluated.

        φ = A V,   V [2^N, E] the utility of every coalition on every example

    Args:
      game: any game of up to 16 participants.
      key: unused; it is here because every `Estimator` takes one.
      budget: most coalitions to evaluate, if there is a limit.

    Returns:
      The estimate; its standard error comes from the draw of validation examples alone.

    Raises:
      ConfigError: more than 16 participants, or the budget is below 2^N.
    """
    participants = game.participants
    if participants > MAX_PARTICIPANTS:
        raise ConfigError(
            f"exact: {participants} participants make 2^{participants} coalitions; the limit is "
            f"{MAX_PARTICIPANTS} participants: use an estimator that samples, or aumann-shapley"
        )
    if budget is not None and not covers_all(budget, participants):
        raise ConfigError(
            f"exact: a budget of {budget} coalitions does not suffice for {participants} participants; "
            f"{2**participants} do, or use an estimator that samples"
        )
    coalitions = all_coalitions(participants)
    table = game.utility_per_example(coalitions)
    return from_table(coalitions, table, shapley_matrix(participants), "exact")


def covers_all(budget: int, participants: int) -> bool:
    """Whether a budget pays for every coalition of a game small enough to enumerate."""
    return participants <= MAX_PARTICIPANTS and 2**participants <= budget


def all_coalitions(participants: int) -> np.ndarray:
    """Every coalition, bool [2^N, N]: participant i is in coalition c if bit i of c is set."""
    return (np.arange(2**participants)[:, None] >> np.arange(participants) & 1).astype(bool)


def shapley_matrix(participants: int) -> np.ndarray:
    """A, the Shapley value as a linear map of the utilities of `all_coalitions`.

        A[i, S] = (|S|−1)! (N−|S|)! / N!   if i ∈ S,   −|S|! (N−|S|−1)! / N!   otherwise

    Returns:
      float64 [N, 2^N].

    References:
      Shapley, A Value for n-Person Games, 1953.
    """
    # The probability that a given player comes right after a given set of k others.
    after = [1 / (participants * math.comb(participants - 1, k)) for k in range(participants)]
    joining = np.array([0.0, *after])  # by |S|, for members of S
    staying_out = -np.array([*after, 0.0])
    coalitions = all_coalitions(participants)
    sizes = coalitions.sum(axis=1)
    return np.where(coalitions.T, joining[sizes], staying_out[sizes])
