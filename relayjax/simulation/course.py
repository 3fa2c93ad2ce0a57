"""What goes into playing rounds and what comes out, however they are computed.

N: participants, R: rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from relayjax.mechanism.rules import COIN
from relayjax.simulation.settings import Population

LAGS = 13
"""Classes of participants by how far their newest version lies behind: 0 … 10, farther, none."""


class Curves(NamedTuple):
    """What is observed at the end of each round.

    Attributes:
      lags: int64 [R, 13], participants by how far the newest version they hold lies behind the newest.
      mean: float64 [R], micro-coins; also the following.
      deviation: float64 [R], standard deviation over participants.
      low: int64 [R].
      high: int64 [R].
    """

    lags: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Scratch(NamedTuple):
    """Room for what a round works with.

    Attributes:
      busy: bool [N], owners.
      keys: int64 [N], what is sorted.
      others: int64 [N], who owns nothing, lowest lot first: trainers, then maintainers.
      stakes: int64 [N], an owner's deposit for one trainer, by rank.
      trainers: int64 [N / 2], of the models trained in the round, in the order of the match.
      ranks: int64 [N / 2], of the models' owners.
      bids: int64 [N / 2], of the models' trainers.
      levels: float64 [N / 2], what the models perform.
      weights: int64 [N / 2 + 1], accepted descendants of a generation's versions.
      above: int64 [N / 2 + 1], those of the generation before.
      moved: int64 [N / 2 + 1], where a generation's versions have moved to.
    """

    busy: np.ndarray
    keys: np.ndarray
    others: np.ndarray
    stakes: np.ndarray
    trainers: np.ndarray
    ranks: np.ndarray
    bids: np.ndarray
    levels: np.ndarray
    weights: np.ndarray
    above: np.ndarray
    moved: np.ndarray


class Numbers(NamedTuple):
    """The rules' numbers; amounts in micro-coins, the share in parts per million."""

    share: int
    places: int
    reward: int
    fee: int
    owner_bid: int
    margin: int
    cases: int
    step: int


def numbers_of(population: Population) -> Numbers:
    """The rules' numbers."""
    rules = population.rules
    return Numbers(
        rules.accepted_share,
        rules.places,
        rules.lineage_reward,
        rules.fee,
        rules.owner_bid,
        population.bid_margin,
        population.cases,
        COIN,
    )


@dataclass(frozen=True)
class Course:
    """How one population fared.

    Attributes:
      seed: of its draws.
      curves: what was observed at the end of each round.
      coins: int64 [N], micro-coins at the end.
      minted: micro-coins paid out of nothing.
      forfeited: micro-coins of deposits lost; `minted − forfeited` is what there is.
      ended: the round, counted from 1, in which no model was accepted, after which nothing moves; or none.
    """

    seed: int
    curves: Curves
    coins: np.ndarray
    minted: int
    forfeited: int
    ended: int | None

    @property
    def shares(self) -> np.ndarray:
        """float64 [R, 13]: participants by lag of their newest version, as shares of all."""
        return self.curves.lags / len(self.coins)
