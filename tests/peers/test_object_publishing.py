"""What a publisher takes in, uploads and removes, and how its thread goes on."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path

import pytest
from peers.bucket import SECRET, ObjectStore
from peers.bucket_town import Play, awaited, copied, published, whole
from peers.site import DELTA, NAME, RECORD, TRAINER
from peers.town import Town

from relayjax import cli, peers
from relayjax.errors import ConfigError, RelayError
from relayjax.hashing import digest
from relayjax.identity import Keys
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.tiles import paths_of, tiles_of
from relayjax.mechanism.state import Phase
from relayjax.peers import handover
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.http_gate import Awaited
from relayjax.peers.keeping import keeping
from relayjax.peers.object_listing import Listing
from relayjax.peers.object_publishing import Publisher
from relayjax.peers.sending import Parcel


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
    limit, awaits = 40 << 20, {DELTA: TRAINER.public}
    publisher = Publisher(town.folder, store.bucket(), lambda: Awaited(awaits, limit))
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
    assert any("not in step" in line for line in told) and not any(SECRET in line for line in told)
    town.close()


def test_who_publishes_needs_a_folder_and_a_bucket_of_its_own(town: Town, store: ObjectStore) -> None:
    Play(town, store)
    for name, why in (("v1", "one of your own"), ("v0", "give the folder")):
        with pytest.raises(ConfigError, match=why):
            peers.open_maintainer("s3://bucket/relay", town.home(name).path, publish="s3://bucket/relay")


def test_who_publishes_does_not_only_look_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verb = ["maintain", str(tmp_path), f"--home={tmp_path}", "--publish=s3://bucket/relay", "--once"]
    assert cli.main(verb) != 0
    assert "--once" in capsys.readouterr().err


def test_an_error_that_does_not_pass_ends_the_work(town: Town, store: ObjectStore) -> None:
    store.bucket().put(CHECKPOINT, b"something else")
    town.begin(rounds=1, join_all=False)
    publisher = published(town, store, town.orderer(), [])
    with keeping(publisher, 0.01, lambda line: None) as kept, pytest.raises(ConfigError):
        kept.finish()
    with suppress(RelayError):
        town.close()
