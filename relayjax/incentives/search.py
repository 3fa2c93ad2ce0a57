"""How far the rules carry: the smallest deposit, the fewest honest validators, the dearest leg."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from relayjax.incentives.audit import Row, Setup, jobs_of, play, verdicts
from relayjax.incentives.catalogue import FORFEITING, Case, conspiracy, vandals
from relayjax.incentives.settings import Assumptions, Prices
from relayjax.mechanism.rules import COIN, RelayJAXRules, Schedule

STEPS = 5
"""Halvings of the interval in which the smallest deposit lies."""
FEWER, FEWEST = 4, 10
"""Searches play so many times fewer seeds, but not fewer than these."""


def most_relays(schedule: Schedule, assumptions: Assumptions) -> int:
    """How many relays the searches play, at most."""
    seeds = _fewer(assumptions).play.seeds
    return seeds * (len(vandals(1, FORFEITING)) * (STEPS + 1) + len(conspiracy(1)) * schedule.validators)


def smallest_deposit(
    setup: Setup, assumptions: Assumptions, workers: int, turn: Callable[[], None]
) -> float | None:
    """The smallest deposit, in coins, with which no vandalism pays; None if the rules' own is too small.

    Deposits are there against harm for its own sake: whoever wants to be paid loses its pay anyway.
    """
    if not isinstance(setup.rules, RelayJAXRules):
        return None
    cases, assumptions = vandals(assumptions.play.coalition, FORFEITING), _fewer(assumptions)

    def enough(deposit: int) -> bool:
        rules = dataclasses.replace(setup.rules, deposit=deposit)
        rows = play(dataclasses.replace(setup, rules=rules), jobs_of(cases, assumptions), workers, turn)
        return all(found.holds for found in verdicts(cases, rows, assumptions.prices))

    low, high = 0, setup.rules.deposit
    if not enough(high):
        return None
    for _ in range(STEPS):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high / COIN


def fewest_honest(
    setup: Setup, assumptions: Assumptions, workers: int, turn: Callable[[], None]
) -> int | None:
    """With how many honest validators, at least, none of the others gains by favouring its accomplice."""
    total, assumptions = setup.schedule.validators, _fewer(assumptions)
    for lying in range(1, total + 1):
        cases = conspiracy(lying)
        rows = play(setup, jobs_of(cases, assumptions), workers, turn)
        if not all(found.holds for found in verdicts(cases, rows, assumptions.prices)):
            return total - lying + 1
    return 0


def dearest_leg(played: Sequence[Case], rows: Sequence[Row], prices: Prices) -> float:
    """The highest cost of a leg, in coins, at which all verdicts that hold now still do.

    Nothing has to be played again: what was trained is known.
    """
    holding = {v.case.name for v in verdicts(played, rows, prices) if v.holds}

    def holds(leg: float) -> bool:
        dearer = dataclasses.replace(prices, leg=leg)
        return all(v.holds for v in verdicts(played, rows, dearer) if v.case.name in holding)

    low, high = prices.leg, max(1.0, 2 * prices.leg)
    while holds(high) and high < 1e6:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _fewer(assumptions: Assumptions) -> Assumptions:
    seeds = min(assumptions.play.seeds, max(FEWEST, assumptions.play.seeds // FEWER))
    return dataclasses.replace(assumptions, play=dataclasses.replace(assumptions.play, seeds=seeds))
