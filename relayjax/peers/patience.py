"""How long a phase has waited for those who stay away, by the clock of who orders the records.

Only time in which the orderer can hear counts. While it is stopped, asleep or busy measuring, nobody can be
heard, and whoever acted meanwhile must not be late for that: of the time between two looks a third of what
is waited counts at most. Some are waited for a half, a quarter, … of the patience only (`lapses.py`), so
each of these is counted by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

HALVINGS = 16
"""How often the patience can be halved: a minute is then a millisecond."""

_SHARE = 3


@dataclass(frozen=True)
class Waiting:
    """How long a maintainer waits, by its own clock.

    Attributes:
      patience: seconds that a phase waits for those who stay away, while it orders.
      takeover: seconds without anything new in the log after which it wants another orderer.
      clock: seconds, from anywhere, never backwards.
      begin: not until every place is taken before the first round.
    """

    patience: float
    takeover: float
    clock: Callable[[], float]
    begin: bool = False


class Patience:
    """The waiting of one phase after the other."""

    def __init__(self, seconds: float, clock: Callable[[], float]):
        """Begins to count.

        Args:
          seconds: that a phase waits; at 0 it waits for nobody.
          clock: seconds, from anywhere, never backwards.
        """
        self._limits = [seconds / 2**halvings for halvings in range(HALVINGS + 1)]
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Begins anew: a phase has begun."""
        self._waited, self._looked = [0.0] * len(self._limits), self._clock()

    def look(self) -> None:
        """Looks at the clock, and counts what has passed since the last look."""
        self._waited, self._looked = self._so_far()

    def skip(self) -> None:
        """Leaves out what has passed since the last look: nobody could be heard."""
        self._looked = self._clock()

    def over(self, halvings: int = 0) -> bool:
        """Whether the phase has waited for long enough, for those whose patience was halved so often."""
        halvings = min(halvings, HALVINGS)
        return self._waited[halvings] > self._limits[halvings]

    @property
    def left(self) -> float:
        """Seconds until the phase has waited for the whole patience, if it is looked at all the time."""
        return max(0.0, self._limits[0] - self._so_far()[0][0])

    def _so_far(self) -> tuple[list[float], float]:
        """How long the phase has waited by now, and what the clock says."""
        now = self._clock()
        passed = now - self._looked
        waited = zip(self._waited, self._limits, strict=True)
        return [so_far + (min(passed, limit / _SHARE) if limit else passed) for so_far, limit in waited], now
