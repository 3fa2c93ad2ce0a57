"""A run in figures: what each member did and got, and the totals. Pure functions of the history.

Amounts are micro-coins, as in the records; losses and values are nats per example.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from relayjax.history import History
from relayjax.measured import NATS, Leg, Valuation, head_losses, legs, valuations
from relayjax.mechanism.rules import RelayJAXRules
from relayjax.mechanism.settlement import ESCROW
from relayjax.mechanism.state import Role
from relayjax.records import Genesis, Join, Settle

COINS = 1e-6
"""Coins in a micro-coin."""


@dataclass(frozen=True)
class Estimate:
    """A measured sum with its standard error, nats."""

    value: float
    stderr: float


@dataclass(frozen=True)
class Account:
    """Everything that went into and out of a member's balance, micro-coins.

    Attributes:
      endowment: granted when it joined.
      income: by reason: value, royalty, remainder, maintenance, lineage.
      deposited: put into escrow, over all rounds.
      returned: got back from escrow.
      escrow: still in escrow, in the round that is not settled yet.
      slashed: taken from it for reports that it withheld or that were not borne out, and for a place that it
        was matched to without paying its deposit.
    """

    endowment: int = 0
    income: Mapping[str, int] = field(default_factory=dict)
    deposited: int = 0
    returned: int = 0
    escrow: int = 0
    slashed: int = 0

    @property
    def earned(self) -> int:
        """All income."""
        return sum(self.income.values())

    @property
    def forfeited(self) -> int:
        """Deposits that are gone for good."""
        return self.deposited - self.returned - self.escrow

    @property
    def net(self) -> int:
        """What taking part brought: income less forfeited deposits and what was slashed."""
        return self.earned - self.forfeited - self.slashed

    @property
    def balance(self) -> int:
        """The sum of it all, which the agreed state must agree with."""
        return self.endowment + self.earned - self.deposited + self.returned - self.slashed


@dataclass(frozen=True)
class MemberSummary:
    """What one member did and got.

    Attributes:
      name, role: as it joined.
      legs: it trained in; each was `accepted` or `refused`.
      mean_change: mean change of the validation loss over its scored legs, nats; None without any.
      value: summed over the braid rounds (what is new, at its best length); None if it was never valued.
      shapley: the same by Shapley.
      account: its coins.
      licence: newest version that its licence covers, or None.
    """

    name: str
    role: Role
    legs: int
    accepted: int
    refused: int
    mean_change: float | None
    value: Estimate | None
    shapley: Estimate | None
    account: Account
    licence: int | None


@dataclass(frozen=True)
class Supply:
    """Where all coins are, micro-coins."""

    minted: int
    burned: int
    balances: int
    escrow: int
    pot: int

    @property
    def conserved(self) -> bool:
        """Whether what was minted and not burned is all there."""
        return self.minted - self.burned == self.balances + self.escrow + self.pot


@dataclass(frozen=True)
class Summary:
    """A run's totals and its members.

    Attributes:
      members: participants, then maintainers, then observers, by name.
      records: entries of the ledger.
      rounds: settled, of `scheduled`.
      braid_rounds: of them, those in which value was measured.
      legs: run, of which `accepted` were accepted.
      versions: made, the genesis not counted.
      loss: of the head on the last scored draw, nats; None before the first score.
      accuracy: of the head on the test set, 0–1; None if it was not kept.
      pooled: accuracy of training on everybody's data, or None.
      alone: mean accuracy of the participants each training alone, or None.
      supply: of coins.
    """

    members: tuple[MemberSummary, ...]
    records: int
    rounds: int
    scheduled: int
    braid_rounds: int
    legs: int
    accepted: int
    versions: int
    loss: float | None
    accuracy: float | None
    pooled: float | None
    alone: float | None
    supply: Supply

    @property
    def participants(self) -> tuple[MemberSummary, ...]:
        """Members that bring data."""
        return tuple(member for member in self.members if member.role is Role.PARTICIPANT)


def summarize(
    history: History, metrics: Sequence[Mapping[str, Any]] = (), baselines: Mapping[str, Any] | None = None
) -> Summary:
    """Sums a run up.

    Args:
      history: of the run.
      metrics: one mapping a round, as `Workdir.read_metrics` gives them; any may be missing.
      baselines: `{"pooled": {"accuracy": x}, "alone": [{"accuracy": x}, …]}`, or None.
    """
    state, run, measured = history.state, legs(history), valuations(history)
    losses = [loss for loss in head_losses(history) if loss is not None]
    seen = [a for line in metrics if (a := accuracy(line.get("metrics"))) is not None]
    pooled, alone = baseline_accuracies(baselines)
    return Summary(
        members=tuple(_member(history, name, run, measured) for name in ordered(history)),
        records=len(history.records),
        rounds=len(history.rounds),
        scheduled=state.schedule.rounds,
        braid_rounds=sum(1 for settled in history.rounds if settled.facts.values),
        legs=len(run),
        accepted=sum(leg.accepted for leg in run),
        versions=len(state.versions) - 1,
        loss=losses[-1] * NATS if losses else None,
        accuracy=seen[-1] if seen else None,
        pooled=pooled,
        alone=alone,
        supply=Supply(
            state.minted,
            state.burned,
            sum(state.balances.values()),
            sum(state.round.deposits.values()),
            state.pot,
        ),
    )


def account(history: History, name: str) -> Account:
    """A member's coins, added up from the records."""
    settles = [settled.settle for settled in history.rounds]
    moves = [move for settle in settles for move in settle.transfers if move[1] == name]
    income: dict[str, int] = {}
    for source, _, amount, reason in moves:
        if not source.startswith(ESCROW):
            income[reason] = income.get(reason, 0) + amount
    escrow = history.state.round.deposits.get(name, 0)
    return Account(
        endowment=_endowment(history, name),
        income=income,
        deposited=escrow + sum(settled.facts.deposits.get(name, 0) for settled in history.rounds),
        returned=sum(amount for source, _, amount, _ in moves if source.startswith(ESCROW)),
        escrow=escrow,
        slashed=sum(move[2] for settle in settles for move in settle.transfers if move[0] == name),
    )


