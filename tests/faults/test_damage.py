"""A flipped bit, a lost end or a lost file, anywhere in a directory: refused or harmless, never believed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from faults.relays import PARTS, Undisturbed, in_parts
from faults.tally import Tally

from relayjax import backend
from relayjax.errors import RelayError
from relayjax.identity import Keys

pytestmark = pytest.mark.usefixtures("compiled_once")

BESIDE = ("keys", "lock", "metrics.jsonl")
"""What no ledger speaks of, so that `verify` need not find damage there."""


@dataclass(frozen=True)
class Damage:
    """One file with other content.

    Attributes:
      kind: "flip", "cut" or "lost".
      file: below the run's directory.
      content: what it holds then; None when it is gone.
    """

    kind: str
    file: str
    content: bytes | None


@dataclass(frozen=True)
class Whole:
    """A run before the damage.

    Attributes:
      directory: its own.
      settled: rounds that are settled in it.
      keys: that open everything.
      head: what `open_head` gives.
      undisturbed: how it ends.
    """

    directory: Path
    settled: int
    keys: Keys
    head: dict[str, np.ndarray]
    undisturbed: Undisturbed


@pytest.fixture(scope="module")
def runs(undisturbed: Undisturbed, memory_backed: Path) -> list[Whole]:
    """A run with half of its rounds to come, and a finished one."""
    base, found = memory_backed / "whole", []
    for settled in (2, 4):
        directory = base / str(settled)
        with backend.open_run(undisturbed.config, directory) as run:
            while run.state.round.number <= settled:
                run.step()
        keys = Keys.load(directory / "keys", "v0")
        found.append(Whole(directory, settled, keys, backend.open_head(directory, keys), undisturbed))
    return found


def test_damage_is_refused_or_harmless(runs: list[Whole], memory_backed: Path):
    for whole in runs:
        tried, refused = withstand(whole, list(damages(whole.directory, 2))[::7], memory_backed / "damaged")
        assert refused > tried // 3 > 3


@pytest.mark.slow
@pytest.mark.faults
@in_parts
def test_any_damage_is_refused_or_harmless(runs: list[Whole], memory_backed: Path, tally: Tally, part: int):
    flips = tried = refused = 0
    for whole in runs:
        cases = list(damages(whole.directory, 44))[part::PARTS]
        counts = withstand(whole, cases, memory_backed / "damaged")
        flips += sum(damage.kind == "flip" for damage in cases)
        tried, refused = tried + counts[0], refused + counts[1]
    others = tried - flips
    tally.add(flips=flips, others=others)
    print(f"\n{flips} flipped bits, {others} files cut short or lost; {refused} refused, the rest harmless")
    assert flips > 2_000 // PARTS


def damages(directory: Path, flips: int) -> Iterator[Damage]:
    """For every file some flipped bits, half as many lost ends, and its loss."""
    rng = random.Random(str(flips))
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        file, content = path.relative_to(directory).as_posix(), path.read_bytes()
        yield Damage("lost", file, None)
        for _ in range(flips if content else 0):
            flipped = bytearray(content)
            flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            yield Damage("flip", file, bytes(flipped))
        for _ in range(flips // 2 if content else 0):
            yield Damage("cut", file, content[: rng.randrange(len(content))])


def withstand(whole: Whole, cases: Iterable[Damage], directory: Path) -> tuple[int, int]:
    """Lets everybody look at each damage, and a run go on from it.

    Returns:
      How many there were, and how many of them somebody refused.
    """
    problems: list[str] = []
    tried = refused = 0
    for damage in cases:
        tried += 1
        shutil.rmtree(directory, ignore_errors=True)
        path = shutil.copytree(whole.directory, directory) / damage.file
        path.unlink()
        if damage.content is not None:
            path.write_bytes(damage.content)
        try:
            refused += any(
                [_verify(whole, directory, damage), _open(whole, directory), _go_on(whole, directory)]
            )
        except Exception as error:
            problems.append(f"{damage.kind} of {damage.file}: {type(error).__name__}: {error}")
    assert not problems, "\n".join([f"{len(problems)} of {tried}", *problems[:20]])
    return tried, refused


def _verify(whole: Whole, directory: Path, damage: Damage) -> bool:
    """Whether an auditor refuses the directory; whatever the ledger speaks of, it must."""
    try:
        backend.verify(directory, keys=whole.keys)
    except RelayError:
        return True
    assert damage.file.split("/")[0] in BESIDE, "not found"
    return False


def _open(whole: Whole, directory: Path) -> bool:
    """Whether a licence holder is refused; otherwise it gets the right weights."""
    try:
        head = backend.open_head(directory, whole.keys)
    except RelayError:
        return True
    assert all((head[name] == whole.head[name]).all() for name in whole.head), "wrong weights"
    return False


def _go_on(whole: Whole, directory: Path) -> bool:
    """Whether the run is refused; otherwise it ends as it should."""
    try:
        whole.undisturbed.goes_on(directory, whole.settled, whole=False)
    except RelayError:
        return True
    return False
