"""Playing by phases is playing by records: every relay of the catalogue gives the same states either way."""

from __future__ import annotations

import dataclasses

import pytest

from relayjax.incentives.catalogue import Case, cases
from relayjax.incentives.game import Game
from relayjax.incentives.luck import Luck
from relayjax.incentives.settings import Play, World
from relayjax.incentives.table import Table
from relayjax.mechanism.rules import DeRelayLRules, RelayJAXRules, Rules, Schedule
from relayjax.mechanism.state import State

RELAY = Schedule(rounds=9, participants=4, validators=3, braid_rounds=(1, 2, 6))
PAPER = Schedule(rounds=8, participants=8, validators=1, braid_rounds=())
RULES = RelayJAXRules(tolerance=1_500_000)
PLAYED: list[tuple[Schedule, Rules, Case]] = [
    *((RELAY, RULES, case) for case in cases(RELAY, RULES, Play(identities=(2, 5)))),
    *((PAPER, DeRelayLRules(), case) for case in cases(PAPER, DeRelayLRules(), Play(coalition=2))),
]


def plain(state: State) -> State:
    """What the two ways may differ in: hashes over records that only one of them has."""
    round = dataclasses.replace(state.round, beacon=b"", commitments={}, pledges={}, appraisals={}, seed="")
    return dataclasses.replace(state, transcript=b"", seen=b"", round=round)


@pytest.mark.parametrize(
    ("schedule", "rules", "case"), PLAYED, ids=lambda one: one.name if isinstance(one, Case) else ""
)
def test_both_ways_agree_after_every_round(record_table, schedule, rules, case):
    seed = 3
    cast, _ = case.cast(schedule, schedule.participants, seed)
    places = dataclasses.replace(schedule, participants=len(cast.seats))
    fast, slow = (
        Game(
            kind(places, rules, tuple(cast.seats)),
            World(),
            Luck(World(), seed, schedule.participants, schedule.rounds),
            cast,
        )
        for kind in (Table, record_table)
    )
    while not slow.state.finished:
        fast.round()
        slow.round()
        assert plain(fast.state) == plain(slow.state)
    assert fast.state.finished and fast.efforts == slow.efforts
