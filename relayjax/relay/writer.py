"""Writes a settled round while the next one trains: one job at a time, in a thread of its own.

Orbax, sealing and fsync wait for the disk, training for the accelerator; neither needs the other. A round is
announced only when it is durable, so whoever listens never hears of one that a crash could still undo.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Writer:
    """At most one round is being written; the next one has to wait for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "relayjax-writer")
        self._job: Future[None] | None = None
        self._announce: Callable[[], None] = lambda: None

    def submit(self, write: Callable[[], None], announce: Callable[[], None]) -> None:
        """Starts writing a round, once the one before is durable.

        Args:
          write: makes the round durable; called in the writer's thread.
          announce: called in the caller's thread of the next `submit` or `wait`, when it is.
        """
        self.wait()
        self._job, self._announce = self._pool.submit(write), announce

    def wait(self) -> None:
        """Returns when everything is durable; raises what went wrong with writing it."""
        if self._job is None:
            return
        job, self._job = self._job, None
        job.result()
        self._announce()

    def close(self) -> None:
        """Lets a write that is under way come to its end, however it ends."""
        self._pool.shutdown(wait=True)
