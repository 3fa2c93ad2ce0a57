"""How long a phase has waited for those who stay away, by the clock of who orders the records.

Only time in which the orderer can hear counts. While it is stopped, asleep or busy measuring, nobody can be
heard, and whoever acted meanwhile must not be late for that: of the time between two looks a third of the
patience counts at most.
"""

from __future__ import annotations

from collections.abc import Callable

_SHARE = 3


class Patience:
    """The waiting of one phase after the other."""

    def __init__(self, seconds: float, clock: Callable[[], float]):
        """Begins to count.

        Args:
          seconds: that a phase waits; at 0 it waits for nobody.
          clock: seconds, from anywhere, never backwards.
        """
        self._seconds, self._clock = seconds, clock
        self._waited, self._looked = 0.0, clock()

    def begin(self) -> None:
        """Begins anew: a phase has begun."""
        self._waited, self._looked = 0.0, self._clock()

    def ends(self) -> bool:
        """Looks at the clock; returns whether the phase has waited for long enough."""
        now = self._clock()
        passed, self._looked = now - self._looked, now
        self._waited += min(passed, self._seconds / _SHARE) if self._seconds else passed
        return self._waited > self._seconds

    @property
    def left(self) -> float:
        """Seconds until the phase has waited for long enough, if it is looked at all the time."""
        passed = min(self._clock() - self._looked, self._seconds / _SHARE)
        return max(0.0, self._seconds - self._waited - passed)
