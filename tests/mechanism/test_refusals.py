"""A record that the rules do not allow is refused, says why, and changes nothing."""

from __future__ import annotations

import dataclasses
import random

import pytest

from relayjax.errors import FormatError, ProtocolError
from relayjax.mechanism.apply import apply, start
from relayjax.mechanism.rules import COIN, DeRelayLRules, RelayJAXRules, Schedule
from relayjax.mechanism.state import Phase, Role
from relayjax.mechanism.transitions import expected_draw, expected_match
from relayjax.records import Bid, Close, Deposit, Genesis, Pledge, Record, Settle, report_commitment

BRAID = Schedule(rounds=3, participants=4, validators=3, braid_rounds=(1,))
RULES = RelayJAXRules(tolerance=10 * COIN)
ACTS = {"bid", "deposit", "commit", "submit", "pledge", "score", "value"}


def refused(state, record: Record, *words: str) -> None:
    before = dataclasses.replace(state)
    with pytest.raises(ProtocolError) as caught:
        apply(state, record)
    message = str(caught.value)
    assert all(word in message for word in (record.KIND, *words)), message
    assert state == before


def at(player, phase: Phase):
    return player(BRAID, RULES).until(phase)


@pytest.mark.parametrize("rules", [RULES, DeRelayLRules()])
def test_every_record_is_good_once_and_in_its_place_only(player, rules):
    """Each record of a round is tried by a stranger, in another round, twice, and in every other phase."""
    schedule = dataclasses.replace(BRAID, participants=8, braid_rounds=(2,) if rules is RULES else ())
    play, moments = player(schedule, rules, random.Random(1)), []
    play.round()
    play.watch = lambda before, record: moments.append((before, record))
    play.round()
    for before, record in moments:
        refused(before, dataclasses.replace(record, author="stranger"), "has not joined")
        for number in (0, 1, 3, -1):
            refused(before, dataclasses.replace(record, round=number), "is not open")
        refused(before, dataclasses.replace(record, author="observer"))
        if record.KIND in ACTS:
            refused(apply(before, record), record)
    for before, _ in moments:
        for _, record in moments:
            if record.KIND in ACTS and record.author not in _expected(before, record):
                refused(before, record)


def _expected(state, record) -> set[str]:
    """Authors whose record of this kind may still be good in this state."""
    now = state.round
    pledged = dict(state.members)
    if now.seed:
        pledged = {Phase.TESTING: now.pledges, Phase.APPRAISAL: now.appraisals}.get(now.phase, pledged)
    facts = {
        "bid": (Phase.AUCTION, state.round.bids),
        "deposit": (Phase.DEPOSIT, state.round.deposits),
        "commit": (Phase.COMMIT, state.round.commitments),
        "submit": (Phase.REVEAL, state.round.submissions),
        "pledge": (now.phase, pledged),
        "score": (Phase.SCORING, state.round.scores),
        "value": (Phase.VALUATION, state.round.values),
    }
    phase, done = facts[record.KIND]
    return set(state.members) - set(done) if state.round.phase is phase else set()


def test_derived_records_are_refused_with_any_field_changed(player):
    play, moments = player(BRAID, RULES), []
    play.watch = lambda before, record: moments.append((before, record))
    play.round()
    for before, record in moments:
        if record.KIND not in ("match", "draw", "settle"):
            continue
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            other = (*value, "x") if isinstance(value, tuple) else 77 if isinstance(value, int) else "v1"
            refused(before, dataclasses.replace(record, **{field.name: other}))


def test_nothing_follows_the_last_round(player):
    play = player(dataclasses.replace(BRAID, rounds=1), RULES)
    play.round()
    assert play.state.finished
    refused(play.state, Bid("p0", 2, COIN), "is not open")


def test_there_is_one_genesis(player):
    play = player(BRAID, RULES)
    refused(play.state, play.said[0], "only one")


