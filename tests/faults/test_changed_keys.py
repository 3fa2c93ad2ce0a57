"""A change of keys that is cut short has happened or has not; in both cases nobody is locked out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from faults.disk import Memory, Operation, SimulatedDisk
from faults.relays import PARTS, Undisturbed, in_parts
from faults.test_crashes import crashed, crashes

from relayjax import backend, files
from relayjax.audit import audit
from relayjax.identity import Keys, find_keys
from relayjax.workdir import Workdir


def test_keys_are_durable_before_the_record_that_brings_them(undisturbed: Undisturbed, memory_backed: Path):
    assert tried(undisturbed, memory_backed, slice(None, None, 9)) > 8


@pytest.mark.slow
@pytest.mark.faults
@in_parts
def test_keys_are_durable_whenever_it_ends(undisturbed: Undisturbed, memory_backed: Path, part: int):
    assert tried(undisturbed, memory_backed, slice(part, None, PARTS)) > 8


def tried(undisturbed: Undisturbed, memory_backed: Path, part: slice) -> int:
    """Rotates the orderer's keys and tries some of the crashes in it; returns how many."""
    before = undisturbed.played.operations[: undisturbed.played.acknowledged[2]]
    root = memory_backed / "rotated"
    Memory(before).write(root)
    disk, old = SimulatedDisk(root, before), Keys.load(root / "run" / "keys", "v0")
    with files.using(disk), backend.open_membership(root / "run") as members:
        members.rotate(old)
        done = len(disk.done)
    cases = list(crashes(disk.done, first=len(before) + 1))[part]
    for n, fate, _ in cases:
        check(undisturbed, disk.done, n, fate, memory_backed / "crashed", acknowledged=n >= done)
    return len(cases)


def check(
    undisturbed: Undisturbed,
    operations: Sequence[Operation],
    n: int,
    fate: str,
    directory: Path,
    acknowledged: bool,
) -> None:
    crashed(operations, n, fate).write(directory)
    run, where = directory / "run", f"{fate} after {n}"
    old = Keys.load(run / "keys", "v0")
    with backend.open_membership(run) as members:
        changed = members.state.members["v0"].signing != old.public.signing
        assert changed or not acknowledged, f"{where}: lost"
        if not changed:
            members.rotate(old)
    signing = backend.read_history(run).state.members["v0"].signing
    assert find_keys(run / "keys", "v0", signing), f"{where}: locked out"
    with backend.open_run(undisturbed.config, run) as going_on:
        going_on.step()
    audit(Workdir(run))
