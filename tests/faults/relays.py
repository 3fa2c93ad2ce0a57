"""A relay of milliseconds to break, and what must hold when it goes on.

No acknowledged leg is lost: every round that was announced is in the log again, with all its artefacts.
No wrong weights are restored: the head that a run goes on from is the undisturbed run's, bit for bit.
Only typed errors: whatever is raised is a `RelayError`.
One end: the finished run has the root of the undisturbed one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.disk import Operation, SimulatedDisk

from relayjax import backend, config, files
from relayjax.audit import audit
from relayjax.config import Config
from relayjax.errors import RelayError
from relayjax.relay.events import Event, Settled
from relayjax.workdir import Workdir

SMALL = {
    "task.hidden": "4",
    "leg.steps": "2",
    "relay.participants": "3",
    "relay.validators": "2",
    "relay.rounds": "4",
    "relay.braid_rounds": "1,3",
    "relay.draw": "40",
    "relay.checkpoint_every": "2",
}
"""Chain and braid rounds, each with and without a model checkpoint."""

OTHER = SMALL | {
    "relay.participants": "4",
    "relay.codec": "lossless",
    "relay.braid_rounds": "2,4",
    "relay.checkpoint_every": "1",
}
"""Begins with a chain round, and has another codec and a model checkpoint of every version."""

PARTS = 8

in_parts = pytest.mark.parametrize("part", range(PARTS), ids=lambda part: f"part{part}")
"""The full suite in parts: `make faults` gives each a process of its own, for processes that had played some
thousand runs were twice seen to die in native code, with a damaged heap; why is not known yet."""


@functools.cache
def small(rounds: int = 4) -> Config:
    """The config of a small relay of so many rounds."""
    return config.resolve("digits", SMALL | {"relay.rounds": str(rounds)}, seed=7)


@functools.cache
def other() -> Config:
    """The config of another small relay."""
    return config.resolve("digits", OTHER, seed=8)


@dataclass(frozen=True)
class Played:
    """What came of a run, or of a part of one.

    Attributes:
      operations: all that reached the disk, from the first one on.
      acknowledged: after how many of them a round was announced, or seen to be settled by who opened the run.
      count, writes, reads: how many operations were tried.
      error: why it ended early, if it did.
    """

    operations: Sequence[Operation]
    acknowledged: dict[int, int]
    count: int
    writes: int
    reads: int
    error: RelayError | None


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to.

    Attributes:
      config: of the run.
      played: its operations.
      entries: of its log.
      root: of its log.
      heads: bits of the newest version after 0, 1, ... rounds.
    """

    config: Config
    played: Played
    entries: list[bytes]
    root: str
    heads: list[bytes]

    @classmethod
    def of(cls, config: Config, root: Path) -> Undisturbed:
        """Plays a run below an empty directory."""
        played = play(config, SimulatedDisk(root))
        assert played.error is None
        heads: list[bytes] = []
        with backend.open_run(config, root / "again") as run:
            heads.append(run.head.tobytes())
            while not run.finished:
                run.step()
                heads.append(run.head.tobytes())
            return cls(config, played, run._relay.log.entries(), run.root, heads)

    def goes_on(self, directory: Path, acknowledged: int, *, whole: bool = True) -> None:
        """Opens what is left of a run and plays it to its end; see the top of this file.

        Args:
          directory: the run's.
          acknowledged: rounds that were announced.
          whole: check everything that lies in the directory in the end.
        """
        with backend.open_run(self.config, directory) as run:
            settled = run.state.round.number - 1
            assert settled >= acknowledged, f"{acknowledged - settled} acknowledged rounds are lost"
            entries = run._relay.log.entries()
            assert entries == self.entries[: len(entries)]
            assert run.head.tobytes() == self.heads[settled], "wrong weights"
            run.run()
            assert run.root == self.root
            assert run.head.tobytes() == self.heads[-1], "wrong weights"
        if whole:
            assert audit(Workdir(directory)).root == self.root


def play(config: Config, disk: SimulatedDisk, rounds: int | None = None) -> Played:
    """Opens the run in `run` below a disk's root and plays it to its end, or until something happens.

    Args:
      config: of the run.
      disk: where it lies.
      rounds: play so many rounds only.
    """
    acknowledged: dict[int, int] = {}
    error: RelayError | None = None

    def listen(event: Event) -> None:
        if isinstance(event, Settled):
            acknowledged[event.round] = len(disk.done)

    with files.using(disk):
        try:
            with backend.open_run(config, disk.root / "run") as run:
                run.subscribe(listen)
                acknowledged[run.state.round.number - 1] = len(disk.done)  # whoever opens a run sees them
                while not run.finished and (rounds is None or len(acknowledged) <= rounds):
                    run.step(overlap=rounds is None)
                run.flush()
        except RelayError as raised:
            error = raised
    return Played(tuple(disk.done), acknowledged, disk.count, disk.writes, disk.reads, error)


def acknowledged_by(played: Played, done: int) -> int:
    """How many rounds were acknowledged when so many operations were done."""
    return max((number for number, at in played.acknowledged.items() if at <= done), default=0)
