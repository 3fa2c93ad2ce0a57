"""A log that shows less than before: it is refused at once, and given up after a time only.

A copy that was put back, a cache on the way that is stale, or somebody who replays an old checkpoint all look
alike. Nothing is taken in meanwhile, so waiting costs nothing but time; evidence is kept from the first time.
"""

from __future__ import annotations

from collections.abc import Callable

from relayjax.errors import RollbackError


class Rollbacks:
    """For how long a log has shown less than before."""

    def __init__(self, seconds: float, clock: Callable[[], float]):
        """Has seen nothing of it.

        Args:
          seconds: after which the log is given up.
          clock: seconds, from anywhere, never backwards.
        """
        self._seconds, self._clock = seconds, clock
        self._since: float | None = None

    def end(self) -> None:
        """The log shows all again, or can't be seen."""
        self._since = None

    def outlast(self, error: RollbackError) -> str:
        """Waits on; returns what is to be told.

        Args:
          error: how the log was refused.

        Raises:
          RollbackError: it has shown less for too long.
        """
        now = self._clock()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._seconds:
            raise error
        return f"refused: {error}; asking again for {self._seconds:g} s"
