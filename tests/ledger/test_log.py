"""The log on disk: growth, crashes at every step, receipts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from relayjax.errors import ConfigError, FormatError, IntegrityError, WorkdirError
from relayjax.identity import Keys
from relayjax.ledger import Log, Receipt, audit_log, verify_consistency, verify_receipt
from relayjax.ledger.merkle import Tree, leaf_hash

KEYS = Keys.derive("log", b"test")
PUBLIC = KEYS.public.signing
ORIGIN = "relay.example/test"


def _entries(start: int, stop: int) -> list[bytes]:
    return [b"entry %d" % i for i in range(start, stop)]


def _files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def _grow(log: Log, *sizes: int) -> None:
    for size in sizes:
        log.append(_entries(log.size, size), KEYS)


def test_batches_of_any_size_give_the_same_directory(tmp_path: Path) -> None:
    one, many = Log.create(tmp_path / "one", ORIGIN, KEYS), Log.create(tmp_path / "many", ORIGIN, KEYS)
    _grow(one, 600)
    _grow(many, 1, 2, 20, 255, 256, 257, 511, 520, 520, 600)
    narrow = {"tile/0/002.p/8", "tile/entries/002.p/8", "tile/1/000.p/1"}  # of the checkpoints at 511 and 520
    files = _files(tmp_path / "many")
    assert narrow <= files.keys()
    assert _files(tmp_path / "one") == {name: data for name, data in files.items() if name not in narrow}
    assert one.root == Tree([leaf_hash(entry) for entry in _entries(0, 600)]).root()
    assert not any(p.is_dir() and not any(p.iterdir()) for p in (tmp_path / "many").rglob("*"))


def test_a_log_is_found_again_as_it_was_left(tmp_path: Path) -> None:
    log = Log.create(tmp_path, ORIGIN, KEYS)
    assert Log.open(tmp_path, ORIGIN, PUBLIC).size == 0
    _grow(log, 300)
    again = Log.open(tmp_path, ORIGIN, PUBLIC)
    assert (again.entries(), again.root, again.last_digest) == (log.entries(), log.root, log.last_digest)
    assert again.signed_checkpoint == log.signed_checkpoint
    _grow(again, 310)
    assert Log.open(tmp_path, ORIGIN, PUBLIC).entries() == _entries(0, 310)


class Kill(BaseException):
    """Stands for the process being killed."""


STEPS = ("fsync", "replace", "unlink", "rmdir")


def _killed_after(monkeypatch: pytest.MonkeyPatch, steps: int, action: Callable[[], None]) -> bool:
    """Runs an action that dies just before its next step on the disk; tells whether it did."""
    left = steps

    def dying(step: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object, **kwargs: object) -> None:
            nonlocal left
            if left <= 0:
                raise Kill
            left -= 1
            step(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, dying(getattr(os, name)))
        try:
            action()
        except Kill:
            return True
    return False


@pytest.mark.parametrize(("old", "new"), [(0, 3), (20, 40), (250, 256), (250, 270)])
def test_killed_at_any_step_the_log_is_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: int, new: int
) -> None:
    _grow(Log.create(tmp_path / "old", ORIGIN, KEYS), old)
    _grow(Log.create(tmp_path / "new", ORIGIN, KEYS), old, new)
    sizes: list[int] = []
    killed = True
    while killed:
        path = Path(shutil.copytree(tmp_path / "old", tmp_path / str(len(sizes))))
        log = Log.open(path, ORIGIN, PUBLIC)
        killed = _killed_after(monkeypatch, len(sizes), lambda log=log: _grow(log, new))
        again = Log.open(path, ORIGIN, PUBLIC)
        assert _files(path) == _files(tmp_path / ("old" if again.size == old else "new"))
        assert again.entries() == _entries(0, again.size)
        sizes.append(again.size)
        _grow(again, new)
        assert _files(path) == _files(tmp_path / "new")
    assert sizes == sorted(sizes)
    assert set(sizes) == {old, new}


def test_a_batch_costs_few_fsyncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log.create(tmp_path, ORIGIN, KEYS)
    _grow(log, 20)
    calls: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(fd), fsync(fd)))
    _grow(log, 40)
    assert len(calls) == 6  # tile, bundle and checkpoint, and the directory of each


def test_after_a_failed_write_the_log_must_be_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log.create(tmp_path, ORIGIN, KEYS)
    _grow(log, 20)
    _killed_after(monkeypatch, 2, lambda: _grow(log, 40))
    with pytest.raises(WorkdirError, match="open it again"):
        _grow(log, 60)


def test_what_cannot_be_appended_changes_nothing(tmp_path: Path) -> None:
    log = Log.create(tmp_path, ORIGIN, KEYS)
    _grow(log, 20)
    before = _files(tmp_path)
    with pytest.raises(FormatError, match="65536 bytes"):
        log.append([b"fine", b"x" * 65_536], KEYS)
    with pytest.raises(ConfigError, match="does not sign this log"):
        log.append([b"fine"], Keys.derive("other", b"test"))
    assert _files(tmp_path) == before
    _grow(log, 21)


def test_a_log_is_neither_created_twice_nor_opened_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(WorkdirError, match="no log"):
        Log.open(tmp_path, ORIGIN, PUBLIC)
    _grow(Log.create(tmp_path, ORIGIN, KEYS), 3)
    with pytest.raises(WorkdirError, match="holds a log"):
        Log.create(tmp_path, ORIGIN, KEYS)
    (tmp_path / "checkpoint").unlink()
    with pytest.raises(WorkdirError, match="parts of one"):
        Log.create(tmp_path, ORIGIN, KEYS)


def test_opening_refuses_other_keys_other_origins_and_changed_entries(tmp_path: Path) -> None:
    _grow(Log.create(tmp_path, ORIGIN, KEYS), 300)
    with pytest.raises(IntegrityError, match="checkpoint"):
        Log.open(tmp_path, ORIGIN, Keys.derive("other", b"test").public.signing)
    with pytest.raises(IntegrityError, match="checkpoint"):
        Log.open(tmp_path, "relay.example/other", PUBLIC)
    bundle = tmp_path / "tile/entries/001.p/44"
    data = bundle.read_bytes()
    bundle.write_bytes(data.replace(b"entry 277", b"entry 278"))
    with pytest.raises(IntegrityError, match="not those that were signed"):
        Log.open(tmp_path, ORIGIN, PUBLIC)
    bundle.write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=r"001\.p/44"):
        Log.open(tmp_path, ORIGIN, PUBLIC)
    bundle.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        Log.open(tmp_path, ORIGIN, PUBLIC)


def test_receipts_prove_entries_offline(tmp_path: Path) -> None:
    log = Log.create(tmp_path, ORIGIN, KEYS)
    _grow(log, 270)
    for index in (0, 1, 255, 256, 269):
        text = log.prove(index).encode()
        receipt = Receipt.decode(text)
        assert (receipt.encode(), receipt.entry) == (text, b"entry %d" % index)
        assert verify_receipt(receipt, ORIGIN, PUBLIC).size == 270
    with pytest.raises(ConfigError, match="270"):
        log.prove(270)


def test_every_flipped_bit_of_a_receipt_is_refused(tmp_path: Path) -> None:
    log = Log.create(tmp_path, ORIGIN, KEYS)
    _grow(log, 5)
    text = log.prove(3).encode()
    for position in range(len(text) * 8):
        damaged = bytearray(text)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises((FormatError, IntegrityError)):
            verify_receipt(Receipt.decode(bytes(damaged)), ORIGIN, PUBLIC)


def test_a_checkpoint_is_consistent_with_every_earlier_one(tmp_path: Path) -> None:
    log = Log.create(tmp_path, ORIGIN, KEYS)
    first = log.append(_entries(0, 200), KEYS)
    second = log.append(_entries(200, 300), KEYS)
    tree = Tree([leaf_hash(entry) for entry in log.entries()])
    proof = tree.prove_consistency(first.size)
    verify_consistency(first.size, second.size, first.root, second.root, proof)


def test_an_empty_log_passes_the_audit(tmp_path: Path) -> None:
    Log.create(tmp_path, ORIGIN, KEYS)
    assert audit_log(tmp_path, ORIGIN, KEYS.public) == []