def net_by_round(history: History, name: str) -> list[int]:
    """What a member had earned, less forfeits and what was slashed, by the end of each settled round."""
    sums, total = [], 0
    for settled in history.rounds:
        for source, target, amount, _ in settled.settle.transfers:
            escrow = source.startswith(ESCROW)
            if target == name and not escrow:
                total += amount
            elif source in (name, ESCROW + name) and target != name:
                total -= amount
        sums.append(total)
    return sums


def ordered(history: History) -> list[str]:
    """All members: participants, then maintainers, then observers, by name."""
    return [name for role in Role for name in history.state.named(role)]


def accuracy(figures: Any) -> float | None:
    """The accuracy among some figures, if they have one that is a number."""
    value = figures.get("accuracy") if isinstance(figures, Mapping) else None
    return number(value)


def number(value: Any) -> float | None:
    """A finite number read from a file, or None."""
    right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if right else None


def baseline_accuracies(baselines: Mapping[str, Any] | None) -> tuple[float | None, float | None]:
    """Accuracy of pooled training and mean accuracy of training alone, as far as they are known."""
    baselines = baselines if isinstance(baselines, Mapping) else {}
    lone = baselines.get("alone")
    each = [a for figures in lone if (a := accuracy(figures)) is not None] if isinstance(lone, list) else []
    return accuracy(baselines.get("pooled")), fmean(each) if each else None


def _member(history: History, name: str, run: Sequence[Leg], measured: Sequence[Valuation]) -> MemberSummary:
    own = [leg for leg in run if leg.trainer == name]
    changes = [leg.change * NATS for leg in own if leg.change is not None]
    values = [valuation for valuation in measured if valuation.trainer == name]
    return MemberSummary(
        name=name,
        role=history.state.members[name].role,
        legs=len(own),
        accepted=sum(leg.accepted for leg in own),
        refused=sum(not leg.accepted for leg in own),
        mean_change=fmean(changes) if changes else None,
        value=_total((v.value, v.stderr) for v in values),
        shapley=_total((v.shapley, v.shapley_stderr) for v in values),
        account=account(history, name),
        licence=history.state.licences.get(name),
    )


def _total(measured: Iterable[tuple[int, int]]) -> Estimate | None:
    """Sum over rounds; as they test on the same examples, their standard errors at most add up."""
    pairs = list(measured)
    if not pairs:
        return None
    values, errors = zip(*pairs, strict=True)
    return Estimate(sum(values) * NATS, sum(errors) * NATS)


def _endowment(history: History, name: str) -> int:
    """What the rules grant a participant or maintainer that joins before the first round is settled."""
    rules = history.state.rules
    if not isinstance(rules, RelayJAXRules) or history.state.members[name].role is Role.OBSERVER:
        return 0
    for record in history.records:
        if isinstance(record, Settle):
            return 0
        if isinstance(record, Genesis | Join) and record.author == name:
            return rules.endowment
    return 0
