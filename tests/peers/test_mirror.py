"""The orderer's machine is gone, folder and all: another goes on from its own copy, over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.town import Tools
from peers.union import PARTICIPANTS, Keeper, Union, aside

from relayjax import records
from relayjax.errors import ExchangeError, SplitViewError
from relayjax.identity import Keys, sign
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.evidence import Evidence, verify_evidence
from relayjax.ledger.note import signer_key
from relayjax.mechanism.state import Phase
from relayjax.mechanism.succession import ballot
from relayjax.peers.home import Promise
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import serving
from relayjax.peers.orderer import Orderer
from relayjax.peers.succession import COMPLAINT_TYPE, papers
from relayjax.peers.voice import encode
from relayjax.workdir import Workdir


def test_nobody_is_lost(union: Union):
    union.finish()
    assert union.orderers == ["v0"], union.told
    history = union.check(rounds=2)
    assert all(set(r.facts.submissions) == set(r.facts.pairs) for r in history.rounds)
    assert all(set(r.facts.scores) == {"v0", "v1", "v2"} for r in history.rounds)


@pytest.mark.parametrize("phase", list(Phase))
def test_the_founder_vanishes_in_any_phase(union: Union, phase: Phase):
    union.play(union.at(1 if phase else 2, phase))
    seen = {name: (union.people[name].follower.size, union.people[name].follower.root) for name in union.here}
    first, _ = union.line()
    union.lose("v0")
    union.finish()
    assert union.orderers == [first], union.told
    for name in union.here:
        size, root = seen[name]
        assert union.people[name].follower.tree.root(size) == root, "what was believed is in the final log"
    history = union.check(rounds=2)
    assert [(term.number, term.orderer) for term in history.state.terms] == [(0, "v0"), (1, first)]
    assert all(set(r.facts.submissions) == set(r.facts.pairs) for r in history.rounds), "no leg got lost"


def alone(union: Union, at_least: int) -> None:
    """The founder goes on in its folder where nobody reaches it, until it has written so much more."""
    tools, home = union.tools, union.people["v0"].home
    folder = Workdir(union.folder("v0"))
    with folder.locked():
        orderer = Orderer(
            home,
            home.keys(),
            folder,
            tools.validator,
            tools.workshop.codec,
            patience=0.0,
            clock=lambda: union.now,
        )
        before = orderer.log.size
        while orderer.log.size < before + at_least:
            union.now += 1
            assert orderer.act()


def alone_with(union: Union, keeper: Keeper) -> None:
    """The founder goes on, and one other copy has followed that and not shown it."""
    shown = keeper.follower.size
    while keeper.mirror.newest is None or len(keeper.mirror.newest.records) <= shown:
        union.now += union.patience
        union.turn()
        keeper.mirror.step()
    keeper.follower.poll()
    assert keeper.follower.size == shown


def test_the_old_one_comes_back_and_goes_on_as_an_ordinary_maintainer(union: Union):
    union.play(union.at(1, Phase.TESTING))
    first, _ = union.line()
    union.lose("v0")
    union.play(lambda: union.orderers == [first])
    union.return_("v0")
    union.finish()
    assert union.orderers == [first]
    assert "v0" in union.check(rounds=2).rounds[-1].facts.scores, "it measures with the others"


def test_the_old_one_comes_back_with_what_nobody_was_shown_and_is_refused(union: Union):
    union.play(union.at(1, Phase.DEPOSIT))
    first, _ = union.line()
    union.lose("v0")
    alone(union, at_least=1)
    union.play(lambda: union.orderers == [first])
    union.play(union.at(1, Phase.REVEAL))
    with pytest.raises(SplitViewError, match="rewritten"):
        union.return_("v0")
    (file,) = union.people["v0"].home.path.glob("split-view-*.json")
    member, state = union.people["p0"].home.membership(), union.people["p0"].state
    keys = [signer_key(member.origin, state.members[name].signing) for name in ("v0", first)]
    assert "has rewritten its first" in verify_evidence(Evidence.decode(file.read_bytes()), keys)
    union.now += 60.0  # its server is up all the same, and shows what it has
    union.play(lambda: "v0" in union.people["p0"].follower.disputes)
    assert list(union.people["p0"].home.path.glob("split-view-*.json")), "a member saw both, and goes on"
    union.people["v0"].vanish()
    union.folder("v0").rename(union.folder("v0").with_name("aside"))
    union.people["v0"].home.seen.unlink()  # it has looked at the evidence
    union.return_("v0")
    union.finish()
    history = union.check(rounds=2)
    assert history.state.orderer == first and "v0" in history.rounds[-1].facts.scores


def test_who_reaches_the_old_one_alone_believes_nothing_that_it_writes_there(union: Union):
    union.play(union.at(1, Phase.DEPOSIT))
    first, second = union.line()
    p0, size = union.people["p0"], union.people["p0"].follower.size
    union.lose(first, second)
    union.now += 60.0
    union.play(lambda: union.keeper("v0").follower.size > size)
    for _ in range(4):
        union.turn()
    assert union.keeper("v0").follower.size > size and p0.follower.size == size
    union.return_(first)
    union.now += 60.0
    union.finish()
    assert union.check(rounds=2).state.term.number == 0


def test_who_has_voted_shows_nothing_more_of_that_term(union: Union):
    union.play(union.at(1, Phase.COMMIT))
    first, second = union.line()
    keeper, size = union.keeper(second), union.people["p0"].follower.size
    assert keeper.mirror.newest and keeper.mirror.vow(keeper.mirror.newest, Promise(0, 1))
    union.play(union.at(1, Phase.SCORING))
    assert keeper.follower.size < union.people["p0"].follower.size and keeper.follower.size <= size
    union.play(union.at(2, Phase.DEPOSIT))
    assert union.keeper("v0").state.round.number == 2 and keeper.state.round.number == 1
    union.finish()  # round 2 was pledged to by the two others, which have seen more than its vote
    assert set(union.check(rounds=2).rounds[1].facts.pledges) == {"v0", first}


def test_who_has_voted_votes_again_where_the_others_have_come_to(union: Union):
    union.play(union.at(1, Phase.COMMIT))
    first, second = union.line()
    keeper, shown = union.keeper(second), union.keeper(second).follower.size
    assert keeper.mirror.newest and keeper.mirror.vow(keeper.mirror.newest, Promise(0, 1))
    union.play(union.at(1, Phase.TESTING))
    assert keeper.follower.size == shown
    union.lose("v0")
    union.finish()
    history = union.check(rounds=2)
    assert history.state.orderer == first
    assert all(set(r.facts.pairs) == set(r.facts.submissions) for r in history.rounds), "no leg got lost"


def test_what_was_followed_and_never_shown_is_forgotten_with_who_showed_it(union: Union):
    union.play(union.at(1, Phase.COMMIT))
    first, second = union.line()
    keeper, shown = union.keeper(second), union.keeper(second).follower.size
    assert keeper.mirror.newest and keeper.mirror.vow(keeper.mirror.newest, Promise(0, 1))
    union.here = ["v0", *PARTICIPANTS]
    alone_with(union, keeper)
    union.lose("v0")
    union.here = [first, second, *PARTICIPANTS]
    union.finish()
    history = union.check(rounds=2)
    assert history.state.term.number > 0 and not list(keeper.home.path.glob("split-view-*.json"))
    assert keeper.follower.size > shown


def test_nobody_votes_behind_what_its_copy_shows_already(union: Union):
    union.play(union.at(1, Phase.COMMIT))
    keeper = union.keeper("v1")
    stale = keeper.mirror.newest
    assert stale is not None
    union.play(union.at(1, Phase.REVEAL))
    keeper.mirror.step()
    assert not keeper.mirror.vow(stale, Promise(0, 1)) and keeper.home.promise() is None
    assert keeper.mirror.newest and keeper.mirror.vow(keeper.mirror.newest, Promise(0, 1))


def test_a_copy_shows_no_leg_that_it_does_not_have(union: Union):
    union.play(lambda: bool(union.newest("v0") and union.newest("v0").round.submissions))  # pyright: ignore
    keeper, handed = union.keeper("v1"), union.folder("v0") / "handover"
    number = union.newest("v0").round.number  # pyright: ignore
    kept = {path: path.read_bytes() for path in handed.glob("*-candidate-*")}
    for path, data in kept.items():
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    keeper.mirror.step()
    keeper.follower.poll()
    assert not keeper.state.round.submissions and keeper.state.round.number == number
    for path, data in kept.items():
        path.write_bytes(data)
    keeper.mirror.step()
    keeper.follower.poll()
    assert set(keeper.state.round.submissions) == {path.stem.split("-")[2] for path in kept}
    for path, data in kept.items():
        assert (union.folder("v1") / "handover" / path.name).read_bytes() == data


def test_an_address_that_lies_is_left_out(union: Union, tmp_path: Path):
    """Of four addresses one shows an old log under a checkpoint of its own making, and spoilt artefacts."""
    union.play(union.at(1, Phase.DEPOSIT))
    member = union.people["p0"].home.membership()
    stranger = Keys.generate("v9")
    lie = aside(union.folder("v0"), tmp_path / "lie")
    note = sign_checkpoint(Checkpoint(member.origin, 10_000, b"\7" * 32), stranger)
    (lie / "ledger" / "checkpoint").write_bytes(note)
    for file in filter(Path.is_file, (lie / "store").rglob("*")):
        file.write_bytes(b"spoilt")
    server = RelayServer(("127.0.0.1", 0), lie, lambda: Awaited({}, 0))
    with serving(server):
        union.ports["a0"] = server.server_address[1]  # asked first
        for name in union.here:
            if name != "v0":
                union.people[name].vanish()
                union.people[name].start()
        union.finish()
    history = union.check(rounds=2)
    assert all(set(r.facts.submissions) == set(r.facts.pairs) for r in history.rounds)


def test_the_successor_is_lost_with_its_copy_as_well(union: Union):
    union.play(union.at(1, Phase.REVEAL))
    first, second = union.line()
    union.lose("v0")
    union.play(lambda: union.orderers == [first])
    union.play(union.at(2, Phase.DEPOSIT))
    union.return_("v0")
    union.play(lambda: union.people["v0"].follower.size == union.people[first].follower.size)
    union.lose(first)
    union.finish()
    terms = union.check(rounds=2).state.terms
    assert [term.orderer for term in terms] in (["v0", first, second], ["v0", first, "v0"])


def test_a_maintainer_that_nobody_can_reach_votes_and_measures(tools: Tools, tmp_path: Path):
    union = Union(tmp_path, tools, rounds=2, visitors=("v2",))
    try:
        union.play(union.at(1, Phase.REVEAL))
        union.lose("v0")
        union.finish()
        assert union.orderers == ["v1"]
        history = union.check(rounds=2)
        assert set(history.rounds[1].facts.scores) == {"v1", "v2"}
    finally:
        union.close()


def test_only_who_signs_a_vote_can_put_it(union: Union):
    union.play(union.at(1, Phase.COMMIT))
    keeper, state = union.keeper("v1"), union.people["p0"].state
    place = union.place("v1", f"http://127.0.0.1:{union.ports['v1']}")
    path = next(path for path, paper in papers(state).items() if paper == ("vote", 1, "v2"))
    ballots = {name: records.encode(ballot(state, name, 1)) for name in ("v0", "v2")}
    for envelope in (
        sign(ballots["v2"], union.people["p0"].home.keys()),
        sign(ballots["v0"], union.people["v0"].home.keys()),
        sign(ballots["v2"], union.people["v2"].home.keys(), COMPLAINT_TYPE),
    ):
        with pytest.raises(ExchangeError, match="not signed by who it is of"):
            place.offer(path, encode(envelope))
    assert not (keeper.folder / path).exists()
    place.offer(path, encode(sign(ballots["v2"], union.people["v2"].home.keys())))
    assert (keeper.folder / path).exists()
    with pytest.raises(ExchangeError, match="does not wait for it"):
        place.offer(path.replace("vote-1", "vote-9"), b"{}")
