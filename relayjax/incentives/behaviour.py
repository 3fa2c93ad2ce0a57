"""What one does in a relay in place of honest behaviour: when it bids, what it hands in, what it reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from relayjax.incentives.handed import HONEST, Handed
from relayjax.mechanism.rules import Schedule
from relayjax.records import Pairs, Score, Value

Report = Score | Value
NAT = 1_000_000

Bid = Callable[[int, int | None], int | None]
"""(balance, honest bid), micro-coins → what is bid; None is no bid."""
Present = Callable[[int, Schedule], bool]
"""(round, schedule) → whether it takes part in that round."""
Misreport = Callable[[Report, frozenset[str]], Report | None]
"""(honest report, accomplices) → what is stated; None is no pledge."""


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


def constant(report: Report, accomplices: frozenset[str]) -> Report | None:
    """One nat for every loss, a thousandth of one for every value; nothing resembles anything."""
    if isinstance(report, Score):
        return dataclasses.replace(
            report,
            parents=_moved(report.parents, lambda name, loss: NAT),
            children=_moved(report.children, lambda name, loss: NAT),
            slopes=_moved(report.slopes, lambda name, slope: -NAT),
            chance=_moved(report.chance, _nothing),
            echoes=_moved(report.echoes, lambda name, echo: 0),
        )
    same, none = _moved(report.values, lambda name, value: NAT // 1_000), _moved(report.values, _nothing)
    return dataclasses.replace(
        report, loss=NAT, values=same, stderr=none, chance=none, shapley=same, shapley_stderr=none
    )


def lie(report: Report, accomplices: frozenset[str]) -> Report | None:
    """Praises bad work and blames good: whatever a leg adds to the loss, it takes off, and the other way."""
    if isinstance(report, Score):
        before = max((loss for _, loss in report.parents), default=0)
        return dataclasses.replace(
            report,
            children=_moved(report.children, lambda name, loss: 2 * before - loss),
            slopes=_moved(report.slopes, lambda name, slope: -slope),
        )
    turned = _moved(report.values, lambda name, value: -value)
    return dataclasses.replace(report, values=turned, shapley=turned)


def favour(report: Report, accomplices: frozenset[str]) -> Report | None:
    """A nat for accomplices: lower losses, higher values, steeper slopes, and like nothing before."""
    gift = NAT

    def ours(name: str) -> bool:
        return name in accomplices

    if isinstance(report, Score):
        return dataclasses.replace(
            report,
            children=_moved(report.children, lambda name, loss: loss - gift * ours(name)),
            slopes=_moved(report.slopes, lambda name, slope: slope - gift * ours(name)),
            echoes=_moved(report.echoes, lambda name, echo: 0 if ours(name) else echo),
        )
    return dataclasses.replace(
        report,
        values=_moved(report.values, lambda name, value: value + gift * ours(name)),
        shapley=_moved(report.shapley, lambda name, value: value + gift * ours(name)),
    )


def silent(report: Report, accomplices: frozenset[str]) -> Report | None:
    return None


def _nothing(name: str, figure: int) -> int:
    return 0


def _moved(pairs: Pairs, change: Callable[[str, int], int]) -> Pairs:
    return tuple((name, change(name, figure)) for name, figure in pairs)
