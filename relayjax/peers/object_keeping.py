"""A thread that keeps a bucket in step while the ordering maintainer works, however long it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event

from relayjax.errors import DiskError, ExchangeError
from relayjax.peers.object_publishing import Publisher

_LONGEST = 30.0
"""Seconds between two passes while they fail."""


class Keeping:
    """A publisher at work."""

    def __init__(self, publisher: Publisher, stop: Event, work: Future[None]):
        self._publisher, self._stop, self._work = publisher, stop, work

    def check(self) -> None:
        """Raises what has ended the work, if anything has."""
        if self._work.done():
            self._work.result()

    def finish(self) -> None:
        """Waits until the bucket has all that the folder has; tidies up, if the store lets us now."""
        while not self._publisher.finished:
            self.check()
            self._stop.wait(0.1)
        self._stop.set()
        self._work.result()
        with suppress(ExchangeError, DiskError):
            self._publisher.step(look=True)


@contextmanager
def keeping(publisher: Publisher, pace: float, tell: Callable[[str], None]) -> Iterator[Keeping]:
    """Has a publisher pass again and again; failures that may pass are told and outlasted.

    Args:
      publisher: used by the thread alone until the end of the context, or until `finish`.
      pace: seconds between two passes.
      tell: is given lines for who watches, from the thread.
    """
    stop = Event()

    def work() -> None:
        told, wait = "", pace
        while not stop.is_set():
            try:
                publisher.step()
                told, wait = "", pace
            except (ExchangeError, DiskError) as error:
                if str(error) != told:
                    told = str(error)
                    tell(f"not published: {told}")
                wait = min(2 * wait, _LONGEST)
            stop.wait(wait)

    with ThreadPoolExecutor(1, thread_name_prefix="publisher") as pool:
        kept = Keeping(publisher, stop, pool.submit(work))
        try:
            yield kept
        finally:
            stop.set()
