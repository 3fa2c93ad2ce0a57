"""What a rule set answers. The live relay and every replay ask the same questions of the same object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from statistics import median_high, median_low
from typing import Protocol

from relayjax.mechanism.settlement import Settlement
from relayjax.mechanism.state import Round, State, Topology


class Mechanism(Protocol):
    """A rule set: pure functions of the state."""

    def topology(self, state: State) -> Topology:
        """How this round connects trainers and versions."""
        ...

    def maintainers(self, state: State) -> tuple[str, ...]:
        """Who scores this round, sorted."""
        ...

    def bidders(self, state: State) -> tuple[str, ...]:
        """Who may bid this round, sorted."""
        ...

    def suggested_bid(self, state: State, name: str) -> int | None:
        """What an honest bidder offers, in micro-coins; None to stay out of this round."""
        ...

    def match(self, state: State) -> Mapping[str, int]:
        """Trainer → number of the version it trains from, given the bids."""
        ...

    def deposits(self, state: State) -> Mapping[str, int]:
        """Name → micro-coins it has to put into escrow, given the match."""
        ...

    def accepted(self, state: State) -> tuple[str, ...]:
        """Trainers whose candidates pass the test, best first, given the scores."""
        ...

    def settle(self, state: State) -> Settlement:
        """The decisions that end the round."""
        ...


def child_losses(state: State) -> dict[str, int]:
    """Median over the validators of every candidate's loss."""
    return medians(score.children for score in state.round.scores.values())


def parent_losses(state: State) -> dict[str, int]:
    """Median over the validators of every parent's loss, by version number as text."""
    return medians(score.parents for score in state.round.scores.values())


def opening_loss(state: State) -> int:
    """Loss of the head that a braid round starts from, micro-nats, at least 1."""
    parents = medians((score.parents for score in state.round.scores.values()), of=median_high)
    return max(1, min(parents.values()))


def loss_rises(round: Round) -> dict[str, int]:
    """Median over the validators of every candidate's loss − its parent's loss."""
    reports = [(score.children, dict(score.parents)) for score in round.scores.values()]
    return medians(
        [(t, loss - parents[str(round.pairs[t])]) for t, loss in children] for children, parents in reports
    )


def slopes(round: Round) -> dict[str, int]:
    """Median over the validators of what every candidate's delta adds to the loss to first order."""
    return medians((score.slopes for score in round.scores.values()), of=median_high)


def luck(round: Round) -> dict[str, int]:
    """Median over the validators of the standard deviation of such slopes where only chance is at work."""
    return medians((score.chance for score in round.scores.values()), of=median_high)


def echoes(round: Round) -> dict[str, int]:
    """Median over the validators of how much every candidate of a braid round resembles earlier work, ppm."""
    return medians((score.echoes for score in round.scores.values()), of=median_high)


def child_loss(state: State, trainer: str) -> int:
    """Median over the validators of a candidate's loss."""
    return child_losses(state)[trainer]


def loss_rise(state: State, trainer: str) -> int:
    """Median over the validators of candidate's loss − parent's loss."""
    return loss_rises(state.round)[trainer]


def medians(
    reports: Iterable[Iterable[tuple[str, int]]], of: Callable[[list[int]], int] = median_low
) -> dict[str, int]:
    """The median of what is reported under each name.

    Args:
      reports: of each validator, (name, figure).
      of: which of the two middle figures counts, if there are two: the lower one; the higher one where a low
        figure would let something pass.
    """
    reported: dict[str, list[int]] = {}
    for name, figure in chain.from_iterable(reports):
        reported.setdefault(name, []).append(figure)
    return {name: of(figures) for name, figures in reported.items()}
