"""A thread that keeps a bucket or a mirror in step while its maintainer works, however long it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event
from typing import Protocol

from relayjax.errors import DiskError, ExchangeError

_LONGEST = 30.0
"""Seconds between two passes while they fail."""


class Passing(Protocol):
    """What is kept in step, one pass after the other."""

    @property
    def finished(self) -> bool:
        """Whether the relay is finished and all of it was passed."""
        ...

    def step(self) -> None:
        """One pass.

        Raises:
          ExchangeError, DiskError: it failed; the next pass goes on.
        """
        ...

    def tidy(self) -> None:
        """Removes what has served, after the end; errors as for `step`."""
        ...


class Keeping:
    """The thread at work."""

    def __init__(self, passing: Passing, stop: Event, work: Future[None]):
        self._passing, self._stop, self._work = passing, stop, work

    def check(self) -> None:
        """Raises what has ended the work, if anything has."""
        if self._work.done():
            self._work.result()

    def finish(self) -> None:
        """Waits until all was passed; tidies up, if that is possible now."""
        while not self._passing.finished:
            self.check()
            self._stop.wait(0.1)
        self._stop.set()
        self._work.result()
        with suppress(ExchangeError, DiskError):
            self._passing.tidy()


@contextmanager
def keeping(passing: Passing, pace: float, tell: Callable[[str], None]) -> Iterator[Keeping]:
    """Passes again and again; failures that may pass are told and outlasted.

    Args:
      passing: used by the thread alone until the end of the context, or until `finish`.
      pace: seconds between two passes.
      tell: is given lines for who watches, from the thread.
    """
    stop = Event()

    def work() -> None:
        told, wait = "", pace
        while not stop.is_set():
            try:
                passing.step()
                told, wait = "", pace
            except (ExchangeError, DiskError) as error:
                if str(error) != told:
                    told = str(error)
                    tell(f"not in step: {told}")
                wait = min(2 * wait, _LONGEST)
            stop.wait(wait)

    with ThreadPoolExecutor(1, thread_name_prefix="keeping") as pool:
        kept = Keeping(passing, stop, pool.submit(work))
        try:
            yield kept
        finally:
            stop.set()
