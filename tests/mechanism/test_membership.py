"""Keys change and members leave by records; coins and licences stay with the name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from relayjax.errors import FormatError, ProtocolError
from relayjax.identity import Keys
from relayjax.identity.envelope import pre_authentication
from relayjax.mechanism.apply import apply
from relayjax.mechanism.membership import POSSESSION_TYPE, signer
from relayjax.mechanism.rules import COIN, DeRelayLRules, RelayJAXRules, Schedule
from relayjax.mechanism.state import Phase, Role, State
from relayjax.mechanism.transitions import expected_settlement
from relayjax.records import Bid, Record, Recover, RecoveryKey, Revoke, Rotate, possession

SCHEDULE = Schedule(rounds=4, participants=4, validators=3, braid_rounds=(1, 3))
RULES = RelayJAXRules(tolerance=10 * COIN)
Bringing = RecoveryKey | Rotate | Recover


def key(label: str) -> Keys:
    return Keys.derive("p1", label.encode())


def shown(record: Any, by: Keys) -> Any:
    """A record with the proof that its new key is there."""
    proof = by.sign(pre_authentication(POSSESSION_TYPE, possession(record)))
    return dataclasses.replace(record, proof=proof.hex())


def rotate(state: State, name: str, new: Keys) -> Rotate:
    return shown(Rotate(name, state.run, new.public.signing, new.public.receiving, ""), new)


def recover(state: State, name: str, new: Keys, void: int) -> Recover:
    return shown(Recover(name, state.run, void, new.public.signing, new.public.receiving, ""), new)


def register(state: State, name: str, new: Keys) -> RecoveryKey:
    return shown(RecoveryKey(name, state.run, new.public.signing, ""), new)


def refused(state: State, record: Record, *words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        apply(state, record)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.fixture
def play(player):
    return player(SCHEDULE, RULES)


def all_work(play) -> None:
    """A round in which everybody's work is accepted and worth something."""
    everybody = ("p0", "p1", "p2", "p3")
    play.composed_loss = 0
    play.round(losses=dict.fromkeys(everybody, 0), values=dict.fromkeys(everybody, COIN // 10))


def test_coins_and_licences_stay_with_the_name_when_keys_change(play):
    all_work(play)
    before = play.state
    assert before.licences["p1"] == 1
    play.say(register(play.state, "p1", key("safe")))
    play.say(rotate(play.state, "p1", key("second")))
    play.say(recover(play.state, "p1", key("third"), 2))
    member = play.state.members["p1"]
    assert (member.signing, member.receiving) == (key("third").public.signing, key("third").public.receiving)
    assert member.settled_with(1) == (before.members["p1"].signing, before.members["p1"].receiving)
    assert member.settled_with(2) == (member.signing, member.receiving)
    for field in ("balances", "licences", "worked", "last_matched", "pot", "minted", "versions"):
        assert getattr(play.state, field) == getattr(before, field)
    play.round()
    assert play.state.balances.keys() == before.balances.keys()


def test_each_record_must_be_signed_with_the_key_for_it(play):
    first, run = play.state.members["p1"].signing, play.state.run
    bid = Bid("p1", 1, COIN)
    assert signer(play.state, bid).signing == first
    assert signer(play.state, register(play.state, "p1", key("safe"))).signing == first
    assert signer(play.state, Revoke("p1", run, "p1")).signing == first
    with pytest.raises(ProtocolError, match="no recovery key"):
        signer(play.state, recover(play.state, "p1", key("second"), 1))
    play.say(register(play.state, "p1", key("safe")))
    safe = key("safe").public.signing
    for record in (
        register(play.state, "p1", key("safer")),
        recover(play.state, "p1", key("second"), 1),
        Revoke("p1", run, "p1"),
    ):
        assert signer(play.state, record).signing == safe, record.KIND
    assert signer(play.state, rotate(play.state, "p1", key("second"))).signing == first
    assert signer(play.state, Revoke("p1", run, "p2")).signing == first
    play.say(rotate(play.state, "p1", key("second")))
    assert signer(play.state, bid).signing == key("second").public.signing


def test_a_key_is_taken_only_from_who_has_it_and_once(play):
    state = play.state
    stolen = state.members["p2"]
    with_proof = rotate(state, "p1", key("second"))
    refused(state, dataclasses.replace(with_proof, signing=stolen.signing), "new key has not signed")
    refused(state, dataclasses.replace(with_proof, author="p2"), "new key has not signed")
    refused(state, dataclasses.replace(with_proof, receiving=stolen.receiving), "new key has not signed")
    refused(state, dataclasses.replace(with_proof, proof="00" * 64), "new key has not signed")
    for proof in ("", "0" * 127, with_proof.proof.upper(), with_proof.proof + "00"):
        refused(state, dataclasses.replace(with_proof, proof=proof), "128 hexadecimal digits")
    with pytest.raises(FormatError):
        apply(state, dataclasses.replace(with_proof, signing="00" * 32))
    with pytest.raises(FormatError):
        apply(state, dataclasses.replace(with_proof, receiving="age1"))
    other = shown(dataclasses.replace(with_proof, run="00" * 32, proof=""), key("second"))
    refused(state, other, "another run")
    play.say(with_proof)
    refused(play.state, with_proof, "not taken again")
    play.say(register(play.state, "p1", key("safe")))
    refused(play.state, rotate(play.state, "p1", key("safe")), "not taken again")
    play.say(rotate(play.state, "p1", key("third")))
    refused(play.state, rotate(play.state, "p1", key("second")), "not taken again")
    play.say(register(play.state, "p1", key("safer")))
    refused(play.state, register(play.state, "p1", key("safe")), "not taken again")


def test_recovery_says_from_when_on_the_old_keys_are_void(play):
    play.say(register(play.state, "p1", key("safe")))
    for void in (0, 2, -1):
        refused(play.state, recover(play.state, "p1", key("second"), void), "void")
    play.say(Bid("p1", 1, 3 * COIN))
    play.say(recover(play.state, "p1", key("second"), 1))
    assert "p1" not in play.state.round.bids, "a thief's bid in an open auction falls"
    play.say(Bid("p1", 1, COIN))


def test_a_bid_of_before_stands(play):
    play.round()
    play.say(register(play.state, "p1", key("safe")))
    play.say(Bid("p1", 2, COIN))
    play.say(rotate(play.state, "p1", key("second")))
    assert play.state.round.bids["p1"] == COIN
    play.say(recover(play.state, "p1", key("third"), 1))
    assert play.state.round.bids == {"p1": COIN}, "void from an earlier round: that round's acts are settled"


def test_who_revokes_himself_is_out_and_keeps_what_it_earned(play):
    all_work(play)
    before = play.state
    play.say(Bid("p1", 2, COIN))
    play.say(Revoke("p1", before.run, "p1"))
    state = play.state
    assert "p1" not in state.round.bids and "p1" not in play.rules.bidders(state)
    assert (state.balances["p1"], state.licences["p1"]) == (before.balances["p1"], before.licences["p1"])
    refused(state, Bid("p1", 2, COIN), "revoked in round 2")
    refused(state, rotate(state, "p1", key("second")), "revoked")
    refused(state, Revoke("v0", state.run, "p1"), "revoked already")
    with pytest.raises(ProtocolError, match="revoked"):
        signer(state, Bid("p1", 2, COIN))
    for _ in range(3):
        all_work(play)
    assert play.state.licences["p1"] == 1 < play.state.licences["p0"]
    assert play.state.balances["p1"] > before.balances["p1"], "what is paid for earlier work is paid on"


def test_nobody_takes_the_place_of_who_is_revoked(play, joining):
    play.say(Revoke("p1", play.state.run, "p1"))
    refused(play.state, joining("p9", Role.PARTICIPANT), "every place")
    refused(play.state, joining("p1", Role.PARTICIPANT), "taken")


def test_a_majority_of_the_maintainers_revokes_another(player):
    play = player(dataclasses.replace(SCHEDULE, validators=4), RULES)
    run = play.state.run
    refused(play.state, Revoke("p0", run, "p1"), "only maintainers")
    refused(play.state, Revoke("observer", run, "p1"), "only maintainers")
    refused(play.state, Revoke("v0", run, "nobody"), "no member nobody")
    refused(play.state, Revoke("v1", run, "v0"), "ordering maintainer")
    refused(play.state, Revoke("v0", run, "v0"), "ordering maintainer")
    play.say(Revoke("v0", run, "v3"))
    refused(play.state, Revoke("v0", run, "v3"), "approved this before")
    play.say(Revoke("v1", run, "v3"))
    assert not play.state.members["v3"].revoked, "two of four are no majority"
    play.say(Revoke("v2", run, "v3"))
    assert play.state.members["v3"].revoked == 1
    assert play.rules.maintainers(play.state) == ("v0", "v1", "v2")
    play.say(Revoke("v0", run, "p1"))
    play.say(Revoke("v1", run, "p1"))
    assert play.state.members["p1"].revoked == 1, "two of three are"
    play.round()


def test_what_a_stolen_maintainers_key_approved_counts_no_more(play):
    run = play.state.run
    play.say(register(play.state, "v1", Keys.derive("v1", b"safe")))
    play.say(Revoke("v1", run, "p1"))
    play.round()
    play.say(Revoke("v1", run, "p2"))
    play.say(recover(play.state, "v1", Keys.derive("v1", b"second"), 2))
    assert play.state.members["p1"].accusers == (("v1", 1),) and not play.state.members["p2"].accusers
    play.say(Revoke("v2", run, "p2"))
    assert not play.state.members["p2"].revoked
    play.say(Revoke("v1", run, "p2"))
    assert play.state.members["p2"].revoked == 2


def test_approvals_of_a_revoked_maintainer_fall(player):
    play = player(dataclasses.replace(SCHEDULE, validators=4), RULES)
    run = play.state.run
    play.say(Revoke("v3", run, "p1"))
    play.say(Revoke("v3", run, "v3"))
    assert not play.state.members["p1"].accusers
    play.say(Revoke("v0", run, "p1"))
    assert not play.state.members["p1"].revoked
    play.say(Revoke("v1", run, "p1"))
    assert play.state.members["p1"].revoked, "two of the three that are left"


@pytest.mark.parametrize("phase", list(Phase)[1:])
@pytest.mark.parametrize("name", ["p1", "v1"])
def test_who_leaves_in_a_round_is_counted_like_who_stays_away(player, phase, name):
    """The round goes on to its end, the books balance, and no licence is granted to who is out."""
    play = player(SCHEDULE, RULES)
    play.losses = dict.fromkeys(("p0", "p1", "p2", "p3"), 0)
    play.until(phase)
    assert play.state.round.phase is phase
    sets = play.rules.maintainers(play.state), play.rules.bidders(play.state)
    play.say(Revoke(name, play.state.run, name))
    assert (play.rules.maintainers(play.state), play.rules.bidders(play.state)) == sets
    play.present = lambda names: [n for n in sorted(names) if n != name]
    play.withheld = {name}
    play.reports.pop(name, None)
    steps = (play.deposit, play.commit, play.reveal, play.test, play.value)
    starts = (Phase.DEPOSIT, Phase.COMMIT, Phase.REVEAL, Phase.TESTING, Phase.APPRAISAL)
    if phase in (Phase.SCORING, Phase.VALUATION):
        play.show(phase)
    for start, step in zip(starts, steps, strict=True):
        if play.state.round.phase is start:
            step()
    assert play.state.round.phase is Phase.SETTLEMENT
    assert name not in dict(expected_settlement(play.state).licences)
    play.settle()
    assert name not in (*play.rules.maintainers(play.state), *play.rules.bidders(play.state))
    del play.present
    play.withheld = set()
    play.round()


def test_keys_change_in_any_phase(player):
    for phase in Phase:
        play = player(SCHEDULE, RULES).until(phase)
        play.say(register(play.state, "p1", key("safe")))
        play.say(rotate(play.state, "p1", key("second")))
        play.say(recover(play.state, "p1", key("third"), 1))
        assert play.state.round.phase is phase


def test_a_revoked_owner_offers_nothing_in_the_papers_rules(player):
    play = player(Schedule(rounds=4, participants=16, validators=1, braid_rounds=()), DeRelayLRules())
    play.round()
    owner = next(iter(play.rules.owners(play.state)))
    play.say(Revoke(owner, play.state.run, owner))
    assert owner not in play.rules.owners(play.state)
    everybody = {*play.rules.bidders(play.state), *play.rules.maintainers(play.state)}
    assert len(everybody) == 15 and owner not in everybody
    play.round()


def test_nothing_of_this_follows_the_end(player):
    play = player(dataclasses.replace(SCHEDULE, rounds=1, braid_rounds=()), RULES)
    play.round()
    refused(play.state, rotate(play.state, "p1", key("second")), "the relay has ended")
    refused(play.state, Revoke("p1", play.state.run, "p1"), "the relay has ended")
