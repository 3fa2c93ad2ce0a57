"""Means of marginal contributions, from as many units of coalitions as a budget pays for.

A unit is what is drawn together and comes whole or not at all: an order, an order and its reverse, a
coalition with its neighbours.

Shapes: N participants, U units, K coalitions a unit, J contributions of each participant a unit, C distinct
coalitions, E validation examples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.games import Game

# Units whose coalitions are all known cost no evaluation, only memory here: stop at this multiple of the
# units that the budget would pay for if no coalition came twice.
_REPEATS = 4


@dataclass(frozen=True, eq=False)
class Marginals:
    """What the units say.

    Attributes:
      coalitions: the distinct ones, bool [C, N].
      per_example: their utilities, float [C, E], nats.
      coefficients: of the mean contributions in the utilities, float64 [N, C].
      own: the mean contributions of each unit, float64 [U, N], nats.
    """

    coalitions: np.ndarray
    per_example: np.ndarray
    coefficients: np.ndarray
    own: np.ndarray


def mean_marginals(game: Game, units: np.ndarray, joined: np.ndarray, without: np.ndarray) -> Marginals:
    """Mean over all contributions v(S ∪ i) − v(S); a coalition met more than once is evaluated once.

    Args:
      game: any game.
      units: bool [U, K, N].
      joined: which of its unit's coalitions S ∪ i is, int [U, J, N].
      without: which of them S is, int [U, J, N].
    """
    count, size, participants = units.shape
    first, found = _distinct(units)
    coalitions = units.reshape(-1, participants)[first]
    offsets = size * np.arange(count)[:, None, None]
    joined, without = found[joined + offsets], found[without + offsets]

    coefficients = np.zeros((participants, len(coalitions)))
    share = 1 / (joined.size // participants)
    np.add.at(coefficients, (np.arange(participants), joined), share)
    np.add.at(coefficients, (np.arange(participants), without), -share)

    per_example = game.utility_per_example(coalitions)
    utilities = per_example.mean(axis=1, dtype=np.float64)
    own = (utilities[joined] - utilities[without]).mean(axis=1)
    return Marginals(coalitions, per_example, coefficients, own)


def affordable(units: Callable[[int], np.ndarray], cost: int, budget: int, refusal: str) -> np.ndarray:
    """The leading units whose distinct coalitions a budget pays for: repeats are free.

    Args:
      units: gives the first so many units, bool [U, K, N], the empty and the full coalition in each.
      cost: most distinct coalitions of a unit beside those two.
      budget: most distinct coalitions in all.
      refusal: what to say if not even two units fit, which a standard error takes.

    Returns:
      bool [U, K, N], U at least 2; all that a smaller budget gives come first.

    Raises:
      ConfigError: two units do not fit.
    """
    without_repeats = max((budget - 2) // cost, 1)
    most, count = _REPEATS * without_repeats, without_repeats + 1
    while True:
        drawn = units(count)
        fit = min(_fitting(drawn, budget), most)
        if fit < count or count > most:
            break
        count *= 2
    if fit < 2:
        raise ConfigError(refusal)
    return drawn[:fit]


def packed(coalitions: np.ndarray) -> np.ndarray:
    """Every coalition as one scalar that can be compared and sorted, of coalitions bool [..., N]."""
    rows = np.packbits(coalitions, axis=-1)
    return rows.view(f"V{rows.shape[-1]}")[..., 0]


def _fitting(units: np.ndarray, budget: int) -> int:
    first, _ = _distinct(units)
    new = np.bincount(first // units.shape[1], minlength=len(units))
    return int(np.searchsorted(new.cumsum(), budget, side="right"))


def _distinct(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct coalition comes first, int [C], and which of these each is, int [U · K]."""
    _, first, found = np.unique(packed(units).ravel(), return_index=True, return_inverse=True)
    return first, found
