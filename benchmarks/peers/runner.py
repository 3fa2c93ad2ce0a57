"""Runs the peers of one size beside one another and says how fast each was.

Each is a process of its own; they take turns, a leg each, so that whatever else the machine does falls on
all alike, and every ratio is of two legs of one turn. Where the accelerator cannot be shared, they run one
after another.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """Who is measured.

    Attributes:
      name: in tables.
      module: of this folder.
      python: that runs it.
      spec: what it is told.
    """

    name: str
    module: str
    python: str
    spec: dict[str, Any]


@dataclass
class Measured:
    """What was found of a peer.

    Attributes:
      device: its name.
      start: seconds from the start of its process to the end of its first leg.
      first: seconds of its first leg, with compilation.
      legs: seconds of the legs after it, a turn each.
      processor: seconds that they kept the host's processor busy, all threads together.
      memory: peak in bytes, and where that figure is from.
    """

    device: str = ""
    start: float = 0.0
    first: float = 0.0
    legs: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: tuple[int, str] = (0, "")

    @property
    def median(self) -> float:
        """Seconds of a leg."""
        return statistics.median(self.legs)

    @property
    def compilation(self) -> float:
        """Seconds that the first leg took longer than the others."""
        return max(0.0, self.first - self.median)


class Worker:
    """A peer's process."""

    def __init__(self, peer: Peer, spinning: bool):
        environment = os.environ | {
            "PYTHONPATH": str(HERE.parent),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # so that the peak is what was needed
            # Threads of OpenMP that spin while they wait make PyTorch slower by tens of times where anything
            # else wants the processor.
            "OMP_WAIT_POLICY": "ACTIVE" if spinning else "PASSIVE",
        }
        command = [peer.python, "-m", f"peers.{peer.module}", json.dumps(peer.spec)]
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.measured = Measured(device=self._answer()["device"])
        self.measured.first = self._ask("first")["seconds"]
        self.measured.start = time.perf_counter() - begin

    def leg(self) -> None:
        """Measures a leg more."""
        answer = self._ask("leg")
        self.measured.legs.append(answer["seconds"])
        self.measured.processor.append(answer["processor"])

    def close(self) -> Measured:
        """Ends the process."""
        memory = self._ask("memory")
        self.measured.memory = memory["bytes"], memory["source"]
        self._process.communicate()
        return self.measured

    def _ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise SystemExit(f"a peer ended early (status {self._process.wait()}); what it said is above")
        return json.loads(line)


def measure(
    peers: Sequence[Peer], repeats: int, *, together: bool, spinning: bool = False
) -> dict[str, Measured]:
    """Measures peers.

    Args:
      peers: who.
      repeats: legs of each, beside the first.
      together: whether they take turns, or run one after another.
      spinning: whether threads of OpenMP spin while they wait.
    """
    if not together:
        found = {}
        for peer in peers:
            worker = Worker(peer, spinning)
            for _ in range(repeats):
                worker.leg()
            found[peer.name] = worker.close()
        return found
    workers = {peer.name: Worker(peer, spinning) for peer in peers}
    order = list(workers.values())
    for turn in range(repeats):
        for worker in order[turn % len(order) :] + order[: turn % len(order)]:
            worker.leg()
    return {name: worker.close() for name, worker in workers.items()}


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    first, middle, third = statistics.quantiles(values, method="inclusive")
    return first, middle, third