def test_names_are_joined_once_in_the_auction_and_while_places_last(player, joining, first_record):
    play = player(BRAID, RULES)
    refused(play.state, joining("p0", Role.PARTICIPANT), "taken")
    refused(play.state, joining("p9", Role.PARTICIPANT), "every place of a participant is taken")
    refused(play.state, joining("v9", Role.MAINTAINER), "every place of a maintainer is taken")
    refused(play.state, dataclasses.replace(joining("x", Role.OBSERVER), role="king"), "role")
    refused(at(player, Phase.DEPOSIT).state, joining("x", Role.OBSERVER), "auction")
    for name in ("pot", "mint", "burn"):
        refused(play.state, joining(name, Role.OBSERVER), "account")
    assert "x" in apply(play.state, joining("x", Role.OBSERVER)).members


def test_malformed_names_and_keys_do_not_join(player, joining):
    good = joining("x", Role.OBSERVER)
    for change in ({"author": "X"}, {"author": ""}, {"signing": "00"}, {"receiving": "age1"}):
        with pytest.raises(FormatError):
            apply(player(BRAID, RULES).state, dataclasses.replace(good, **change))


def test_the_first_record_is_held_to_the_same_rules(first_record, joining):
    genesis: Genesis = first_record(BRAID, RULES)
    with pytest.raises(ProtocolError, match="account"):
        start(dataclasses.replace(genesis, author="pot"))


def test_a_bid_is_covered_by_the_balance(player):
    state = player(BRAID, RULES).state
    refused(state, Bid("p0", 1, state.balances["p0"] + 1), "exceeds the balance")
    refused(state, Bid("p0", 1, -1), "exceeds the balance")
    refused(state, Bid("v0", 1, 0), "no place to bid")
    apply(state, Bid("p0", 1, state.balances["p0"]))


def test_a_deposit_is_the_bid_no_more_no_less(player):
    play = player(BRAID, RULES)
    play.auction()
    for amount in (0, COIN - 1, COIN + 1, -COIN):
        refused(play.state, Deposit("p0", 1, amount), "the deposit due is 1000000")


def test_an_owner_cannot_deposit_what_it_does_not_have(player):
    """Under derelayl an owner deposits its bid once a place, so a bid within the balance may be too much."""
    play = player(Schedule(rounds=9, participants=16, braid_rounds=()), DeRelayLRules())
    while not any(play.state.balances[owner] for owner in play.rules.owners(play.state)):
        play.round()
    state, number = play.state, play.state.round.number
    owner = next(name for name in play.rules.owners(state) if state.balances[name])
    for name in (owner, *play.rules.trainers(state)):
        play.say(Bid(name, number, state.balances[name] if name == owner else 0))
    play.say(expected_match(play.state))
    due = play.rules.deposits(play.state)[owner]
    assert due > state.balances[owner]
    refused(play.state, Deposit(owner, number, due), "exceeds the balance")
    for trainer in play.state.round.pairs:
        play.say(Deposit(trainer, number, 0))
    play.say(Close(play.state.orderer, number, "deposit"))
    for step in (play.commit, play.reveal, play.test, play.settle):
        step()
    assert play.state.round.number == number + 1


def test_only_what_was_committed_to_is_revealed(player):
    play = at(player, Phase.REVEAL)
    good = play.submission("p1")
    for change, word in (
        ({"delta": "ab" * 32}, "committed"),
        ({"salt": "11" * 16}, "committed"),
        ({"salt": "1"}, "salt"),
        ({"salt": "AA" * 16}, "salt"),
        ({"delta": "zz" * 32}, "digest"),
        ({"child": "AB" * 32}, "digest"),
        ({"parent": "ab" * 32}, "the parent is"),
        ({"codec": "lossless"}, "the codec is mxint8"),
        ({"author": "p2"}, "committed"),
    ):
        refused(play.state, dataclasses.replace(good, **change), word)


def test_the_test_is_drawn_after_every_reveal_and_scores_follow_it(player):
    play = player(BRAID, RULES).until(Phase.TESTING)
    draw = expected_draw(play.state)
    early = player(BRAID, RULES).until(Phase.REVEAL)
    refused(early.state, dataclasses.replace(draw, seed=early.state.transcript.hex()), "testing phase")
    play.losses = dict.fromkeys(play.state.round.submissions, 0)
    refused(play.state, Pledge("v0", 1, report_commitment(play.score("v0"))), "not drawn yet")
    refused(play.state, play.score("v0"), "scoring phase")
    refused(apply(play.state, draw), draw, "drawn already")


