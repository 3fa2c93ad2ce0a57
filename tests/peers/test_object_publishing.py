"""A relay whose members reach a bucket only, and whatever can go wrong on the way."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from peers.bucket import SECRET, ObjectStore, object_store
from peers.site import DELTA, NAME, RECORD
from peers.town import Member, Town
from rich.console import Console

from relayjax import backend
from relayjax.errors import ConfigError, ExchangeError, RelayError
from relayjax.hashing import digest
from relayjax.identity import Keys
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.tiles import paths_of, tiles_of
from relayjax.mechanism.state import Phase
from relayjax.peers import handover
from relayjax.peers.copying import copy
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.follower import CHECKPOINT, Follower
from relayjax.peers.http_gate import Awaited
from relayjax.peers.object_keeping import keeping
from relayjax.peers.object_listing import Listing
from relayjax.peers.object_publishing import Publisher
from relayjax.peers.orderer import Orderer
from relayjax.peers.sending import Parcel
from relayjax.peers_console import maintain


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with object_store(tmp_path) as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        yield store


class Play:
    """The orderer, its publisher, and members in the bucket, stepped by a test."""

    def __init__(self, town: Town, store: ObjectStore, rounds: int = 2):
        self.town, self.store, self.told = town, store, list[str]()
        self.failed = 0
        town.begin(rounds=rounds, join_all=False)
        self.orderer = town.orderer()
        self.restart()
        self.publisher.step()
        self.members = [self.member(name) for name in (*town.participants, *town.maintainers)]

    @property
    def publisher(self) -> Publisher:
        return self._publisher

    def restart(self) -> None:
        """What a kill of the publisher and a new start are."""
        self._publisher = published(self.town, self.store, self.orderer, self.told)

    def member(self, name: str) -> Member:
        there = Town(self.town.base, self.town.tools)
        there.exchange = self.store.exchange()  # pyright: ignore[reportAttributeAccessIssue]
        while True:
            try:
                assert there.join(name) is None
                return Member(there, name)
            except ExchangeError:
                self.failed += 1

    def round(self, look: bool = False) -> None:
        """One step of everybody."""
        try:
            self.publisher.step(look=look)
        except ExchangeError:
            self.failed += 1
        self.orderer.act()
        for member in self.members:
            try:
                member.step()
            except ExchangeError:
                self.failed += 1

    def to_the_end(self) -> set[str]:
        """Plays on; returns the roots that everybody has."""
        for _ in range(200):
            self.round()
            size = self.orderer.log.size
            if self.orderer.state.finished and all(m.follower.size == size for m in self.members):
                break
        assert self.orderer.state.finished, (self.town.told, self.told)
        return {member.follower.root.hex() for member in self.members} | {self.orderer.log.root.hex()}


def awaited(town: Town, orderer: Orderer) -> Awaited:
    return Awaited.of(orderer.state, town.tools.workshop.codec.max_size(town.tools.trainer.leg.baton.size))


def published(town: Town, store: ObjectStore, orderer: Orderer, told: list[str]) -> Publisher:
    return Publisher(town.folder, store.bucket(), lambda: awaited(town, orderer), told.append)


def copied(town: Town, store: ObjectStore) -> str:
    """Fetches the relay from the bucket and verifies it with a maintainer's keys; returns its root."""
    member, exchange = town.home("p0").membership(), store.exchange()
    follower = Follower(exchange, member.origin, member.log_key)
    copy(exchange, follower, member.origin, member.log_key, town.base / "copy")
    found = backend.verify(town.base / "copy", keys=town.home("v1").keys())
    assert found.audit.weights > 1
    return found.audit.root


def whole(town: Town) -> None:
    """At its end no acknowledged leg was lost, and both maintainers have scored every round."""
    town.close()
    for settled in backend.verify(town.folder, keys=town.home("v1").keys()).audit.history.rounds:
        assert set(settled.facts.pairs) == set(settled.facts.submissions)
        assert set(settled.facts.scores) == {"v0", "v1"}


