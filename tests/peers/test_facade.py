"""The facade for members: its documented example runs, and a frontend can watch, cancel and go on."""

from __future__ import annotations

import contextlib
import io
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from peers.town import Tools, Town
from rich.console import Console

from relayjax import backend, peers, settings
from relayjax.config import Config
from relayjax.errors import ConfigError, IntegrityError, WorkdirError
from relayjax.ledger.proof import Receipt, verify_receipt
from relayjax.peers.events import Begun, Event, Failed, Finished, Settled
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import serving
from relayjax.peers.member import Member
from relayjax.peers.standing import Status
from relayjax.peers.workshop import Workshop
from relayjax.peers_console import MemberView
from relayjax.records import Submit

NAMES = ("v0", "p0", "p1", "p2")


@pytest.fixture
def compiled(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Has all members use what is compiled already; returns the settings of a relay of two rounds."""
    monkeypatch.setattr(Workshop, "of", lambda history, config: tools.workshop)
    monkeypatch.setattr(Workshop, "trainer", lambda self, shard: (tools.trainer, tools.shards[shard]))
    monkeypatch.setattr(Workshop, "validator", lambda self: tools.validator)
    sizes = {"relay.rounds": "2", "relay.validators": "1", "relay.braid_rounds": "1"}
    return settings.override(tools.config, sizes)


def founded(config: Config, base: Path) -> str:
    """Founds a relay that everybody joins; returns the log key."""
    relay = peers.found(config, base / "relay", base / "v0", "v0")
    for name in NAMES[1:]:
        joined = peers.join(base / "relay", base / name, name, log_key=relay.log_key)
        assert (joined.membership.origin, joined.believed) == (relay.origin, False)
    return relay.log_key


def opened(base: Path, name: str) -> Member:
    place, home = base / "relay", base / name
    return (
        peers.open_maintainer(place, home)
        if name == "v0"
        else peers.open_participant(place, home, shard=int(name[1:]))
    )


def turn(members: list[Member], until: Callable[[], bool], turns: int = 200) -> None:
    """Steps everybody in turn until something holds."""
    for _ in range(turns):
        if until():
            return
        for member in members:
            member.step()
    raise AssertionError([member.status() for member in members])


def test_the_documented_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doc = peers.__doc__ or ""
    example = textwrap.dedent(doc[doc.index("    from relayjax") : doc.rindex("\n\n")])
    assert len(example.splitlines()) <= 20 and "open_maintainer" in example
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(example, "example", "exec"), names)
    lines = said.getvalue().splitlines()
    kinds = [line.partition("(")[0] for line in lines]
    assert kinds == ["Begun", "Told", "Settled", "Begun", "Settled", "Finished"] and "compiling" in lines[1]
    state = backend.read_history(tmp_path / "shared").state
    status = names["status"]
    assert isinstance(status, Status) and status.finished and status.account
    assert (status.digest, status.account.balance) == (state.head.digest, state.balances["ben"])
    assert names["receipts"]


def test_members_tell_what_happens_and_have_receipts(compiled: Config, tmp_path: Path) -> None:
    key = founded(compiled, tmp_path)
    heard: dict[str, list[Event]] = {name: [] for name in NAMES}
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(opened(tmp_path, name)) for name in NAMES]
        for member in members:
            member.subscribe(heard[member.name].append)
        with pytest.raises(IntegrityError, match="no entries yet"):
            members[1].status()
        turn(members, lambda: members[1].state is not None and members[1].state.round.number == 2)
        amid = members[1].status()
        assert (amid.round, amid.rounds, amid.finished, amid.orderer) == (2, 2, False, "v0")
        assert amid.awaited and amid.left is None and amid.account and amid.account.registered
        left = members[0].status().left
        assert left is not None and 0 < left <= 60  # who orders knows how long it waits
        turn(members, lambda: all(member.finished for member in members))
        assert not members[0].step() and members[1].run()  # nothing is left to be done
        receipts = {name: members[1].receipts(name) for name in NAMES[1:]}
        with pytest.raises(WorkdirError, match="no member nobody"):
            members[1].receipts("nobody")
    found = backend.verify(tmp_path / "relay", keys=peers.keys(tmp_path / "v0"), log_key=key).audit
    rounds = found.history.rounds
    for name in NAMES:
        settled = [(one.round, one.accepted) for one in heard[name] if isinstance(one, Settled)]
        assert settled == [(one.number, one.settle.accepted) for one in rounds]
        begun = [event for event in heard[name] if isinstance(event, Begun)]
        assert [event.round for event in begun] == [1, 2]
        (finished,) = [event for event in heard[name] if isinstance(event, Finished)]
        assert finished == heard[name][-1] and finished.status.root == found.root
        account = finished.status.account
        assert account and account.balance == found.history.state.balances[name]
        assert account.licence == found.history.state.licences.get(name)
    shutil.rmtree(tmp_path / "relay")
    submitted = [(i, r) for i, r in enumerate(found.history.records) if isinstance(r, Submit)]
    assert sorted(r.index for mine in receipts.values() for r in mine) == [i for i, _ in submitted] != []
    for receipt in (receipt for mine in receipts.values() for receipt in mine):
        checkpoint = verify_receipt(Receipt.decode(receipt.encode()), found.origin, key)
        assert checkpoint.root.hex() == found.root


def test_a_loop_is_cancelled_and_goes_on_when_opened_again(compiled: Config, tmp_path: Path) -> None:
    founded(compiled, tmp_path)
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(opened(tmp_path, name)) for name in NAMES if name != "p1"]
        threads = [Thread(target=member.run, args=(0.01,), daemon=True) for member in others]
        with opened(tmp_path, "p1") as first:
            first.subscribe(lambda event: first.cancel() if isinstance(event, Begun) else None)
            for thread in threads:
                thread.start()
            assert first.run(0.01) is False and not first.finished
            with pytest.raises(WorkdirError, match="another process"):
                opened(tmp_path, "p1")
        with opened(tmp_path, "p1") as again:
            assert again.run(0.01) is True
        for thread in threads:
            thread.join(timeout=60)
        assert all(member.finished for member in others)
    history = backend.verify(tmp_path / "relay", keys=peers.keys(tmp_path / "v0")).audit.history
    assert "p1" in history.rounds[0].facts.submissions


def test_anybody_looks_and_copies(compiled: Config, tmp_path: Path) -> None:
    key = founded(compiled, tmp_path)
    before = peers.status(tmp_path / "relay")
    assert (before.round, before.phase, before.believed, before.account) == (1, "auction", True, None)
    assert (before.missing, before.log_key, before.size) == ((3, 0), key, 1)
    with opened(tmp_path, "v0") as founder:
        observer = peers.follow(tmp_path / "relay", tmp_path / "p0")
        assert observer.poll() and not observer.poll()
        account = observer.status().account
        assert account and (account.name, account.registered) == ("p0", False)
        turn([founder], lambda: not any(peers.status(tmp_path / "relay").missing))
        assert observer.poll() and observer.status().awaited == NAMES[1:]
        copied = peers.copy(tmp_path / "relay", tmp_path / "copy", key)
    assert (copied.size, copied.believed) == (observer.status().size, False)
    assert backend.verify(tmp_path / "copy", log_key=key).audit.root == copied.root


def test_who_is_none_is_told_so(compiled: Config, tmp_path: Path) -> None:
    founded(compiled, tmp_path)
    relay = tmp_path / "relay"
    with pytest.raises(ConfigError, match="choose participant or maintainer"):
        peers.join(relay, tmp_path / "x", "x", "observer")
    with pytest.raises(ConfigError, match="no participant"):
        peers.open_participant(relay, tmp_path / "v0")
    with pytest.raises(ConfigError, match="no maintainer"):
        peers.open_maintainer(relay, tmp_path / "p0")
    with pytest.raises(WorkdirError, match="nobody's home"):
        peers.open_participant(relay, tmp_path / "y")
    with pytest.raises(WorkdirError, match="no relay there"):
        peers.status(tmp_path)


def test_bundles_carry_a_relay_and_letters(compiled: Config, tmp_path: Path) -> None:
    relay = peers.found(compiled, tmp_path / "relay", tmp_path / "v0", "v0")
    exported = peers.export_bundle(tmp_path / "relay", tmp_path / "down")
    assert (exported.log.size, exported.manifest.log_key) == (1, relay.log_key)
    taken = peers.import_bundle(tmp_path / "down", tmp_path / "there", relay.log_key)
    assert taken.relay and taken.letters is None and (taken.relay.new, taken.status.size) == (1, 1)
    peers.join(tmp_path / "there", tmp_path / "p0", "p0", log_key=relay.log_key)
    peers.export_bundle(tmp_path / "there", tmp_path / "up")
    with pytest.raises(ConfigError, match="--since"):
        peers.export_bundle(tmp_path / "there", tmp_path / "up", since=tmp_path / "up")
    brought = peers.import_bundle(tmp_path / "up", tmp_path / "relay")
    assert brought.letters and brought.relay is None and brought.letters.letters == 1
    with opened(tmp_path, "v0") as founder:
        turn([founder], lambda: peers.status(tmp_path / "relay").missing == (2, 0))


@pytest.mark.usefixtures("compiled")
def test_what_passes_is_outlasted_and_what_does_not_ends_the_loop(town: Town, tmp_path: Path) -> None:
    town.begin(rounds=1)
    town.orderer().act()  # lets everybody in
    served, heard = tmp_path / "served", list[Event]()
    served.mkdir()

    def hear(event: Event) -> None:
        """Brings the relay when it is missed, and ends when it was found."""
        heard.append(event)
        if isinstance(event, Failed):
            shutil.copytree(town.folder, served, dirs_exist_ok=True)
        elif isinstance(event, Begun):
            member.cancel()

    server = RelayServer(("127.0.0.1", 0), served, lambda: Awaited({}, 0))
    home = town.home("p0").path
    with serving(server):
        place = f"http://127.0.0.1:{server.server_address[1]}"
        with peers.open_participant(place, home, shard=0, warm=False) as member:
            member.subscribe(hear)
            assert not member.run(0.01)
    assert [type(event) for event in heard] == [Failed, Begun], heard
    assert "no relay there" in str(heard[0]), heard
    empty = tmp_path / "empty"
    empty.mkdir()
    with peers.open_participant(empty, home) as member, pytest.raises(WorkdirError, match="no relay there"):
        member.run(0.01)


def test_who_has_a_copy_of_its_own_verifies_that(town: Town) -> None:
    town.begin(rounds=1, join_all=False)
    status, said = peers.status(town.folder), {}
    for place in ("relay", "relay,http://a:1,http://b:2", "http://a:1,http://b:2"):
        console = Console(file=io.StringIO(), width=400)
        MemberView(place, town.home("v0").path, console)(Finished(1, status))
        said[place] = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert all("verify relay --log_key" in said[place] for place in said if place.startswith("relay"))
    assert "copy http://a:1,http://b:2 COPY" in said["http://a:1,http://b:2"]
    assert "verify COPY" in said["http://a:1,http://b:2"] and "copy " not in said["relay"]
