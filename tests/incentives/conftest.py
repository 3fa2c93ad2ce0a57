"""A table that plays record by record through `mechanism.apply`, as whoever replays a ledger does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from relayjax.incentives.table import SALT, Table
from relayjax.mechanism.apply import apply
from relayjax.mechanism.rules import RelayJAXRules, Schedule
from relayjax.mechanism.state import Phase
from relayjax.mechanism.transitions import expected_draw, expected_match, expected_settlement
from relayjax.records import (
    Bid,
    Close,
    Commit,
    Deposit,
    Pledge,
    Record,
    Score,
    Submit,
    Value,
    commitment,
    report_commitment,
)


class RecordTable(Table):
    """The same relay, slower, with every record checked."""

    def say(self, record: Record) -> None:
        self.state = apply(self.state, record)

    def close(self, phase: Phase) -> None:
        if self.state.round.phase is phase:
            self.say(Close(self.state.orderer, self.state.round.number, phase.name.lower()))

    def auction(self, bids: Mapping[str, int]) -> None:
        for name, amount in bids.items():
            self.say(Bid(name, self.state.round.number, amount))
        self.say(expected_match(self.state))

    def deposit(self, paid: Mapping[str, int]) -> None:
        for name, amount in paid.items():
            self.say(Deposit(name, self.state.round.number, amount))
        self.close(Phase.DEPOSIT)

    def hand_in(self, committed: Mapping[str, Submit], revealed: tuple[str, ...]) -> None:
        number = self.state.round.number
        for name, made in committed.items():
            bound = commitment(bytes.fromhex(SALT), made.delta, made.parent, number, name)
            self.say(Commit(name, number, bound))
        self.close(Phase.COMMIT)
        for name in revealed:
            self.say(committed[name])
        self.close(Phase.REVEAL)

    def score(self, pledged: Mapping[str, Score], shown: tuple[str, ...]) -> None:
        self.say(expected_draw(self.state))
        self.state = self.state.drawn(self.state.round.beacon.hex())  # luck is drawn beforehand
        self._report(pledged, shown)

    def value(self, pledged: Mapping[str, Value], shown: tuple[str, ...]) -> None:
        self._report(pledged, shown)

    def _report(self, pledged: Mapping[str, Score] | Mapping[str, Value], shown: tuple[str, ...]) -> None:
        pledging = self.state.round.phase
        for name, report in pledged.items():
            self.say(Pledge(name, report.round, report_commitment(report)))
        self.close(pledging)
        for name in shown:
            self.say(pledged[name])
        self.close(Phase(pledging + 1))

    def settle(self) -> None:
        self.say(expected_settlement(self.state))


@pytest.fixture(scope="session")
def record_table() -> type[RecordTable]:
    return RecordTable


@pytest.fixture(scope="session")
def short() -> tuple[Schedule, RelayJAXRules]:
    """A relay of 24 rounds, and rules that fit it."""
    schedule = Schedule(rounds=24, participants=4, validators=3, braid_rounds=(1, 2, 9))
    return schedule, dataclasses.replace(RelayJAXRules(), tolerance=1_500_000)