def test_all_end_with_the_same_root(town: Town, store: ObjectStore) -> None:
    play = Play(town, store)
    (root,) = play.to_the_end()
    assert not play.failed and not play.told and not any("refused" in line for line in town.told)
    play.publisher.step(look=True)
    assert play.publisher.finished and copied(town, store) == root
    whole(town)
    there, here = store.files(), town.folder
    assert not [path for path in there if path.startswith(("inbox/", "handover/"))]
    assert all(data == (here / path).read_bytes() for path, data in there.items())
    assert not any(SECRET.encode() in data for data in there.values())


def test_members_in_the_folder_and_in_the_bucket_are_in_one_relay(town: Town, store: ObjectStore) -> None:
    play = Play(town, store, rounds=1)
    assert town.join("p1") is None
    play.members[1] = Member(town, "p1")
    assert len(play.to_the_end()) == 1
    whole(town)


def test_a_store_that_is_stopped_in_every_phase_stops_nothing_for_good(
    town: Town, store: ObjectStore
) -> None:
    play, stopped = Play(town, store, rounds=1), set[Phase]()
    for _ in range(200):
        phase = play.orderer.state.round.phase
        if play.orderer.state.finished:
            break
        if phase not in stopped:
            stopped.add(phase)
            store.stop()
            play.round()
            store.start()
        play.round()
    assert stopped == set(Phase) - {Phase.SETTLEMENT} and play.failed > len(stopped)  # that one takes no time
    (root,) = play.to_the_end()
    play.publisher.step(look=True)
    assert copied(town, store) == root
    whole(town)


