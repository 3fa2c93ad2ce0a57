"""Following a log that may be changed, put back, or told in two ways."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from peers.town import Member, Town, play

from relayjax import peers, records
from relayjax.errors import ConfigError, IntegrityError, SplitViewError, WorkdirError
from relayjax.identity import Keys, sign
from relayjax.ledger.entry import chain
from relayjax.ledger.evidence import Evidence, verify_evidence
from relayjax.ledger.note import signer_key
from relayjax.mechanism.state import Phase
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.home import Home
from relayjax.peers.joining import join
from relayjax.records import Bid
from relayjax.relay.transcript import Transcript


@pytest.fixture
def begun(town: Town) -> list[Member]:
    """Members of a relay whose first round is at its deposits."""
    town.begin(rounds=2)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.DEPOSIT)
    for member in members:
        member.follower.poll()
    return members


def replace(town: Town, ledger: Path) -> None:
    shutil.rmtree(town.folder / "ledger")
    shutil.copytree(ledger, town.folder / "ledger")


def evidence_of(town: Town, name: str) -> str:
    """What the evidence in a member's directory proves."""
    (file,) = town.home(name).path.glob("split-view-*.json")
    member = town.home(name).membership()
    return verify_evidence(Evidence.decode(file.read_bytes()), signer_key(member.origin, member.log_key))


def test_a_log_that_was_put_back_is_refused_also_after_a_restart(town: Town, begun: list[Member]):
    shutil.copytree(town.folder / "ledger", town.base / "old")
    town.close()
    again = town.orderer()
    play(town, again, begun, until=lambda: again.state.round.phase is Phase.REVEAL)
    size = begun[0].follower.size
    replace(town, town.base / "old")
    with pytest.raises(SplitViewError, match=f"had {size} entries and now shows"):
        begun[0].follower.poll()
    begun[1].restart()
    with pytest.raises(SplitViewError, match="and now shows"):
        begun[1].follower.poll()
    assert list(town.home("p1").path.glob("split-view-*.json"))


def test_a_second_history_convicts_the_log(town: Town, begun: list[Member]):
    shutil.copytree(town.folder / "ledger", town.base / "old")
    town.close()
    again = town.orderer()
    play(town, again, begun, until=lambda: len(again.state.round.deposits) == 3)
    for member in begun:
        member.follower.poll()
    town.close()
    replace(town, town.base / "old")
    forked = town.orderer()
    town.outwait(forked)
    town.outwait(forked)
    while forked.log.size <= begun[0].follower.size:
        _more(town, forked._transcript)
    for member in begun[:2]:
        if member.name == "p1":
            member.restart()
        with pytest.raises(SplitViewError, match="rewritten"):
            member.follower.poll()
        assert "has rewritten its first" in evidence_of(town, member.name)


def _more(town: Town, transcript: Transcript) -> None:
    """Any further record that the rules allow."""
    keys, state = town.home("v0").keys(), transcript.state
    observer = Keys.generate(f"o{transcript.log.size}")
    if state.round.phase is Phase.AUCTION:
        public = observer.public
        transcript.say(observer, records.Join(public.name, "observer", public.signing, public.receiving))
    else:
        transcript.say(keys, records.Close("v0", state.round.number, state.round.phase.name.lower()))
    transcript.commit(keys)


def test_damage_is_refused_and_following_goes_on_when_it_is_repaired(town: Town, begun: list[Member]):
    town.close()
    again = town.orderer()
    entries = town.folder / "ledger" / "tile" / "entries"
    earlier = set(entries.rglob("*"))
    for member in begun:
        if member.name.startswith("p"):
            member.step()
    again.act()
    (bundle,) = [path for path in set(entries.rglob("*")) - earlier if path.is_file()]
    whole = bundle.read_bytes()
    p0 = begun[0].follower
    before = p0.size, p0.root
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        bundle.write_bytes(damaged)
        with pytest.raises(IntegrityError):
            p0.poll()
        assert (p0.size, p0.root) == before
    bundle.unlink()
    assert not p0.poll()
    bundle.write_bytes(whole)
    assert p0.poll() and p0.size > before[0]


def test_another_log_key_is_refused_and_one_that_is_pinned_stays(town: Town, begun: list[Member]):
    exchange, other = FolderExchange(town.folder), Keys.generate("x").public.signing
    with pytest.raises(IntegrityError):
        join(exchange, town.home("p9"), "p9", "participant", other)
    assert not town.home("p9").exists
    with pytest.raises(WorkdirError, match="follows the log key"):
        join(exchange, town.home("p0"), "p0", "participant", other)


def test_what_the_orderer_may_not_say_is_refused_though_it_is_signed(town: Town, begun: list[Member]):
    town.close()
    orderer, keys = town.orderer(), town.home("v0").keys()
    log = orderer.log
    forged = sign(records.encode(Bid("p0", 1, 1)), keys)
    log.append(chain([forged], log.size, log.last_digest), keys)
    with pytest.raises(IntegrityError, match=f"entry {log.size - 1}"):
        begun[0].follower.poll()


def test_who_comes_after_the_end_is_refused_and_leaves_nothing(
    town: Town, begun: list[Member], tmp_path: Path
):
    town.close()
    play(town, town.orderer(), begun)
    before = sorted(town.folder.rglob("*"))
    late = Home(tmp_path / "late")
    assert "the relay is over, all 2 rounds are settled" in str(
        join(town.exchange, late, "p9", "participant")
    )
    with pytest.raises(ConfigError, match="p9 was not let in: the relay is over"):
        peers.join(town.folder, late.path, "p9")
    assert sorted(town.folder.rglob("*")) == before and not late.path.exists()
    assert town.join("p0") is None, "who is a member may say so again"


def test_who_was_never_let_in_ends_when_the_relay_does(town: Town, begun: list[Member], tmp_path: Path):
    late = Home(tmp_path / "late")
    assert join(town.exchange, late, "p9", "participant") is None
    town.close()
    play(town, town.orderer(), begun)
    with peers.open_participant(town.folder, late.path, shard=0) as p9:
        assert p9.run(0.01)
    assert not list((town.folder / "inbox").glob("*.json"))
