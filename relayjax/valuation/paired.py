"""Coalitions with their complements, drawn without replacement.

A Shapley value depends only on the odd part of a game, o(S) = (v(S) − v(N∖S)) / 2, so a coalition is
evaluated with its complement. A pair goes by its smaller side.

Shapes: N participants, M pairs, C = 2 M + 2 coalitions, E validation examples.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from itertools import islice

import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.draws import Draws


def affordable_pairs(draws: Draws, participants: int, budget: int, method: str) -> np.ndarray:
    """As many pairs as a budget pays for beside the empty and the full coalition, bool [M, N].

    Args:
      draws: the stream of a key; the pairs of a larger budget begin with those of a smaller one.
      participants: N.
      budget: most distinct coalitions to evaluate.
      method: the estimator's name, for the message.

    Raises:
      ConfigError: the budget is below 3 (N + 4).
    """
    least = least_budget(participants)
    if budget < least:
        raise ConfigError(
            f"{method}: a budget of {budget} coalitions does not suffice for {participants} participants; "
            f"{least} do: a regression takes half as many pairs again as there are participants"
        )
    return np.array(list(islice(paired_stream(draws, participants), budget // 2 - 1)))


def least_budget(participants: int) -> int:
    """The fewest coalitions that a regression on pairs takes, the empty and the full one included."""
    return min(3 * (participants + 4), 2**participants)


def paired_stream(draws: Draws, participants: int) -> Iterator[np.ndarray]:
    """All pairs of proper coalitions, each once, in random order: the smaller side, bool [N].

    Every size has the same leverage in the regression that defines Shapley values, so every size comes up
    equally often until it is exhausted, in turns whose starting point alone is random. Within a size,
    coalitions are cut from random orders, one after the other: all participants are in equally many.

    References:
      Musco and Witter, Provably Accurate Shapley Value Estimation via Leverage Score Sampling, 2024
      (theorem 1.1, section 3).
    """
    sizes = range(1, participants // 2 + 1)
    starts = draws.uniform(len(sizes))
    left = {size: pairs_of_size(participants, size) for size in sizes}
    coalitions = {size: _of_size(draws, participants, size) for size in sizes}
    # A pair of halves has one size, every other pair has two.
    rest = {size: 2.0 if 2 * size == participants else 1.0 for size in sizes}
    turns = [(start * rest[size], size) for start, size in zip(starts, sizes, strict=True)]
    heapq.heapify(turns)
    while turns:
        time, size = turns[0]
        yield next(coalitions[size])
        left[size] -= 1
        if left[size]:
            heapq.heapreplace(turns, (time + rest[size], size))
        else:
            heapq.heappop(turns)


def pairs_of_size(participants: int, size: int) -> int:
    """How many pairs have a smaller side of this size."""
    return math.comb(participants, size) // (2 if 2 * size == participants else 1)


def sampled_fraction(pairs: np.ndarray) -> np.ndarray:
    """Which fraction of the pairs of its size was sampled, float64 [M], of each of the pairs, bool [M, N]."""
    sizes = pairs.sum(axis=1)
    # Integers of Python: there may be more pairs of a size than 64 bits count.
    counts = np.bincount(sizes).tolist()
    return np.array([counts[size] / pairs_of_size(pairs.shape[1], size) for size in sizes])


def _of_size(draws: Draws, participants: int, size: int) -> Iterator[np.ndarray]:
    """Distinct coalitions of one size, of halves the one with the first participant; ends never."""
    seen = set()
    while True:
        order = draws.orders(1, participants)[0]
        for first in range(0, participants - size + 1, size):
            coalition = np.zeros(participants, bool)
            coalition[order[first : first + size]] = True
            if 2 * size == participants and not coalition[0]:
                coalition = ~coalition
            name = coalition.tobytes()
            if name not in seen:
                seen.add(name)
                yield coalition


def with_complements(pairs: np.ndarray) -> np.ndarray:
    """The coalitions to evaluate, bool [C, N]: the full one, the pairs; the empty one, the complements."""
    first = np.concatenate([np.ones((1, pairs.shape[1]), bool), pairs])
    return np.concatenate([first, ~first])
