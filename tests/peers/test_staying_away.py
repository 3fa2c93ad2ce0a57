"""Who stays away, and who hands over what it should not: the others go on after the stated patience."""

from __future__ import annotations

import dataclasses

import numpy as np
from peers.town import Member, Town, play

from relayjax import backend
from relayjax.mechanism.state import Phase
from relayjax.peers import handover
from relayjax.peers.home import Turn
from relayjax.peers.orderer import Orderer
from relayjax.peers.voice import Voice
from relayjax.records import Bid, Submit


def rest_of(town: Town, orderer: Orderer, members: list[Member], rounds: int) -> None:
    """Plays to the end and verifies all of it."""
    play(town, orderer, members)
    town.close()
    found = backend.verify(town.folder, keys=town.home("v1").keys())
    assert len(found.audit.history.rounds) == rounds


def test_who_never_commits_is_left_behind_once_and_awaited_again_when_heard_of(town: Town):
    town.begin(rounds=4)
    orderer = town.orderer()
    p0, p1, p2, v1 = members = town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.COMMIT)
    others = [p0, p2, v1]
    for _ in range(4):
        for member in others:
            member.step()
        orderer.act()
    assert orderer.state.round.phase is Phase.COMMIT and set(orderer.state.round.commitments) == {"p0", "p2"}
    town.outwait(orderer)
    play(town, orderer, others, until=lambda: orderer.state.round.number == 2)
    assert "round 1 goes on without p1" in town.told
    (first,) = orderer._chronicle.history.rounds
    assert first.settle.refused == ("p1",) and ("escrow:p1", "pot", 1_000_000, "deposit forfeited") in [
        tuple(transfer) for transfer in first.settle.transfers
    ]
    play(town, orderer, others, until=lambda: orderer.state.round.number == 3)  # no clock has moved
    play(town, orderer, others, until=lambda: orderer.state.round.phase is Phase.DEPOSIT)
    assert set(orderer.state.round.pairs) == {"p0", "p2"}
    assert (
        Voice(town.exchange, town.home("p1").keys()).say(Bid("p1", 3, 1_000_000), orderer.state) is None
    )  # too late
    play(town, orderer, others, until=lambda: orderer.state.round.number == 4)
    for _ in range(3):
        orderer.act()
        for member in others:
            member.step()
    assert orderer.state.round.phase is Phase.AUCTION, "p1 was heard of, so it is awaited again"
    p1.restart()
    rest_of(town, orderer, members, rounds=4)


def test_who_is_heard_of_and_never_bids_stops_the_others_for_twice_the_patience_in_all(town: Town):
    town.begin(rounds=4)
    orderer = town.orderer()
    members = town.members("p0", "p2", "v1")
    voice = Voice(town.exchange, town.home("p1").keys())
    waited = dict.fromkeys(range(1, 5), 0.0)
    while not orderer.state.finished:
        before, number = orderer.state.transcript, orderer.state.round.number
        voice.say(Bid("p1", number, 10**15), orderer.state)  # refused: it is heard of
        for member in members:
            member.step()
        orderer.act()
        if orderer.state.transcript == before:
            assert orderer.state.round.phase is Phase.AUCTION
            town.now += town.patience / 100
            waited[number] += town.patience / 100
    assert [round(waited[number] / town.patience, 1) for number in waited] == [1.0, 0.5, 0.3, 0.1]
    town.close()
    found = backend.verify(town.folder, keys=town.home("v1").keys())
    assert len(found.audit.history.rounds) == 4


def test_a_silent_maintainer_of_two_stops_the_relay_until_it_is_back(town: Town):
    town.begin(rounds=2)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.TESTING)
    for _ in range(3):
        town.outwait(orderer)
        for member in members[:-1]:
            member.step()
    assert orderer.state.round.phase is Phase.TESTING, "one of two maintainers is no majority"
    rest_of(town, orderer, members, rounds=2)


def test_without_any_bid_no_round_passes(town: Town):
    town.begin(rounds=2)
    orderer = town.orderer()
    for _ in range(5):
        town.outwait(orderer)
    assert orderer.state.round.number == 1 and orderer.state.round.phase is Phase.AUCTION


def test_places_that_nobody_takes_are_waited_for_unless_told_to_begin(town: Town):
    town.begin(rounds=1, join_all=False)
    for name in ("p0", "p1", "v1"):
        town.join(name)
    orderer, members = town.orderer(), town.members("p0", "p1", "v1")
    for _ in range(3):
        town.outwait(orderer)
        for member in members:
            member.step()
    assert orderer.state.round.phase is Phase.AUCTION
    town.close()
    rest_of(town, town.orderer(begin=True), members, rounds=1)


