"""A disk that refuses, is full or writes only a part: a typed error, and afterwards the run goes on."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from faults.disk import Fault, Memory, SimulatedDisk
from faults.relays import PARTS, Undisturbed, acknowledged_by, in_parts, play, small
from faults.tally import Tally

from relayjax import backend, files
from relayjax.errors import DiskError, RelayError, WorkdirError

pytestmark = pytest.mark.usefixtures("compiled_once")

Case = tuple[str, int]
"""What goes wrong, and at which operation."""


def test_a_run_goes_on_after_an_error(undisturbed: Undisturbed, memory_backed: Path):
    refused, harmless = goes_on(undisturbed, list(errors(undisturbed))[::53], memory_backed / "failing")
    assert refused > 5 and harmless > 0


@pytest.mark.slow
@pytest.mark.faults
@in_parts
def test_a_run_goes_on_after_any_error(
    undisturbed: Undisturbed, memory_backed: Path, tally: Tally, part: int
):
    cases = list(errors(undisturbed))[part::PARTS]
    refused, harmless = goes_on(undisturbed, cases, memory_backed / "failing")
    tally.add(errors=refused + harmless)
    print(f"\n{refused + harmless} errors of the disk, {refused} of which ended the run")
    assert refused > 400 // PARTS and harmless > 0


def test_a_file_that_cannot_be_read_is_named(undisturbed: Undisturbed, memory_backed: Path):
    """Reads of a run that is gone on with, and of its check, fail one by one."""
    root = memory_backed / "unreadable"
    memory = Memory(undisturbed.played.operations)

    def look(fault: Fault) -> SimulatedDisk:
        memory.write(root)
        disk = SimulatedDisk(root, fault=fault)
        with files.using(disk):
            backend.open_run(undisturbed.config, root / "run").close()
            backend.verify(root / "run")
        return disk

    reads = look(Fault()).reads
    assert reads > 50
    for at in range(1, reads + 1, 7):
        with pytest.raises(RelayError, match=str(root / "run")):
            look(Fault("read", at))


def test_a_file_in_the_way_is_named(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").touch()
    (tmp_path / "run" / "store").write_text("mine")
    with pytest.raises(DiskError, match=r"store/.*: Not a directory; move the file away"):
        backend.open_run(small(), tmp_path / "run")
    (tmp_path / "run" / "lock").unlink()
    (tmp_path / "run" / "lock").mkdir()
    with pytest.raises(WorkdirError, match=r"lock: can't be opened"):
        backend.open_run(small(), tmp_path / "run")


def errors(undisturbed: Undisturbed) -> Iterator[Case]:
    """Every operation refused, the disk full from every one on, every write cut short."""
    played = undisturbed.played
    for at in range(1, max(played.count, played.writes) + 1):
        yield "EIO", at
        yield "ENOSPC", at
        if at <= played.writes:
            yield "short", at


def goes_on(undisturbed: Undisturbed, cases: Iterable[Case], root: Path) -> tuple[int, int]:
    """Plays a run with each error, then goes on; half of the times, the power fails in between.

    Returns:
      How many errors ended the run, and how many did it no harm.
    """
    problems: list[str] = []
    refused = harmless = 0
    for kind, at in cases:
        Memory().write(root)
        disk = SimulatedDisk(root, fault=Fault(kind, at))
        try:
            played = play(undisturbed.config, disk)
            refused, harmless = refused + (played.error is not None), harmless + (played.error is None)
            assert played.error is None or isinstance(played.error, DiskError), repr(played.error)
            assert kind != "short" or played.error is None
            if at % 2:
                memory = Memory(played.operations)
                memory.crash("reordered", random.Random(at))
                memory.write(root)
            undisturbed.goes_on(root / "run", acknowledged_by(played, len(played.operations)))
        except Exception as error:
            problems.append(f"{kind} at {at}: {type(error).__name__}: {error}")
    assert not problems, "\n".join([f"{len(problems)} of {refused + harmless}", *problems[:20]])
    return refused, harmless
