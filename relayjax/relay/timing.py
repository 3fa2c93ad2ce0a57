"""Where a round's time goes, by stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("train", "encode", "hash", "store", "score", "value", "ledger", "handoff", "observe")
"""`observe` is the experimenter's look at the test set; a real relay does not have it."""


class Stopwatch:
    """Adds up seconds by stage; stages do not nest. Any thread may count."""

    def __init__(self) -> None:
        self.seconds = _nothing()
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

    def lap(self) -> dict[str, float]:
        """The seconds since the last lap by stage; starts a new one."""
        with self._lock:
            seconds, self.seconds = self.seconds, _nothing()
        return seconds


def _nothing() -> dict[str, float]:
    return dict.fromkeys(STAGES, 0.0)
