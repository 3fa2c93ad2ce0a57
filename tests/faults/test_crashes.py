"""A run that ends at any operation, whatever the disk then remembers, goes on as if nothing had happened.

One undisturbed run is recorded, operation by operation. What a disk holds after its first n operations and a
crash is then made from the record, without playing them again, and a process goes on from there.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from faults.disk import FATES, Memory, Operation, SimulatedDisk
from faults.relays import PARTS, Played, Undisturbed, acknowledged_by, in_parts, play
from faults.tally import Tally

pytestmark = pytest.mark.usefixtures("compiled_once")

Case = tuple[int, str, int]
"""After how many operations the process ends, what is there then, and which draw of it."""

DRAWS = 12
"""How often chance decides what a reordering disk has kept."""


def test_a_run_goes_on_after_a_crash(undisturbed: Undisturbed, memory_backed: Path):
    cases = list(crashes(undisturbed.played.operations))
    tried = go_on(undisturbed, undisturbed.played, cases[::61], memory_backed / "crashed")
    assert tried > 15


@pytest.mark.slow
@pytest.mark.faults
@in_parts
def test_a_run_goes_on_after_any_crash(
    undisturbed: Undisturbed, other_undisturbed: Undisturbed, memory_backed: Path, tally: Tally, part: int
):
    for run in (undisturbed, other_undisturbed):
        operations = run.played.operations
        points = list(crashes(operations, draws=DRAWS))
        cases = different(run.played, points)
        tried = go_on(run, run.played, cases[part::PARTS], memory_backed / "crashed", tally)
        tally.add(crashes=len(points[part::PARTS]))
        print(f"\n{tried} different disks after a crash of a run of {len(operations)} operations")
        assert tried > 800 // PARTS


def test_a_run_goes_on_after_a_second_crash(undisturbed: Undisturbed, memory_backed: Path):
    for n in second_starts(undisturbed.played.operations)[3::4]:
        played = resumed(undisturbed, n, memory_backed / "resumed")
        cases = list(crashes(played.operations, first=n + 1, fates=("cut",)))
        assert go_on(undisturbed, played, cases[:: len(cases) // 6], memory_backed / "crashed") > 5


@pytest.mark.slow
@pytest.mark.faults
@in_parts
def test_a_run_goes_on_after_any_second_crash(
    undisturbed: Undisturbed, memory_backed: Path, tally: Tally, part: int
):
    tried = 0
    for n in second_starts(undisturbed.played.operations)[part::PARTS]:
        played = resumed(undisturbed, n, memory_backed / "resumed")
        points = list(crashes(played.operations, first=n + 1, fates=("cut", "reordered")))
        tried += go_on(undisturbed, played, different(played, points), memory_backed / "crashed", tally)
        tally.add(crashes=len(points))
    print(f"\n{tried} different disks after crashes of runs that had been killed before")
    assert tried > 400 // PARTS


def crashes(
    operations: Sequence[Operation], first: int = 0, fates: Iterable[str] = FATES, draws: int = 1
) -> Iterator[Case]:
    """Every crash after so many operations that makes a difference."""
    for n in range(first, len(operations) + 1):
        for fate in fates:
            if fate != "torn" or (operations[n - 1].name == "write" and n):
                yield from ((n, fate, draw) for draw in range(draws if fate == "reordered" else 1))


def different(played: Played, points: Iterable[Case]) -> list[Case]:
    """Of crashes that leave the same disk behind, after as many acknowledged rounds, the first one."""
    found: dict[tuple[str, int], Case] = {}
    for n, fate, draw in points:
        disk = crashed(played.operations, n, fate, draw).digest()
        found.setdefault((disk, acknowledged_by(played, n)), (n, fate, draw))
    return list(found.values())


def second_starts(operations: Sequence[Operation]) -> list[int]:
    """Where a first process is killed: at operations that commit something, and right before and after."""
    commits = [
        n
        for n, operation in enumerate(operations)
        if operation.name == "rename" and (operation.target == "checkpoint" or "seals" in operation.path)
    ]
    return sorted({n + shift for n in commits[1::2] for shift in (0, 1, 2)})


def resumed(undisturbed: Undisturbed, n: int, root: Path) -> Played:
    """A run whose process was killed after n operations, gone on with for a round in a second one."""
    before = undisturbed.played.operations[:n]
    Memory(before).write(root)
    return play(undisturbed.config, SimulatedDisk(root, before), rounds=1)


def go_on(
    undisturbed: Undisturbed,
    played: Played,
    cases: Iterable[Case],
    directory: Path,
    tally: Tally = Tally(None),  # noqa: B008  (frozen)
) -> int:
    """Goes on from each of the crashes; returns how many there were, and fails with all that went wrong."""
    problems: list[str] = []
    disks: set[str] = set()
    tried = 0
    for n, fate, draw in cases:
        tried += 1
        memory = crashed(played.operations, n, fate, draw)
        disks.add(memory.digest())
        memory.write(directory)
        try:
            undisturbed.goes_on(directory / "run", acknowledged_by(played, n))
        except Exception as error:
            last = played.operations[n - 1] if n else None
            problems.append(f"{fate} {draw} after {n}, {last}: {type(error).__name__}: {error}")
    tally.add(disks)
    assert not problems, "\n".join([f"{len(problems)} of {tried}", *problems[:20]])
    return tried


def crashed(operations: Sequence[Operation], n: int, fate: str, draw: int = 0) -> Memory:
    """What is there when the process ends after n operations."""
    before = list(operations[:n])
    if fate == "torn":
        last = before.pop()
        before.append(Operation("write", last.path, last.data[: len(last.data) // 2]))
    memory = Memory(before)
    memory.crash(fate, random.Random(f"{n} {fate} {draw}"))
    return memory
