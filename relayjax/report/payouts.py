"""The payouts of the `relayjax` rules taken apart: whose work was paid how much, out of which pot.

The rules state only sums; an explanation needs the parts. They are recomputed from the settled rounds and
add up to the recorded transfers exactly. Amounts are micro-coins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relayjax.history import History
from relayjax.mechanism.rules import MILLION, RelayJAXRules
from relayjax.mechanism.settlement import POT, split
from relayjax.mechanism.state import Version
from relayjax.records import Pairs, Settle


@dataclass(frozen=True)
class Royalty:
    """What one valued version earned its contributors in a round.

    Attributes:
      version: its number.
      amount: its part of the royalty.
      parts: (name, micro-coins) of its contributors.
    """

    version: int
    amount: int
    parts: Pairs


@dataclass(frozen=True)
class Payout:
    """How a round's pot was divided.

    Attributes:
      round: the round.
      pot: what there was to divide, the maintainers being paid already.
      royalty: the share of it that was set aside for earlier valued versions.
      values: (name, positive value) of the round's contributors, micro-nats; empty in a chain round.
      parts: (name, micro-coins) paid for them.
      royalties: by version, the nearest first.
    """

    round: int
    pot: int
    royalty: int
    values: Pairs
    parts: Pairs
    royalties: tuple[Royalty, ...]

    @property
    def total(self) -> int:
        """Sum of the positive values, micro-nats."""
        return sum(value for _, value in self.values)


def payouts(history: History, rules: RelayJAXRules) -> Iterator[Payout]:
    """Every round in which the pot was paid out, in order."""
    pot, last = 0, history.state.schedule.rounds
    for settled in history.rounds:
        settle = settled.settle
        before = pot + _flow(settle, paid=("maintenance",))
        pot += _flow(settle)
        made = history.state.versions[settle.versions[0][0]] if settle.versions else None
        line = _valued(history, settle)
        if settle.round == last:
            yield Payout(settle.round, before, before, (), (), _royalties(before, line, rules))
        elif made is not None and made.values:
            ancestors = line[1:]
            royalty = before * rules.royalty_share // MILLION if ancestors else 0
            parts = tuple(split(before - royalty, made.values))
            yield Payout(
                settle.round, before, royalty, made.values, parts, _royalties(royalty, ancestors, rules)
            )


def _flow(settle: Settle, paid: tuple[str, ...] | None = None) -> int:
    """What a settlement brings the pot: everything in, less everything out or only the given reasons."""
    inflow = sum(amount for _, target, amount, _ in settle.transfers if target == POT)
    outflow = sum(
        amount
        for source, _, amount, reason in settle.transfers
        if source == POT and (paid is None or reason in paid)
    )
    return inflow - outflow


def _valued(history: History, settle: Settle) -> list[Version]:
    """The valued versions of the lineage that a round ended with, nearest first."""
    return [version for version in history.state.lineage(settle.heads[0]) if version.values]


def _royalties(pool: int, line: list[Version], rules: RelayJAXRules) -> tuple[Royalty, ...]:
    """Each version gets (1 − γ) of what the nearer ones left, the oldest the rest."""
    found = []
    for version in line:
        oldest = version is line[-1]
        amount = pool if oldest else pool * (MILLION - rules.royalty_decay) // MILLION
        pool -= amount
        found.append(Royalty(version.number, amount, tuple(split(amount, version.values))))
    return tuple(found)
