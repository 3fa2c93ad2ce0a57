"""What dishonest validators state in place of what they measured, in live relays and in audits alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from relayjax.records import Pairs, Score, Value

NAT = 1_000_000
"""Micro-nats."""

Report = Score | Value


@dataclass(frozen=True)
class Bias:
    """What moves a misreport.

    Attributes:
      favoured: names of the trainers that are to gain.
      strength: how much of the deviation, times what is usual.
      rng: the validator's own in this round.
    """

    favoured: frozenset[str]
    strength: float
    rng: np.random.Generator


Misreport = Callable[[Report, Bias], Report | None]
"""An honest report → what is stated; None is no report."""


def constant(report: Report, bias: Bias) -> Report | None:
    """One nat for every loss, a thousandth of one for every value."""
    if isinstance(report, Score):
        return dataclasses.replace(
            report,
            parents=_moved(report.parents, lambda name, loss: NAT),
            children=_moved(report.children, lambda name, loss: NAT),
            slopes=_moved(report.slopes, lambda name, slope: -NAT),
            chance=_moved(report.chance, lambda name, luck: 0),
            echoes=_moved(report.echoes, lambda name, echo: 0),
        )
    thousandth, none = NAT // 1_000, _moved(report.values, lambda name, value: 0)
    same = _moved(report.values, lambda name, value: thousandth)
    return dataclasses.replace(
        report, loss=NAT, values=same, stderr=none, chance=none, shapley=same, shapley_stderr=none
    )


def favour(report: Report, bias: Bias) -> Report | None:
    """A tenth of a nat for the favoured one: lower losses, higher values, nothing like anything before."""
    gift = round(bias.strength * NAT / 10)

    def raised(name: str, value: int) -> int:
        return value + gift * (name in bias.favoured)

    def lowered(name: str, loss: int) -> int:
        return loss - gift * (name in bias.favoured)

    if isinstance(report, Score):
        return dataclasses.replace(
            report,
            children=_moved(report.children, lowered),
            slopes=_moved(report.slopes, lowered),
            echoes=_moved(report.echoes, lambda name, echo: 0 if name in bias.favoured else echo),
        )
    return dataclasses.replace(
        report, values=_moved(report.values, raised), shapley=_moved(report.shapley, raised)
    )


def lie(report: Report, bias: Bias) -> Report | None:
    """Every loss and value is wrong by a random amount, a nat or so."""

    def wrong(name: str, figure: int) -> int:
        return figure + round(bias.strength * NAT * bias.rng.standard_normal())

    if isinstance(report, Score):
        return dataclasses.replace(
            report,
            parents=_moved(report.parents, wrong),
            children=_moved(report.children, wrong),
            slopes=_moved(report.slopes, wrong),
        )
    return dataclasses.replace(
        report,
        loss=wrong("", report.loss),
        values=_moved(report.values, wrong),
        shapley=_moved(report.shapley, wrong),
    )


def invert(report: Report, bias: Bias) -> Report | None:
    """Praises bad work and blames good: what a leg adds to the loss it takes off, and the other way round."""
    if isinstance(report, Score):
        before = max((loss for _, loss in report.parents), default=0)
        return dataclasses.replace(
            report,
            children=_moved(report.children, lambda name, loss: 2 * before - loss),
            slopes=_moved(report.slopes, lambda name, slope: -slope),
        )
    turned = _moved(report.values, lambda name, value: -value)
    return dataclasses.replace(report, values=turned, shapley=turned)


def silent(report: Report, bias: Bias) -> Report | None:
    return None


def _moved(pairs: Pairs, change: Callable[[str, int], int]) -> Pairs:
    return tuple((name, change(name, figure)) for name, figure in pairs)
