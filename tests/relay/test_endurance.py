"""Proofs that take minutes: kills at random moments, and the full digits relay against its promises."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relayjax import backend, config
from relayjax.history import History

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LONGER = ["--config=digits:smoke", "--config.relay.rounds=100", "--config.relay.checkpoint_every=3"]


def command(directory: Path) -> list[str]:
    return [sys.executable, "-m", "relayjax", "run", "--noreport", f"--workdir={directory}", *LONGER]


def root_of(directory: Path) -> str:
    return backend.verify(directory).audit.root


def test_killed_at_twenty_random_moments_it_ends_with_the_same_root(tmp_path: Path):
    def timed(directory: Path) -> float:
        begin = time.monotonic()
        subprocess.run(command(directory), check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - begin

    timed(tmp_path / "warm")
    duration, expected = timed(tmp_path / "whole"), root_of(tmp_path / "whole")
    rng, kills, finished = random.Random(0), 0, 0
    while kills < 20:
        directory = tmp_path / f"killed{finished}"
        with subprocess.Popen(
            command(directory), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                _, said = process.communicate(timeout=rng.uniform(0, duration))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
                continue
        assert process.returncode == 0, said
        assert root_of(directory) == expected
        finished += 1
        duration *= 0.9  # the machine has become faster, or little was left to do
    timed(tmp_path / f"killed{finished}")
    assert root_of(tmp_path / f"killed{finished}") == expected


def test_a_disk_that_takes_no_more_is_named_and_the_run_goes_on(tmp_path: Path):
    """The operating system refuses files beyond some length, wherever a relay writes them."""
    subprocess.run(command(tmp_path / "whole"), check=True, stdout=subprocess.DEVNULL)
    expected, directory = root_of(tmp_path / "whole"), tmp_path / "limited"
    largest = max(path.stat().st_size for path in (tmp_path / "whole").rglob("*"))
    for limit in (1_000, largest - 1):
        done = subprocess.run(
            command(directory),
            capture_output=True,
            text=True,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        assert done.returncode == 1
        assert "go on with the same command" in done.stderr and "Traceback" not in done.stderr
    subprocess.run(command(directory), check=True, stdout=subprocess.DEVNULL)
    assert root_of(directory) == expected


def play(directory: Path, **overrides: str) -> History:
    values = {name.replace("__", "."): text for name, text in overrides.items()}
    with backend.open_run(config.resolve("digits", values), directory) as run:
        run.run()
    return backend.verify(directory).audit.history


def paid(past: History, name: str, reasons: tuple[str, ...] = ("value", "royalty", "remainder")) -> int:
    return sum(
        amount
        for settled in past.rounds
        for _, target, amount, reason in settled.settle.transfers
        if target == name and reason in reasons
    )


def net(past: History, name: str) -> int:
    """What a participant has more than it was granted, deposits lost included."""
    return past.state.balances[name] - past.state.rules.endowment  # type: ignore[attr-defined]


def test_the_digits_relay_keeps_its_promises(tmp_path: Path):
    """One seed, one root; who works is paid, who returns its parent unchanged is not."""
    first, second = play(tmp_path / "first"), play(tmp_path / "second")
    assert root_of(tmp_path / "first") == root_of(tmp_path / "second")
    assert second == first
    names = [f"p{i}" for i in range(10)]
    gains = {name: net(first, name) for name in names}
    assert all(gain > 0 for gain in gains.values()), gains
    idle = play(tmp_path / "idle", experiment__deviation="free_rider", experiment__deviants="3")
    assert paid(idle, "p3") == 0 and net(idle, "p3") <= 0
    gains = {name: net(idle, name) for name in names if name != "p3"}
    assert all(gain > 0 for gain in gains.values()), gains


def test_five_seeds_come_close_to_pooled_training():
    done = subprocess.run(
        [
            sys.executable,
            "benchmarks/relay_quality.py",
            "--schemes=pooled,relay with ledger",
            "--margin=0.005",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
