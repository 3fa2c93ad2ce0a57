"""The orderer falls silent for good, in any phase: another maintainer takes over, nothing settled is lost."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from peers.republic import Republic
from peers.town import Tools, Town
from rich.console import Console

from relayjax import backend, records
from relayjax.archive import Archive
from relayjax.authority import open_log
from relayjax.errors import ConfigError, IntegrityError, SplitViewError
from relayjax.identity import Keys, sign
from relayjax.identity.envelope import pre_authentication
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from relayjax.ledger.evidence import Evidence, verify_evidence
from relayjax.ledger.note import signer_key
from relayjax.ledger.policy import NONE, Endpoint, Policy
from relayjax.ledger.proof import Receipt, verify_receipt_under
from relayjax.licences import Right, ownership
from relayjax.mechanism.membership import POSSESSION_TYPE
from relayjax.mechanism.state import Phase
from relayjax.mechanism.succession import ballot
from relayjax.peers.copying import copy
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.follower import Follower
from relayjax.peers.home import Promise
from relayjax.peers.office import Office
from relayjax.peers.orderer import Orderer
from relayjax.peers.succession import COMPLAINT_TYPE
from relayjax.peers.voice import Voice, encode
from relayjax.records import Join, Rotate, possession
from relayjax.report.explain import explain
from relayjax.trust_console import check_ledger, write_receipts
from relayjax.workdir import Workdir


@pytest.fixture
def relay(tools: Tools, tmp_path: Path) -> Iterator[Republic]:
    relay = Republic(Town(tmp_path, tools), rounds=2)
    yield relay
    for person in relay.people.values():
        person.vanish()


@pytest.mark.parametrize("phase", list(Phase))
def test_the_founder_vanishes_in_any_phase(relay: Republic, phase: Phase):
    relay.play(relay.at(1 if phase else 2, phase))
    relay.people["v1"].follower.poll()
    settled = relay.people["v1"].follower.chronicle.settled
    first, _ = relay.line()
    relay.lose("v0")
    relay.finish()
    assert relay.orderers == [first], relay.town.told
    history = relay.check(rounds=2, rescored=phase is Phase.TESTING)
    assert [(term.number, term.orderer) for term in history.state.terms] == [(0, "v0"), (1, first)]
    assert [r.orderer for r in history.rounds] == ["v0"] * settled + [first] * (2 - settled)
    assert all(set(r.facts.submissions) == set(r.facts.pairs) for r in history.rounds), "no leg got lost"


def test_a_minority_takes_nothing_over_and_is_bound_to_nothing(relay: Republic):
    relay.play(relay.at(1, Phase.COMMIT))
    first, second = relay.line()
    relay.lose("v0", second)
    for _ in range(40):
        relay.turn()
        relay.town.now += relay.town.patience
    assert relay.orderers == [] and relay.handed("complaint", first) and not relay.handed("vote")
    assert relay.town.home(first).promise() is None
    relay.return_("v0")
    relay.finish()
    assert relay.check(rounds=2).state.term.number == 0
    assert relay.people[first].state.round.number == 3


def test_votes_in_the_inbox_do_not_make_the_orderer_end_its_own_term(relay: Republic):
    relay.play(relay.at(1, Phase.COMMIT))
    relay.people["v0"].follower.poll()
    state = relay.people["v0"].state
    for name in relay.line():
        Voice(relay.town.exchange, relay.town.home(name).keys()).say(ballot(state, name, 1), state)
    relay.people["v0"].step()
    assert sum("a vote is handed over" in why for why in relay.town.why()) == 2
    relay.finish()
    assert relay.check(rounds=2).state.term.number == 0


def test_the_successor_vanishes_as_well_before_and_after_it_has_taken_over(relay: Republic):
    relay.play(relay.at(1, Phase.REVEAL))
    first, second = relay.line()
    relay.lose("v0")
    relay.play(lambda: len(relay.handed("vote")) == 2)
    relay.lose(first)
    relay.return_("v0")  # it finds itself voted out, and helps to vote on
    relay.play(lambda: relay.orderers == [second], turns=100)
    relay.return_(first)
    relay.play(relay.at(2, Phase.COMMIT))
    relay.lose(second)
    relay.finish()
    assert relay.orderers == ["v0"], relay.town.told
    terms = relay.check(rounds=2).state.terms
    assert [(term.number, term.orderer) for term in terms] == [(0, "v0"), (2, second), (3, "v0")]


def test_whoever_looks_at_it_later_finds_both_terms_right(relay: Republic, tmp_path: Path):
    relay.play(relay.at(1, Phase.SCORING))
    first, second = relay.line()
    relay.lose("v0")
    relay.finish()
    history, member = relay.check(rounds=2), relay.town.home("p0").membership()
    follower = Follower(relay.town.exchange, member.origin, member.log_key)
    copy(relay.town.exchange, follower, member.origin, member.log_key, tmp_path / "copy")
    keys = relay.town.home(second).keys()
    found = backend.verify(tmp_path / "copy", keys=keys, log_key=member.log_key, seen=tmp_path / "seen")
    assert found.audit.root == relay.people["p0"].follower.root.hex() and found.audit.opened > 0
    owned = ownership(history, Archive(Workdir(tmp_path / "copy")))
    assert owned.manifests == 2 and all(access.right is not Right.NONE for access in owned.accesses)
    assert f"ordered the records, in term {history.state.term.number}" in explain(history, first)
    said = io.StringIO()
    out = Console(file=said, width=400)
    (receipt, *_) = write_receipts(tmp_path / "copy", tmp_path / "receipts", None, out)
    assert receipt.exists()
    check_ledger(tmp_path / "copy", None, tmp_path / "seen", 0, out)
    signer = signer_key(member.origin, history.state.members[first].signing)
    assert said.getvalue().count(signer.encode()) == 2
    for key, holds in ((signer, True), (signer_key(member.origin, member.log_key), False)):
        policy = Policy(NONE, (Endpoint(key),))
        with nullcontext() if holds else pytest.raises(IntegrityError):
            verify_receipt_under(Receipt.decode(receipt.read_bytes()), policy)


def test_the_old_one_comes_back_and_goes_on_as_an_ordinary_maintainer(relay: Republic):
    relay.play(relay.at(1, Phase.TESTING))
    first, _ = relay.line()
    relay.lose("v0")
    relay.play(lambda: relay.orderers == [first])
    relay.return_("v0")
    relay.finish()
    assert relay.orderers == [first]
    history = relay.check(rounds=2)
    assert "v0" in history.rounds[-1].facts.scores, "it measures with the others"


def test_an_orderer_that_others_have_voted_out_steps_down_by_itself(relay: Republic):
    relay.play(relay.at(1, Phase.TESTING))
    first, _ = relay.line()
    asleep = relay.people["v0"]
    relay.here.remove("v0")  # it holds the lock all the time
    relay.play(lambda: any("another process" in line for line in relay.town.told))
    assert relay.orderers == [] and asleep.orderer
    relay.here.append("v0")
    relay.finish()
    assert relay.orderers == [first] and "v0" in relay.check(rounds=2).rounds[-1].facts.scores


def test_who_voted_is_bound_until_a_term_begins_or_a_majority_has_gone_on(relay: Republic):
    relay.play(relay.at(1, Phase.COMMIT))
    first, second = relay.line()
    office, v0 = relay.people[second].worker, relay.people["v0"]
    assert isinstance(office, Office)
    relay.town.home(second).keep_promise(Promise(0, 1))
    relay.play(relay.at(2, Phase.REVEAL))
    history = v0.follower.chronicle.history
    assert office.succession.bound(history), "round 1 was tested by reports that may have been on their way"
    assert set(history.rounds[0].facts.pledges) == {"v0", first}
    relay.finish()
    assert not office.succession.bound(relay.people["p0"].follower.chronicle.history)
    assert set(relay.check(rounds=2).rounds[1].facts.pledges) == {"v0", first}


def test_who_is_bound_and_needed_is_released_by_a_new_term(relay: Republic):
    relay.play(relay.at(1, Phase.COMMIT))
    first, second = relay.line()
    relay.lose(first)
    relay.town.home(second).keep_promise(Promise(0, 1))
    relay.finish()
    state = relay.check(rounds=2).state
    assert state.orderer == second and state.term.number == 2, "v0 could not go on without it, and agreed"


def test_a_branch_that_the_old_orderer_goes_on_with_is_refused_and_kept_as_evidence(relay: Republic):
    relay.play(relay.at(1, Phase.COMMIT))
    first, _ = relay.line()
    relay.lose("v0")
    old = relay.town.base / "old"
    shutil.copytree(relay.town.folder, old)
    relay.play(lambda: relay.orderers == [first])
    relay.play(relay.at(1, Phase.TESTING))
    branch = Orderer(
        relay.town.home("v0"),
        relay.town.home("v0").keys(),
        Workdir(old),
        relay.town.tools.validator,
        relay.town.tools.workshop.codec,
        patience=0.0,
        clock=lambda: relay.town.now,
    )
    p0 = relay.people["p0"]
    p0.follower.poll()
    while branch.log.size <= p0.follower.size:
        relay.town.now += 1
        branch.act()
        if branch.state.round.number == 2:
            _extend(branch, relay.town)
    assert len(branch.state.versions) == 1, "without the others nothing is tested there"
    before = p0.follower.size, p0.follower.root
    p0.follower._exchange = FolderExchange(old)
    with pytest.raises(SplitViewError, match="rewritten"):
        p0.follower.poll()
    assert (p0.follower.size, p0.follower.root) == before
    (file,) = relay.town.home("p0").path.glob("split-view-*.json")
    members, origin = p0.state.members, relay.town.home("p0").membership().origin
    keys = [signer_key(origin, members[name].signing) for name in ("v0", first)]
    assert "has rewritten its first" in verify_evidence(Evidence.decode(file.read_bytes()), keys)
    p0.follower._exchange = relay.town.exchange
    relay.finish()
    assert relay.check(rounds=2).state.orderer == first


def _extend(branch: Orderer, town: Town) -> None:
    """A further entry on a branch that has come to an auction in which nobody bids."""
    guest = Keys.generate(f"o{branch.log.size}")
    branch._transcript.say(guest, Join(guest.name, "observer", guest.public.signing, guest.public.receiving))
    branch._transcript.commit(town.home("v0").keys())


def test_who_does_not_order_at_this_size_signs_nothing_that_counts(relay: Republic):
    relay.play(relay.at(1, Phase.COMMIT))
    first, second = relay.line()
    relay.lose("v0")
    relay.play(lambda: relay.orderers == [first])
    for person in relay.people.values():
        person.vanish()
        person.follower.poll()
    town, ledger = relay.town, relay.town.folder / "ledger"
    origin, log_key = town.home("p0").membership().origin, town.home("p0").membership().log_key
    log, past = open_log(ledger, origin, log_key)
    assert past is not None and backend.verify(town.folder, log_key=log_key).audit.log_key == log_key
    right = log.signed_checkpoint
    for name in ("v0", second, "p1"):
        note = sign_checkpoint(Checkpoint(origin, log.size, log.root), town.home(name).keys())
        (ledger / "checkpoint").write_bytes(note)
        with pytest.raises(IntegrityError, match=f"{first} orders at this size, in term 1|no signature"):
            relay.people["p2"].follower.poll()
        with pytest.raises(IntegrityError, match=f"{first} orders at this size, in term 1|no signature"):
            backend.verify(town.folder)
        with pytest.raises(IntegrityError):
            open_log(ledger, origin, log_key)
        newcomer = Follower(town.exchange, origin, log_key)
        with pytest.raises(IntegrityError):
            newcomer.poll()
        assert newcomer.size == 0
    (ledger / "checkpoint").write_bytes(right)
    newcomer = Follower(town.exchange, origin, log_key)
    assert newcomer.poll() and newcomer.root == log.root
    with pytest.raises(IntegrityError, match="founded with"):
        Follower(town.exchange, origin, past.state.members[first].signing).poll()
    with pytest.raises(ConfigError, match="does not sign this log"):
        log.append([b"{}"], town.home("v0").keys())


def test_the_orderer_goes_on_with_new_keys(relay: Republic):
    relay.play(relay.at(1, Phase.COMMIT))
    home = relay.town.home("v0")
    old, new = home.keys(), home.keys().successor()
    new.save(home.path / "keys" / "next")
    record = Rotate("v0", relay.state.run, new.public.signing, new.public.receiving, "")
    proof = new.sign(pre_authentication(POSSESSION_TYPE, possession(record)))
    voice = Voice(relay.town.exchange, old)
    assert voice.say(dataclasses.replace(record, proof=proof.hex()), relay.state) is None
    relay.play(relay.at(2, Phase.REVEAL))
    relay.lose("v0")
    relay.return_("v0")
    relay.finish()
    assert relay.check(rounds=2).state.members["v0"].signing == new.public.signing
    key = relay.town.home("p0").membership()
    note = (relay.town.folder / "ledger" / "checkpoint").read_bytes()
    assert verify_checkpoint(note, key.origin, new.public.signing).size == relay.people["p0"].follower.size


def test_a_vote_for_a_later_term_binds_against_all_before(relay: Republic):
    relay.play(relay.at(1, Phase.COMMIT))
    first, second = relay.line()
    relay.lose("v0")
    town, state = relay.town, relay.state
    keys = {name: town.home(name).keys() for name in (first, second)}
    complaint = sign(records.encode(ballot(state, second, 2)), keys[second], COMPLAINT_TYPE)
    vote = sign(records.encode(ballot(state, second, 1)), keys[second])
    town.exchange.offer(f"handover/00001-complaint-2-{second}.json", encode(complaint))
    relay.here.remove(second)
    relay.turn()
    town.now += 10 * town.patience  # both terms are due for the first of them at once
    relay.turn()
    assert relay.handed("vote", first) == [f"00001-vote-2-{first}.json"]
    assert town.home(first).promise() == Promise(1, 1)
    town.exchange.offer(f"handover/00001-vote-1-{second}.json", encode(vote))
    for _ in range(3):
        relay.turn()
    assert not relay.orderers and town.home(first).promise() == Promise(1, 1)
    relay.here.append(second)
    relay.finish()
    assert relay.check(rounds=2).state.terms[-1].orderer == second
