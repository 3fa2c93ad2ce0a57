"""Who orders the records follows from the votes in the ledger, and from nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from relayjax.errors import ProtocolError
from relayjax.mechanism.apply import apply
from relayjax.mechanism.rules import RelayJAXRules, Schedule
from relayjax.mechanism.state import Phase, State
from relayjax.mechanism.succession import ballot, successor
from relayjax.mechanism.transitions import expected_settlement
from relayjax.records import Close, Revoke, Succeed

SCHEDULE = Schedule(rounds=3, participants=3, validators=3, braid_rounds=(1, 3))


@pytest.fixture
def play(player):
    return player(SCHEDULE, RelayJAXRules())


def voted(state: State, *names: str, term: int | None = None) -> State:
    for name in names:
        state = apply(state, ballot(state, name, term or state.term.number + 1))
    return state


def refused(state: State, record: Succeed, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        apply(state, record)


def test_more_than_half_of_the_maintainers_begin_a_term(play):
    state = voted(play.state, "v1")
    assert (state.orderer, state.term.number, state.seen) == ("v0", 0, play.state.seen)
    state = voted(state, "v2")
    assert (state.orderer, state.term.number, state.votes) == ("v1", 1, {})
    assert state.term.signing == state.members["v1"].signing and state.seen == state.transcript
    assert state.balances == play.state.balances and state.round == play.state.round
    state = voted(state, "v0", "v2")
    assert (state.orderer, state.term.number) == ("v2", 2)
    state = voted(state, "v0", "v1")
    assert (state.orderer, state.term.number) == ("v0", 3), "after the last the first again"


def test_a_silent_successor_is_passed_over_by_a_higher_term(play):
    state = voted(play.state, "v1", "v2", term=2)
    assert (state.orderer, state.term.number) == ("v2", 2)
    assert [successor(state, 2 + k) for k in (1, 2, 3)] == ["v0", "v1", "v2"]


def test_votes_for_different_terms_are_not_counted_together(play):
    state = voted(voted(play.state, "v1"), "v2", term=2)
    assert state.term.number == 0
    assert voted(state, "v1", term=2).orderer == "v2", (
        "a later vote for a higher term takes the earlier's place"
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"author": "p0"}, "only maintainers"),
        ({"author": "observer"}, "only maintainers"),
        ({"run": "00" * 32}, "another run"),
        ({"term": 0}, "that follow 0"),
        ({"term": -1}, "that follow 0"),
        ({"term": 4}, "that follow 0"),
        ({"term": 2}, "is v2's"),
        ({"successor": "v2"}, "is v1's"),
        ({"seen": "11" * 32}, "another point"),
    ],
)
def test_a_vote_that_is_not_of_this_log_is_refused(play, change, why):
    refused(play.state, dataclasses.replace(ballot(play.state, "v1", 1), **change), why)


def test_nobody_votes_twice_or_takes_a_vote_back(play):
    vote = ballot(play.state, "v1", 1)
    state = apply(play.state, vote)
    refused(state, vote, "before")
    state = voted(state, "v1", term=2)
    refused(state, vote, "before")


def test_a_vote_counts_at_its_point_of_the_log_only(play):
    late, state = ballot(play.state, "v2", 1), voted(play.state, "v1")
    play.state = state
    play.auction()
    assert play.state.votes == {} and play.state.orderer == "v0"
    refused(play.state, late, "another point")
    assert voted(play.state, "v2").orderer == "v0", "what was said in between has made the first vote void"


@pytest.mark.parametrize("phase", list(Phase))
def test_in_every_phase_the_round_goes_on_under_the_next(play, phase):
    play.until(phase)
    assert play.state.round.phase is phase
    for name in ("v1", "v2"):
        play.say(ballot(play.state, name, 1))
    now = play.state.round
    with pytest.raises(ProtocolError):
        apply(play.state, Close("v0", now.number, now.phase.name.lower()))
    steps = (play.auction, play.deposit, play.commit, play.reveal, play.draw_and_pledge)
    steps += (lambda: play.show(Phase.SCORING), play.appraise, lambda: play.show(Phase.VALUATION))
    for step in steps[phase:]:
        step()
    settle = expected_settlement(play.state)
    assert settle.author == "v1"
    with pytest.raises(ProtocolError):
        apply(play.state, dataclasses.replace(settle, author="v0"))
    play.say(settle)
    assert (play.state.settled_by(1), play.state.round.number) == ("v1", 2)
    play.round()
    for name in ("v0", "v2"):
        play.say(ballot(play.state, name, 2))
    play.round()
    assert [play.state.settled_by(number) for number in (1, 2, 3)] == ["v1", "v1", "v2"]
    assert play.state.finished
    refused(play.state, ballot(play.state, "v0", 3), "ended")


def test_who_is_revoked_neither_votes_nor_is_counted_nor_orders(play):
    for name in ("v0", "v2"):
        play.say(Revoke(name, play.state.run, "v1"))
    assert successor(play.state, 1) == "v2"
    with pytest.raises(ProtocolError, match="revoked"):
        apply(play.state, Succeed("v1", play.state.run, 1, "v2", play.state.seen.hex()))
    assert voted(play.state, "v2").orderer == "v0", "one of two is no majority"
    assert voted(play.state, "v2", "v0").orderer == "v2"


def test_who_no_longer_orders_can_be_revoked(play):
    state = voted(play.state, "v1", "v2")
    for name in ("v1", "v2"):
        state = apply(state, Revoke(name, state.run, "v0"))
    assert state.members["v0"].revoked == 1 and state.orderer == "v1"


def test_one_maintainer_alone_cannot_be_voted_out(player):
    state = player(dataclasses.replace(SCHEDULE, validators=2), RelayJAXRules()).state
    assert voted(state, "v1").orderer == "v0"