def test_a_publisher_that_is_killed_at_every_upload_goes_on(
    town: Town, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before each request that changes the bucket."""
    play, kills = Play(town, store, rounds=1), 0

    class Killed(BaseException):
        """The end of a process."""

    def deadly(after: int) -> None:
        left = [after]

        def counted(call: Any) -> Any:
            def count(*arguments: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return call(*arguments)

            return count

        bucket, listing = play.publisher._bucket, play.publisher._listing
        monkeypatch.setattr(bucket, "put", counted(bucket.put))
        monkeypatch.setattr(listing, "remove", counted(listing.remove))

    for _ in range(400):
        if play.orderer.state.finished:
            break
        for after in range(50):
            play.restart()
            deadly(after)
            try:
                play.publisher.step(look=True)
                break
            except Killed:
                kills += 1
                check_checkpoint(play.store, town)
        play.orderer.act()
        for member in play.members:
            member.step()
    assert play.orderer.state.finished and kills > 40, kills
    play.restart()
    (root,) = play.to_the_end()
    assert copied(town, store) == root
    whole(town)


def check_checkpoint(store: ObjectStore, town: Town) -> None:
    """All that the bucket's checkpoint speaks of is there: a follower of the bucket gets to its end."""
    member, exchange = town.home("p0").membership(), store.exchange()
    if exchange.fetch(CHECKPOINT, 10_000) is not None:
        follower = Follower(exchange, member.origin, member.log_key)
        assert follower.poll()


def test_what_is_no_record_is_removed_and_told(town: Town, store: ObjectStore) -> None:
    play = Play(town, store)
    bucket = store.bucket()
    oversized = b" " * 100_000
    foreign = {
        "inbox/readme.txt": b"hello",
        "inbox/deeper/x.json": b"{}",
        f"inbox/{'0' * 64}.json": b"not what its name says",
        f"inbox/{digest(oversized)}.json": oversized,
        f"inbox/{'1' * 64}.why": b"round 1, auction: forged",
        "handover/holiday.jpg": b"...",
        DELTA: b"nobody waits for it",
    }
    for path, data in foreign.items():
        bucket.put(path, data)
    bucket.put(NAME, RECORD)  # well named, and no envelope
    play.round(look=True)
    play.round(look=True)
    assert not set(store.files()) & {*foreign, NAME}
    assert not [file for file in (town.folder / "inbox").iterdir() if file.suffix == ".txt"]
    assert sum("no records" in line for line in play.told) == 1, play.told
    assert any(NAME.removeprefix("inbox/") in line for line in town.told), "the orderer looked at it"
    assert len(play.to_the_end()) == 1


def test_a_refusal_and_its_reason_reach_the_member(town: Town, store: ObjectStore) -> None:
    play = Play(town, store)
    twin = Town(town.base / "elsewhere", town.tools)
    twin.exchange = store.exchange()  # pyright: ignore[reportAttributeAccessIssue]

    def pass_on() -> None:
        play.publisher.step()
        play.orderer.act()
        play.publisher.step()

    pass_on()
    assert twin.join("p0") == "the name p0 is taken" and twin.join("p7") is None
    letters = {path for path in store.files() if path.endswith(".json")}
    assert len(letters) == 1
    pass_on()
    reasons = {path.removesuffix(".why") + ".json" for path in store.files() if path.endswith(".why")}
    assert reasons == letters and not letters & set(store.files())
    assert "every place" in (twin.join("p7") or "") and not letters & set(store.files())


def until(play: Play, phase: Phase) -> None:
    for _ in range(60):
        if play.orderer.state.round.phase is phase:
            return
        play.round()
    raise AssertionError(play.orderer.state.round.phase)


def test_what_others_overwrite_is_put_back_and_a_torn_or_oversized_delta_does_not_count(
    town: Town, store: ObjectStore
) -> None:
    play = Play(town, store, rounds=1)
    until(play, Phase.COMMIT)
    play.publisher.step()
    parents = [path for path in store.files() if "-parent-" in path]
    good = {path: store.files()[path] for path in parents}
    for path in parents:
        store.bucket().put(path, good[path][:100])
    play.publisher.step(look=True)
    assert {path: store.files()[path] for path in parents} == good and parents
    until(play, Phase.REVEAL)
    play.publisher.step()
    names = sorted(awaited(town, play.orderer).paths)
    play.members[0].step()
    play.members[1].step()
    torn, large = (handover.delta(1, member.name) for member in play.members[:2])
    assert {torn, large} <= {*names}
    store.bucket().put(torn, store.files()[torn][:-20])
    store.bucket().put(large, bytes((awaited(town, play.orderer).limit(large) or 0) + 1))
    play.publisher.step()
    assert large not in store.files()
    play.orderer.act()
    assert not play.orderer.state.round.submissions
    assert len(play.to_the_end()) == 1
    whole(town)


def test_what_is_large_passes_in_pieces_both_ways(town: Town, store: ObjectStore) -> None:
    town.begin(rounds=1, join_all=False)
    town.orderer()
    limit, awaits = 40 << 20, {DELTA}
    publisher = Publisher(town.folder, store.bucket(), lambda: Awaited(frozenset(awaits), limit))
    publisher.step()
    keys, data = Keys.generate("p9"), random.Random(1).randbytes(20 << 20)
    parent, near, far = handover.parent(1, 0), FolderExchange(town.folder), store.exchange()
    for path, there, here in ((DELTA, far, near), (parent, near, far)):
        parcel = Parcel(path, data, bytes(32), [keys.public.receiving])
        parcel.put(there)
        assert parcel.head.pieces == 2
        publisher.step()
        assert handover.take(here, path, keys, digest(data), limit) == data
    assert {path for path in store.files() if path.startswith("handover/")} == {
        *(f"{path}{suffix}" for path in (DELTA, parent) for suffix in ("", ".0", ".1"))
    }
    awaits.clear()
    for file in (town.folder / "handover").iterdir():
        file.unlink()
    publisher.step(look=True)
    assert not [path for path in store.files() if path.startswith("handover/")]


def test_a_listing_that_is_older_than_the_store(
    town: Town, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each listing is shown once more after the next one: it lacks what is new, and has what is gone."""
    play, fresh = Play(town, store), Listing.names
    before: dict[str, list[bytes]] = {}

    def stale(listing: Listing, folder: str) -> list[bytes]:
        found = before.get(folder, [])
        before[folder] = fresh(listing, folder)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Listing, "names", stale)
        (root,) = play.to_the_end()
    assert not play.failed
    assert copied(town, store) == root
    whole(town)


def test_a_bucket_of_another_relay_is_left_alone(town: Town, store: ObjectStore, tmp_path: Path) -> None:
    play = Play(town, store)
    before = store.files()
    other = Town(tmp_path / "other", town.tools)
    other.begin(join_all=False)
    orderer = other.orderer()
    with pytest.raises(ConfigError, match="choose another address"):
        published(other, store, orderer, []).step()
    other.close()
    assert store.files() == before
    play.round()
    older = (town.folder / CHECKPOINT).read_bytes()
    for _ in range(3):
        play.round()
    play.publisher.step()
    newer = (town.folder / CHECKPOINT).read_bytes()
    assert older != newer
    (town.folder / CHECKPOINT).write_bytes(older)
    play.restart()
    with pytest.raises(ConfigError, match="more entries than the folder"):
        play.publisher.step()
    (town.folder / CHECKPOINT).write_bytes(newer)
    member = town.home("v0").membership()
    branch = sign_checkpoint(Checkpoint(member.origin, 1, bytes(32)), town.home("v0").keys())
    store.bucket().put(CHECKPOINT, branch)
    play.restart()
    with pytest.raises(ConfigError, match="of another relay"):
        play.publisher.step()


def test_what_was_lost_in_the_bucket_is_there_again_after_a_restart(town: Town, store: ObjectStore) -> None:
    play = Play(town, store, rounds=1)
    (root,) = play.to_the_end()
    play.publisher.step()
    lost = [path for path in store.files() if path.startswith(("store/", "seals/"))]
    lost += [f"ledger/{path}" for path in paths_of(tiles_of(play.orderer.log.size))]
    Listing(store.bucket()).remove(lost)
    with pytest.raises(RelayError):
        copied(town, store)
    play.restart()
    play.publisher.step()
    assert set(lost) <= set(store.files()) and copied(town, store) == root


def test_a_thread_keeps_on_while_the_store_fails(town: Town, store: ObjectStore) -> None:
    town.begin(rounds=1, join_all=False)
    orderer, told = town.orderer(), list[str]()
    publisher = published(town, store, orderer, told)
    store.stop()
    with keeping(publisher, 0.01, told.append) as kept:
        for _ in range(1_000):
            if told:
                break
            time.sleep(0.01)
        kept.check()
        store.start()
        kept.finish()
    assert publisher.finished and CHECKPOINT in store.files()
    assert any("not published" in line for line in told) and not any(SECRET in line for line in told)
    town.close()


def test_only_who_orders_publishes_and_from_the_folder(town: Town, store: ObjectStore) -> None:
    Play(town, store)
    rest = (None, 1.0, False, 0.1, None, Console())
    with pytest.raises(ConfigError, match="does not order"):
        maintain(str(town.folder), town.home("v1").path, *rest, "s3://bucket/relay")
    with pytest.raises(ConfigError, match="give the folder"):
        maintain("s3://bucket/relay", town.home("v0").path, *rest)


def test_an_error_that_does_not_pass_ends_the_work(town: Town, store: ObjectStore) -> None:
    store.bucket().put(CHECKPOINT, b"something else")
    town.begin(rounds=1, join_all=False)
    publisher = published(town, store, town.orderer(), [])
    with keeping(publisher, 0.01, lambda line: None) as kept, pytest.raises(ConfigError):
        kept.finish()
    with suppress(RelayError):
        town.close()
