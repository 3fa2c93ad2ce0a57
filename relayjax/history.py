"""A ledger read as the story of a run: the genesis, every settled round, and the state at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relayjax.errors import IntegrityError
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Round, State, Topology
from relayjax.records import Genesis, Record, Settle
from relayjax.replay import replay


@dataclass(frozen=True)
class SettledRound:
    """One round from its first bid to its settlement.

    Attributes:
      topology: how it connected trainers and versions.
      facts: bids, pairs, submissions, pledges, scores and values.
      settle: how it ended.
      maintainers: who were to score it.
      licences: name → the newest version its licence covers, after it.
      head: number of the newest version after it.
      revoked: members to whom nothing is sealed any more after it.
    """

    topology: Topology
    facts: Round
    settle: Settle
    maintainers: tuple[str, ...]
    licences: Mapping[str, int]
    head: int
    revoked: frozenset[str] = frozenset()

    @classmethod
    def of(cls, before: State, settle: Settle, after: State) -> SettledRound:
        """What is kept of a round, from the states before and after its settlement."""
        rules = mechanism(before.rules)
        return cls(
            rules.topology(before),
            before.round,
            settle,
            rules.maintainers(before),
            after.licences,
            after.head.number,
            frozenset(member.name for member in after.members.values() if member.revoked),
        )

    @property
    def number(self) -> int:
        """The round's number, from 1."""
        return self.settle.round

    @property
    def orderer(self) -> str:
        """Who ordered when it was settled."""
        return self.settle.author


@dataclass(frozen=True)
class History:
    """Everything a ledger says.

    Attributes:
      genesis: the settings and the first version.
      rounds: the settled rounds in order.
      state: the agreed state at the end.
      records: every record, by the index of its entry.
    """

    genesis: Genesis
    rounds: tuple[SettledRound, ...]
    state: State
    records: tuple[Record, ...]


def read(entries: Iterable[bytes]) -> History:
    """Replays entries into their history.

    Raises:
      IntegrityError: an entry is wrong; see `replay`.
    """
    said: list[Record] = []
    rounds: list[SettledRound] = []
    state: State | None = None
    for step in replay(entries):
        if isinstance(step.record, Settle) and state is not None:
            rounds.append(SettledRound.of(state, step.record, step.state))
        said.append(step.record)
        state = step.state
    if state is None or not isinstance(said[0], Genesis):
        raise IntegrityError("ledger", "it has no entries; the run never started")
    return History(said[0], tuple(rounds), state, tuple(said))
