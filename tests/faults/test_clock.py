"""Clocks that jump: nothing that must be right depends on one."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from faults.relays import Undisturbed

from relayjax import backend

pytestmark = pytest.mark.usefixtures("compiled_once")

YEAR = 365 * 24 * 3600


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every clock of the process jumps by up to a year, forwards or backwards, each time somebody looks."""
    rng, now = random.Random(0), time.time()
    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, lambda: now + rng.uniform(-YEAR, YEAR))
    for name in ("time_ns", "monotonic_ns", "perf_counter_ns"):
        monkeypatch.setattr(time, name, lambda: int((now + rng.uniform(-YEAR, YEAR)) * 1e9))


def test_a_relay_under_jumping_clocks_has_the_same_root(
    undisturbed: Undisturbed, tmp_path: Path, jumping: None
):
    directory = tmp_path / "run"
    with backend.open_run(undisturbed.config, directory) as run:
        run.step()
        run.step()
    undisturbed.goes_on(directory, 2)


def test_the_times_of_files_mean_nothing(undisturbed: Undisturbed, tmp_path: Path):
    directory = tmp_path / "run"
    with backend.open_run(undisturbed.config, directory) as run:
        run.step()
        run.step()
    rng = random.Random(1)
    for path in directory.rglob("*"):
        os.utime(path, (rng.randrange(4 * YEAR), rng.randrange(100 * YEAR)))
    undisturbed.goes_on(directory, 2)
