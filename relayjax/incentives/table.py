"""A relay's agreed state, moved on by whole phases instead of record by record.

Whatever is decided (who is matched, what is due, who is accepted, who is paid) the rules decide, the same
objects that a live relay asks. Only the records in between are left out, with their signatures and hashes;
tests play the same relays record by record through `mechanism.apply` and compare every state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from blake3 import blake3

from relayjax import settings
from relayjax.identity import Keys, PublicKeys
from relayjax.mechanism.apply import apply, start
from relayjax.mechanism.phases import in_round
from relayjax.mechanism.rules import Rules, Schedule
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Phase, Role, Round, State, Topology
from relayjax.mechanism.transitions import settled
from relayjax.records import Genesis, Join, Score, Submit, Value

SALT = "00" * 16


class Table:
    """Where a relay is played.

    Attributes:
      rules: that decide.
      state: the agreed one.
    """

    def __init__(self, schedule: Schedule, rules: Rules, participants: tuple[str, ...]):
        self.rules = mechanism(rules)
        self.state = opening(schedule, rules, participants)

    @property
    def topology(self) -> Topology:
        """Of the present round."""
        return self.rules.topology(self.state)

    def begin(self, beacon: bytes) -> None:
        """Draws a round's lots from something else than the records before it."""
        self._in_round(beacon=beacon)

    def auction(self, bids: Mapping[str, int]) -> None:
        """Ends the auction with some bids."""
        self._in_round(bids=bids)
        self.state = self.state.matched(dict(sorted(self.rules.match(self.state).items())))

    def deposit(self, paid: Mapping[str, int]) -> None:
        """Ends the deposits with some that were paid."""
        balances = {**self.state.balances}
        for name, amount in paid.items():
            balances[name] -= amount
        self.state = dataclasses.replace(self.state, balances=balances)
        self._in_round(deposits=paid, phase=Phase.COMMIT)

    def hand_in(self, committed: Mapping[str, Submit], revealed: tuple[str, ...]) -> None:
        """Ends commitments and reveals."""
        number, shown = self.state.round.number, {name: committed[name] for name in revealed}
        self._in_round(
            commitments=dict.fromkeys(committed, ""),
            submissions=shown,
            phase=Phase.TESTING if shown else Phase.SETTLEMENT,
        )
        holdings = {**self.state.holdings, **dict.fromkeys(shown, number)}
        self.state = dataclasses.replace(self.state, holdings=holdings)

    def score(self, pledged: Mapping[str, Score], shown: tuple[str, ...]) -> None:
        """Ends the testing of what was revealed."""
        scores = {name: pledged[name] for name in shown}
        self.state = self.state.drawn(self.state.round.beacon.hex())  # both stand for what nobody can foresee
        self._in_round(pledges=dict.fromkeys(pledged, ""), scores=scores)
        valued = self.topology is Topology.BRAID and self.rules.accepted(self.state)
        self._in_round(phase=Phase.APPRAISAL if valued else Phase.SETTLEMENT)

    def value(self, pledged: Mapping[str, Value], shown: tuple[str, ...]) -> None:
        """Ends the valuation of what was accepted."""
        values = {name: pledged[name] for name in shown}
        self._in_round(appraisals=dict.fromkeys(pledged, ""), values=values, phase=Phase.SETTLEMENT)

    def settle(self) -> None:
        """Ends the round."""
        number = self.state.round.number
        state = settled(self.state, self.rules.settle(self.state))
        self.state = dataclasses.replace(state, round=Round(number + 1, b""))

    def _in_round(self, **changes: Any) -> None:
        self.state = in_round(self.state, **changes)


def validator_names(schedule: Schedule) -> tuple[str, ...]:
    """The maintainers' names; the first one orders the records."""
    return tuple(f"v{number}" for number in range(schedule.validators))


@lru_cache(maxsize=32)
def opening(schedule: Schedule, rules: Rules, participants: tuple[str, ...]) -> State:
    """The state when everybody has joined."""
    config = {"relay": settings.encode(schedule), "rules": settings.encode(rules)}
    orderer, *others = validator_names(schedule)
    weights, hidden, public = digest("genesis", 0, ""), digest("hidden", 0, ""), _public(orderer)
    state = start(Genesis(orderer, config, [], weights, hidden, public.signing, public.receiving))
    roles = [(name, Role.PARTICIPANT) for name in participants] + [(n, Role.MAINTAINER) for n in others]
    for name, role in roles:
        public = _public(name)
        state = apply(state, Join(name, role.value, public.signing, public.receiving))
    return state


def digest(what: str, round: int, name: str) -> str:
    """Stands for the digest of weights that nobody has."""
    return blake3(f"{what} {round} {name}".encode()).hexdigest()


@lru_cache(maxsize=1024)
def _public(name: str) -> PublicKeys:
    return Keys.derive(name, b"audit").public
