"""The directory store: what is put comes back, and nothing else does."""

from __future__ import annotations

import random

import pytest
from blake3 import blake3
from faults.disk import SimulatedDisk

from relayjax import files
from relayjax.errors import FormatError, IntegrityError
from relayjax.store import LocalStore

CONTENTS = (b"", b"a", bytes(range(256)) * 40)


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "artefacts")


def test_put_get_has_delete_and_digests(store):
    assert store.digests() == []
    digests = [store.put(content) for content in CONTENTS]
    assert digests == [blake3(content).hexdigest() for content in CONTENTS]
    assert [store.get(digest) for digest in digests] == list(CONTENTS)
    assert store.digests() == sorted(digests)
    store.delete(digests[0])
    store.delete(digests[0])
    assert not store.has(digests[0])
    assert store.has(digests[1])
    with pytest.raises(IntegrityError, match="missing"):
        store.get(digests[0])


def test_a_file_is_its_content_under_its_digest(store):
    digest = store.put(b"weights")
    assert (store.directory / digest[:2] / digest[2:]).read_bytes() == b"weights"


def test_put_writes_once_and_repairs_damage(store):
    path = store.path(store.put(b"weights"))
    before = path.stat()
    store.put(b"weights")
    assert path.stat().st_ino == before.st_ino
    path.write_bytes(b"Weights")
    assert store.get(store.put(b"weights")) == b"weights"


@pytest.mark.parametrize("digest", ["", "../" * 21 + "a", "A" * 64, "a" * 63, "a" * 64 + "\n", "/etc/passwd"])
def test_what_is_no_digest_never_becomes_a_path(store, digest):
    for call in (store.get, store.has, store.delete):
        with pytest.raises(FormatError, match="64 lower-case"):
            call(digest)


def test_more_bytes_than_the_limit_are_refused(store):
    digest = store.put(b"12345")
    assert store.get(digest, limit=5) == b"12345"
    with pytest.raises(IntegrityError, match="at most 4"):
        store.get(digest, limit=4)


def test_any_flipped_bit_is_found_and_its_file_named(store):
    paths = [store.path(store.put(content)) for content in CONTENTS if content]
    store.verify()
    rng = random.Random(0)
    for _ in range(50):
        path = rng.choice(paths)
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError) as caught:
            store.verify()
        assert caught.value.where == str(path)
        path.write_bytes(whole)
    store.verify()


@pytest.mark.parametrize(
    "name", ["readme", "ab/readme", "abc/" + "d" * 61, "ab/" + "C" * 62, "ab/cd/" + "e" * 60]
)
def test_unexpected_files_are_named(store, name):
    store.put(b"weights")
    path = store.directory / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.touch()
    with pytest.raises(IntegrityError) as caught:
        store.verify()
    assert caught.value.where == str(path)


def test_a_link_in_place_of_a_file_is_named(store, tmp_path):
    path = store.path(store.put(b"weights"))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError) as caught:
        store.verify()
    assert caught.value.where == str(path)


def test_sweep_keeps_what_is_referenced_and_removes_leftovers(store):
    kept, swept = store.put(b"kept"), store.put(b"swept")
    leftover = store.path(kept).with_name(f".{kept[2:]}.abc123.tmp")
    leftover.write_bytes(b"ke")
    store.verify()
    assert store.sweep({kept}) == [swept]
    assert store.digests() == [kept]
    assert not leftover.exists()


def test_what_a_killed_process_had_written_is_durable_when_it_is_put_again(tmp_path, monkeypatch):
    """It is there to be seen, so it is not written again, but nobody had flushed its name."""
    disk = SimulatedDisk(tmp_path / "disk")
    store = LocalStore(disk.root / "artefacts")
    with files.using(disk):
        store.put(b"another")
        with monkeypatch.context() as patch:
            patch.setattr(files, "sync_directory", lambda directory: None)
            digest = store.put(b"weights")
        written = len(disk.done)
        assert store.put(b"weights") == digest
    assert {operation.name for operation in disk.done[written:]} == {"fsync_directory"}
    memory = disk.memory()
    memory.crash("cut", random.Random(0))
    memory.write(tmp_path / "after")
    assert LocalStore(tmp_path / "after" / "artefacts").get(digest) == b"weights"
