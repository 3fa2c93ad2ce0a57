"""What was measured in a run: every leg's loss change, every braid round's values, the head's loss.

Figures are medians over the validators, as the rules take them. Units: micro-nats per example.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean, median_high, median_low, pstdev

from relayjax.history import History, SettledRound
from relayjax.mechanism.base import child_loss, loss_rise, medians
from relayjax.mechanism.state import State, Topology

NATS = 1e-6
"""Nats in a micro-nat."""


@dataclass(frozen=True)
class Leg:
    """One participant's training turn.

    Attributes:
      round: the round it was in.
      topology: of that round.
      trainer: whose turn it was.
      parent: number of the version it started from.
      change: validation loss of its candidate less that of the parent; None if it revealed nothing.
      accepted: whether it passed the test.
      version: number of the version it became part of; None if there is none.
    """

    round: int
    topology: Topology
    trainer: str
    parent: int
    change: int | None
    accepted: bool
    version: int | None


@dataclass(frozen=True)
class Valuation:
    """What one participant's work in a braid round was measured to be worth.

    Attributes:
      round: the braid round.
      trainer: whose work it is.
      value, stderr: what pays: what is new in it at its best length; and its standard error.
      chance: standard deviation of what random directions as long as its delta would be worth.
      shapley, shapley_stderr: Shapley value beside it.
    """

    round: int
    trainer: str
    value: int
    stderr: int
    chance: int
    shapley: int
    shapley_stderr: int


@dataclass(frozen=True)
class Trainings:
    """How a run's legs turned out.

    Attributes:
      matched: how many legs there were.
      gains: what each leg that was revealed took off the validation loss of its parent, nats per example;
        negative where it raised the loss.
    """

    matched: int
    gains: tuple[float, ...]

    @property
    def success_rate(self) -> float:
        """Share of the legs that were revealed; 0 without any."""
        return len(self.gains) / self.matched if self.matched else 0.0

    @property
    def mean(self) -> float:
        """Of the gains, nats; there has to be one."""
        return fmean(self.gains)

    @property
    def deviation(self) -> float:
        """Standard deviation of the gains, nats; there has to be one."""
        return pstdev(self.gains)


def legs(history: History) -> tuple[Leg, ...]:
    """Every leg of the settled rounds, in order."""
    return tuple(leg for settled in history.rounds for leg in legs_of(history.state, settled))


def trainings(history: History) -> Trainings:
    """How the legs outside braid rounds turned out; in those only a share of a leg's delta is tested."""
    own = [leg for leg in legs(history) if leg.topology is not Topology.BRAID]
    return Trainings(len(own), tuple(-leg.change * NATS for leg in own if leg.change is not None))


def valuations(history: History) -> tuple[Valuation, ...]:
    """Every valuation of the settled braid rounds, in order."""
    return tuple(valuation for settled in history.rounds for valuation in valuations_of(settled))


def head_losses(history: History) -> tuple[int | None, ...]:
    """Loss of the best head after each settled round, on that round's draw; None where nothing was scored."""
    return tuple(head_loss(history.state, settled) for settled in history.rounds)


def legs_done(history: History) -> tuple[int, ...]:
    """How many legs had been run by the end of each settled round."""
    return tuple(accumulate(len(settled.facts.pairs) for settled in history.rounds))


def legs_of(state: State, settled: SettledRound) -> list[Leg]:
    """The legs of one round, by trainer; `state` is the agreed state at any time after it."""
    then, settle = _at(state, settled), settled.settle
    made = {owner: number for number, _, _ in settle.versions for owner in state.versions[number].owners}
    scored = settled.facts.submissions if settled.facts.scores else {}
    return [
        Leg(
            settled.number,
            settled.topology,
            trainer,
            parent,
            loss_rise(then, trainer) if trainer in scored else None,
            trainer in settle.accepted,
            made.get(trainer),
        )
        for trainer, parent in settled.facts.pairs.items()
    ]


def valuations_of(settled: SettledRound) -> list[Valuation]:
    """The valuations of one round, by trainer; none unless it was a braid."""
    reports = list(settled.facts.values.values())
    value = medians(r.values for r in reports)
    stderr = medians((r.stderr for r in reports), of=median_high)
    chance = medians((r.chance for r in reports), of=median_high)
    shapley, shapley_stderr = medians(r.shapley for r in reports), medians(r.shapley_stderr for r in reports)
    return [
        Valuation(
            settled.number,
            name,
            value[name],
            stderr[name],
            chance[name],
            shapley[name],
            shapley_stderr[name],
        )
        for name in value
    ]


def head_loss(state: State, settled: SettledRound) -> int | None:
    """Loss of the best head after one round, on its draw; None where nothing was scored."""
    facts, settle = settled.facts, settled.settle
    if not facts.scores:
        return None
    if not settle.versions:
        return min(medians(score.parents for score in facts.scores.values()).values())
    if settled.topology is Topology.BRAID:
        return median_low(value.loss for value in facts.values.values())
    return child_loss(_at(state, settled), state.versions[settle.heads[0]].owners[0])


def _at(state: State, settled: SettledRound) -> State:
    """A state whose present round is the given one: what the rules' own measures are asked with."""
    return dataclasses.replace(state, round=settled.facts)
