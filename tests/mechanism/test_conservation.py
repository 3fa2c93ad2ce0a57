"""Whatever anybody does or leaves undone: the books balance after every record (the player checks that),
the relay goes on, and whoever replays the records gets the same state.
"""

from __future__ import annotations

import functools
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relayjax import records
from relayjax.mechanism.apply import apply, start
from relayjax.mechanism.rules import COIN, DeRelayLRules, RelayJAXRules, Rules, Schedule
from relayjax.records import Genesis

SEEDS = st.integers(0, 2**32)
AWAY = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])
RELAYJAX = st.builds(
    RelayJAXRules,
    endowment=st.integers(0, 4 * COIN),
    emission=st.integers(0, 20 * COIN),
    deposit=st.integers(0, 2 * COIN),
    maintainer_share=st.integers(0, 1_000_000),
    royalty_share=st.integers(0, 1_000_000),
    royalty_decay=st.integers(0, 999_999),
    tolerance=st.integers(0, 2 * COIN),
    score_tolerance=st.integers(0, COIN),
    slash=st.integers(0, 4 * COIN),
)
DERELAYL = st.builds(
    DeRelayLRules,
    accepted_share=st.integers(0, 1_000_000),
    places=st.integers(1, 5),
    lineage_reward=st.integers(0, 2 * COIN),
    fee=st.integers(0, 5_000),
    owner_bid=st.integers(0, 5_000),
    genesis_shares=st.integers(0, 3),
    bid_margin=st.integers(0, 3),
)
thorough = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def played(player, schedule: Schedule, rules: Rules, seed: int, away: float):
    """A player after all rounds, or as many as the relay lived; some validators lie or withhold reports."""
    play = player(schedule, rules, random.Random(seed), away)
    while not play.state.finished:
        maintainers = play.rules.maintainers(play.state)
        play.lies = {name: play.dice.choice((0, 0, COIN, -9 * COIN)) for name in maintainers}
        play.withheld = {name for name in maintainers if play.dice.random() < 0.2}
        play.round()
    return play


@thorough
@given(RELAYJAX, SEEDS, AWAY, st.integers(1, 6), st.integers(1, 4), st.sets(st.integers(1, 9)))
def test_relayjax_keeps_its_books_and_never_stops(player, rules, seed, away, count, validators, braids):
    schedule = Schedule(
        rounds=8, participants=count, validators=validators, braid_rounds=tuple(sorted(braids))
    )
    play = played(player, schedule, rules, seed, away)
    state = play.state
    assert state.round.number == 9
    assert state.minted == (count + validators) * rules.endowment + 8 * rules.emission and state.burned == 0
    assert replayed(play.said) == state


@thorough
@given(DERELAYL, SEEDS, AWAY, st.integers(4, 16))
def test_derelayl_keeps_its_books_and_ends_without_a_crash(player, rules, seed, away, count):
    play = played(player, Schedule(rounds=8, participants=count, braid_rounds=()), rules, seed, away)
    assert play.state.round.number == 9 or not play.state.heads
    assert replayed(play.said) == play.state


def replayed(said):
    """The state that the bytes of the records lead to."""
    first, *others = (records.decode(records.encode(record)) for record in said)
    assert isinstance(first, Genesis)
    return functools.reduce(apply, others, start(first))


@pytest.mark.parametrize("rules", [RelayJAXRules(), DeRelayLRules()])
def test_two_runs_of_the_same_dice_are_the_same(player, rules):
    schedule = Schedule(rounds=5, participants=8, braid_rounds=())
    once, again = (played(player, schedule, rules, 3, 0.2) for _ in range(2))
    assert once.state == again.state and once.said == again.said


@pytest.mark.parametrize("rules", [RelayJAXRules(), DeRelayLRules()])
def test_a_relay_that_nobody_joins_does_nothing_and_does_not_crash(player, rules, first_record):
    play = player(Schedule(rounds=2, participants=4, braid_rounds=()), rules)
    play.said = [first_record(play.state.schedule, rules)]
    play.state = start(play.said[0])
    while not play.state.finished:
        play.round()
    assert len(play.state.versions) == 1


def test_amounts_stay_exact_at_the_far_end_of_every_range(player):
    """The largest supply that the ranges allow is still an integer that a record can carry."""
    names = ("rounds", "participants", "validators")
    top = {name: Schedule.__dataclass_fields__[name].metadata["spec"].high for name in names}
    high = {name: f.metadata["spec"].high for name, f in RelayJAXRules.__dataclass_fields__.items()}
    granted = (top["participants"] + top["validators"]) * high["endowment"]
    assert granted + top["rounds"] * high["emission"] < 2**53
    paper = {name: f.metadata["spec"].high for name, f in DeRelayLRules.__dataclass_fields__.items()}
    cases = Schedule.__dataclass_fields__["draw"].metadata["spec"].high
    lineage = top["rounds"] + paper["genesis_shares"]
    assert top["participants"] // 2 * lineage * paper["lineage_reward"] < 2**53
    assert top["participants"] // 2 * (cases + 1) * paper["fee"] < 2**53
