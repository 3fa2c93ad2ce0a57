"""What one does in a relay in place of honest behaviour: when it bids, what it hands in, what it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relayjax.incentives.handed import HONEST, Handed
from relayjax.mechanism.rules import Schedule
from relayjax.misreports import Misreport

Bid = Callable[[int, int | None], int | None]
"""(balance, honest bid), micro-coins → what is bid; None is no bid."""
Present = Callable[[int, Schedule], bool]
"""(round, schedule) → whether it takes part in that round."""


def honest_bid(balance: int, honest: int | None) -> int | None:
    return honest


def everything(balance: int, honest: int | None) -> int | None:
    return None if honest is None else balance


def nothing(balance: int, honest: int | None) -> int | None:
    return None if honest is None else 0


def always(round: int, schedule: Schedule) -> bool:
    return True


def never(round: int, schedule: Schedule) -> bool:
    return False


def after_most_value(round: int, schedule: Schedule) -> bool:
    """Joins when the first two braid rounds are over."""
    return round > max(schedule.valued[:2], default=schedule.rounds // 2)


def until_half(round: int, schedule: Schedule) -> bool:
    return round <= schedule.rounds // 2


def until_valued(round: int, schedule: Schedule) -> bool:
    """Leaves when the last braid round is over."""
    return round <= max(schedule.valued, default=schedule.rounds // 2)


@dataclass(frozen=True)
class Behaviour:
    """What one does; what is not said is honest.

    Attributes:
      bid: what it offers.
      deposits: whether it pays the deposit once it is matched.
      present: whether it takes part in a round at all.
      braid, chain: what it hands in, in rounds of that kind; a tree round takes what a chain round does.
      later: what it hands in after half of the rounds, in place of both.
      reveals: whether it shows what it committed to.
      report: what a validator states in place of what it measured.
      shows: whether a validator shows what it pledged to.
      measures: whether a validator bears the cost of measuring.
    """

    bid: Bid = honest_bid
    deposits: bool = True
    present: Present = always
    braid: Handed = HONEST
    chain: Handed = HONEST
    later: Handed | None = None
    reveals: bool = True
    report: Misreport | None = None
    shows: bool = True
    measures: bool = True

    def handed(self, round: int, schedule: Schedule, braid: bool) -> Handed:
        """What it hands in."""
        if self.later is not None and not until_half(round, schedule):
            return self.later
        return self.braid if braid else self.chain
