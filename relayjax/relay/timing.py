"""Where a round's time goes, by stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("train", "encode", "hash", "store", "score", "value", "ledger", "handoff", "observe")
"""`observe` is the experimenter's look at the test set; a real relay does not have it."""


class Stopwatch:
    """Adds up seconds by stage; stages do not nest. Any thread may count.

    Beside the stages it counts for how long nobody trains between two legs: what a relay as a whole costs
    beyond training, however much of its other work is done meanwhile.
    """

    def __init__(self) -> None:
        self.seconds = _nothing()
        self._idle = 0.0
        self._trained: float | None = None
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the time inside the `with` block towards a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[name] += time.perf_counter() - begin

    def train(self, begin: float, end: float) -> None:
        """Counts a leg's training, and the idle time before it.

        Args:
          begin, end: of the training, by `time.perf_counter`; those of one relay do not overlap.
        """
        with self._lock:
            self.seconds["train"] += end - begin
            if self._trained is not None:
                self._idle += begin - self._trained
            self._trained = end

    def lap(self) -> tuple[dict[str, float], float]:
        """The seconds since the last lap by stage, and those idle; starts a new one."""
        with self._lock:
            seconds, self.seconds = self.seconds, _nothing()
            idle, self._idle = self._idle, 0.0
        return seconds, idle


def _nothing() -> dict[str, float]:
    return dict.fromkeys(STAGES, 0.0)
