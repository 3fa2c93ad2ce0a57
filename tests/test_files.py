"""Atomic files: permissions, replacement, leftovers, and what is durable when a call returns."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.disk import FATES, Fault, SimulatedDisk

from relayjax import files
from relayjax.errors import DiskError
from relayjax.files import is_temporary, write_atomic, write_many


def after_a_crash(root: Path, fate: str, write: Callable[[Path], None]) -> dict[str, bytes]:
    """The files that are there when the machine ends right after a call returned."""
    disk = SimulatedDisk(root / "disk")
    with files.using(disk):
        write(disk.root)
    memory = disk.memory()
    memory.crash(fate, random.Random(0))
    memory.write(root / "after")
    found = (path for path in (root / "after").rglob("*") if path.is_file())
    return {path.relative_to(root / "after").as_posix(): path.read_bytes() for path in found}


def test_a_file_is_created_and_replaced_whole(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(("kind", "last"), [("EIO", 4), ("ENOSPC", 2)], ids=["refused", "full"])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, kind: str, last: int):
    """Refused is creating, writing, flushing, or renaming; full is the disk for the first two of them."""
    path = tmp_path / "file"
    write_atomic(path, b"old")
    for at in range(1, last + 1):
        with (
            files.using(SimulatedDisk(tmp_path, fault=Fault(kind, at))),
            pytest.raises(DiskError) as caught,
        ):
            write_atomic(path, b"new")
        assert caught.value.where == str(path)
        assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


def test_a_name_that_may_not_last_is_an_error(tmp_path: Path):
    with files.using(SimulatedDisk(tmp_path, fault=Fault("EIO", 5))), pytest.raises(DiskError) as caught:
        write_atomic(tmp_path / "file", b"new")
    assert caught.value.where == str(tmp_path)


def test_more_files_than_a_process_may_open(tmp_path: Path):
    disk = SimulatedDisk(tmp_path)
    with files.using(disk):
        write_many({tmp_path / str(i): b"%d" % i for i in range(300)})
    operations = [operation.name for operation in disk.done]
    assert operations.count("fsync") == 300 and operations.count("fsync_directory") == 1
    assert operations[:4] == ["create", "write", "create", "write"]  # many are written before the first flush
    assert len(list(tmp_path.iterdir())) == 300
    assert all(path.read_text() == path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("fate", FATES[:4])
def test_whatever_is_written_outlives_a_crash(tmp_path: Path, fate: str):
    def write(root: Path) -> None:
        write_atomic(root / "a" / "b" / "file", b"content")
        write_many({root / "a" / "c" / "one": b"1", root / "d" / "two": b"2"})
        files.touch(root / "d" / "lock")
        files.make_directory(root / "e" / "f")
        write_atomic(root / "e" / "f" / "three", b"3")

    contents = {"a/b/file": b"content", "a/c/one": b"1", "d/two": b"2", "d/lock": b"", "e/f/three": b"3"}
    assert after_a_crash(tmp_path, fate, write) == contents


def test_what_a_killed_process_left_can_be_lost_until_it_is_settled(tmp_path: Path):
    def killed(root: Path) -> None:
        """As `write_atomic`, up to the flush of the directories."""
        disk = files._filesystem
        disk.make_directory(root / "a", 0o755)
        descriptor = disk.create(root / "a" / "file", 0o644)
        disk.write(descriptor, memoryview(b"content"))
        disk.fsync(descriptor)
        disk.close(descriptor)

    def settled(root: Path) -> None:
        killed(root)
        files.settle(root)

    assert after_a_crash(tmp_path / "killed", "cut", killed) == {}
    assert after_a_crash(tmp_path / "settled", "cut", settled) == {"a/file": b"content"}


def test_short_writes_are_continued(tmp_path: Path):
    for at in (1, 2):
        with files.using(SimulatedDisk(tmp_path, fault=Fault("short", at))):
            write_many({tmp_path / "a": b"content" * 9, tmp_path / "b": b"other"})
            files.append(tmp_path / f"log{at}", b"a line\n")
        assert (tmp_path / "a").read_bytes() == b"content" * 9
        assert (tmp_path / "b").read_bytes() == b"other"
    assert (tmp_path / "log1").read_bytes() == b"a line\n"


def test_a_leftover_of_a_killed_write_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    disk = SimulatedDisk(tmp_path)
    monkeypatch.setattr(disk, "rename", killed)
    monkeypatch.setattr(disk, "unlink", killed)
    with files.using(disk), pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"x")
    (leftover,) = tmp_path.iterdir()
    assert is_temporary(leftover)
    assert not is_temporary(tmp_path / "file")


def test_a_tree_is_removed_and_links_are_not_followed(tmp_path: Path):
    write_atomic(tmp_path / "kept" / "file", b"x")
    write_atomic(tmp_path / "tree" / "deep" / "file", b"x")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    files.remove_tree(tmp_path / "tree")
    files.remove_tree(tmp_path / "tree")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").exists()


def test_an_error_says_what_to_do(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="move the file away"):
        write_atomic(tmp_path / "file" / "below", b"x")
    full = files.using(SimulatedDisk(tmp_path, fault=Fault("ENOSPC", 1)))
    with full, pytest.raises(DiskError, match="No space left on device; free some space"):
        write_atomic(tmp_path / "other", b"x")
    assert files.read(tmp_path / "file", 3) == b""
    with pytest.raises(DiskError, match="No such file"):
        files.read(tmp_path / "missing")