def test_a_delta_that_leads_elsewhere_is_refused_with_the_reason(town: Town):
    town.begin(rounds=2)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.COMMIT)
    home = town.home("p0")
    members[0].step()
    turn, payload = home.turn(1) or (None, b"")
    assert isinstance(turn, Turn)
    home.keep_turn(dataclasses.replace(turn, child="0" * 64), payload)
    play(town, orderer, members[1:], until=lambda: len(orderer.state.round.submissions) == 2)
    members[0].follower.poll()
    assert "is not what it states" not in str(members[0].step())
    orderer.act()
    assert "is not what it states" in str(members[0].step())
    town.outwait(orderer)
    rest_of(town, orderer, members, rounds=2)


def test_what_others_write_over_is_handed_over_again(town: Town):
    town.begin(rounds=1)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.COMMIT)
    (parent,) = (town.folder / "handover").glob("*-parent-*")
    parent.write_bytes(b"x" * (1 << 20))
    for _ in range(3):
        for member in members:
            member.step()
        orderer.act()
    assert not orderer.state.round.commitments
    town.now += town.patience / 5
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.REVEAL)
    for member in members:
        member.step()
    for path in (town.folder / "handover").glob("*-delta-*"):
        path.write_bytes(b"x" * 100)
    for path in (town.folder / "inbox").glob("*.json"):
        path.write_bytes(b"x" * 70_000)
    orderer.act()
    assert not orderer.state.round.submissions
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.TESTING)
    for path in (town.folder / "handover").glob("*-candidate-*"):
        path.unlink()
    members[-1].step()
    town.now += town.patience / 5
    rest_of(town, orderer, members, rounds=1)
    (settled,) = orderer._chronicle.history.rounds
    assert len(settled.facts.submissions) == 3 and len(settled.facts.scores) == 2


def test_directories_in_the_way_stop_nobody_but_who_needs_the_file(town: Town):
    town.begin(rounds=1)
    orderer, members = town.orderer(), town.members()
    (town.folder / "handover" / "00001-candidate-p1.age").mkdir()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.TESTING)
    assert any("candidate-p1" in line for line in town.told)
    (town.folder / "handover" / "00001-candidate-p1.age").rmdir()
    town.now += town.patience / 5
    rest_of(town, orderer, members, rounds=1)


def test_a_submission_of_impossible_size_is_refused_before_anything_is_fetched(town: Town):
    town.begin(rounds=1)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.REVEAL)
    home, state = town.home("p0"), orderer.state
    turn, _ = home.turn(1) or (None, b"")
    assert isinstance(turn, Turn)
    voice = Voice(town.exchange, home.keys())
    for size in (10**12, -(10**12)):
        odd = Submit("p0", 1, turn.delta, state.schedule.codec, size, turn.salt, turn.parent, turn.child)
        assert voice.say(odd, orderer.state) is None
        orderer.act()
        assert "has at most" in str(voice.say(odd, orderer.state))
    rest_of(town, orderer, members, rounds=1)


def test_weights_on_their_way_open_for_nobody_else(town: Town):
    town.begin(rounds=2)
    orderer, members = town.orderer(), town.members()
    play(
        town,
        orderer,
        members,
        until=lambda: (orderer.state.round.number, orderer.state.round.phase) == (2, 2),
    )
    (trainer,), version = orderer.state.round.pairs, orderer.state.head
    path, limit = handover.parent(2, version.number), 4 * orderer._size
    for name in (*town.participants, *town.maintainers):
        found = handover.take(town.exchange, path, town.home(name).keys(), version.digest, limit)
        assert (found is not None) == (name in (trainer, "v0"))  # who orders makes steps from it later
        assert found is None or np.isfinite(np.frombuffer(found, "<f4")).all()


def test_an_orderer_that_was_stopped_itself_waits_on_for_those_who_could_not_be_heard(town: Town):
    town.begin(rounds=1)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.COMMIT)
    town.now += 10 * town.patience
    orderer.act()
    assert orderer.state.round.phase is Phase.COMMIT
    rest_of(town, orderer, members, rounds=1)
    (settled,) = orderer._chronicle.history.rounds
    assert len(settled.facts.submissions) == 3
