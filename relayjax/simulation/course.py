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
        rules.bid_margin,
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