def bound(state, report):
    """A state in which a report's author has pledged to it, and the report."""
    field = "pledges" if report.KIND == "score" else "appraisals"
    pledges = {**getattr(state.round, field), report.author: report_commitment(report)}
    return dataclasses.replace(state, round=dataclasses.replace(state.round, **{field: pledges})), report


@pytest.mark.parametrize("field", ["parents", "children", "slopes", "chance"])
def test_a_score_covers_every_model_exactly(player, field):
    play = at(player, Phase.SCORING)
    good = play.reports["v0"]
    pairs = getattr(good, field)
    wrongs = [pairs[1:], (*pairs, pairs[-1]), (*pairs, ("x", 1)), (("x", 1), *pairs[1:]), ()]
    for wrong in wrongs + ([pairs[::-1]] if len(pairs) > 1 else []):
        refused(*bound(play.state, dataclasses.replace(good, **{field: wrong})), "must state exactly")


def test_a_value_covers_the_accepted_exactly(player):
    play = at(player, Phase.TESTING)
    seen = []
    play.watch = lambda before, record: seen.append((before, record))
    play.losses = {"p0": 100 * COIN} | dict.fromkeys(("p1", "p2", "p3"), play.parent_loss)
    play.test()
    play.value()
    before, good = next((b, r) for b, r in seen if r.KIND == "value")
    assert [name for name, _ in good.values] == ["p1", "p2", "p3"]
    for field in ("values", "stderr", "shapley", "shapley_stderr"):
        wrong = dataclasses.replace(good, **{field: (("p0", 1), *getattr(good, field))})
        refused(*bound(before, wrong), "exactly")
    refused(*bound(before, dataclasses.replace(good, composed="x")), "digest")


def test_only_the_orderer_closes_the_present_phase(player):
    for phase in (Phase.DEPOSIT, Phase.COMMIT, Phase.REVEAL):
        state, name = at(player, phase).state, phase.name.lower()
        for author in ("p0", "v1", "observer"):
            refused(state, Close(author, 1, name), "only the ordering maintainer")
        refused(state, Close("v0", 1, "testing"), f"the present phase is {name}")
        assert apply(state, Close("v0", 1, name)).round.phase > phase
    refused(at(player, Phase.AUCTION).state, Close("v0", 1, "auction"), "derived record")
    refused(at(player, Phase.SETTLEMENT).state, Close("v0", 1, "settlement"), "derived record")


def test_pledging_and_reporting_are_closed_with_a_majority_of_the_maintainers_only(player):
    play = player(dataclasses.replace(BRAID, validators=4), RULES).until(Phase.TESTING)
    present = ["v0", "v2", "v3"]
    play.quorum = lambda expected: present
    seen = []
    play.watch = lambda before, record: seen.append((before, record))
    refused(play.state, Close("v0", 1, "testing"), "majority", "pledged")
    for step in (play.draw_and_pledge, play.test, play.appraise, play.value):
        step()
    assert play.state.round.phase is Phase.SETTLEMENT
    assert [set(part) for part in (play.state.round.pledges, play.state.round.values)] == [set(present)] * 2
    closed = [record.phase for _, record in seen if record.KIND == "close"]
    assert closed == ["testing", "appraisal"]  # all who pledged have reported: those phases end by themselves
    for before, record in seen:
        if record.KIND in ("pledge", "score", "value"):
            phase = before.round.phase.name.lower()
            what = "pledged" if record.KIND == "pledge" else "reported"
            refused(before, Close("v0", 1, phase), f"no majority of the maintainers has {what}")


def test_reporting_is_closed_without_who_withholds_once_a_majority_has_reported(player):
    play = player(BRAID, RULES).until(Phase.SCORING)
    close = Close("v0", 1, "scoring")
    for name in ("v2", "v1"):
        refused(play.state, close, "majority", "reported")
        play.say(play.reports[name])
    play.say(close)
    assert play.state.round.phase is Phase.APPRAISAL
    refused(play.state, play.reports["v0"], "scoring phase, this is appraisal")


def test_a_settlement_before_its_time_is_refused(player):
    play = at(player, Phase.TESTING)
    refused(play.state, Settle("v0", 1, (), (), (), (), (0,), ()), "settlement phase")
