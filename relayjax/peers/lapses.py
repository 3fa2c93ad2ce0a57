"""For how long the others wait for a member, by how it has behaved so far.

    wait = patience / 2ᵏ

k rises by one when it is left behind, and falls by one when its work is taken, to 0 at least. That holds
where staying away costs nothing: while bids and pledges are awaited. Afterwards who stays away pays with its
bid, its deposit or a slash, and less time would take these from who is honestly at work. A bid takes no work,
so one that comes in the second half of its author's time counts like one that did not come.

A piece of work adds half of the patience at most to a wait, and being left behind halves it. So over the
whole relay nobody costs the others more such waiting than twice the patience and once more for each piece of
its work that was taken.

Who was left behind is not waited for at all until it is heard of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from relayjax.mechanism.state import Phase
from relayjax.peers.patience import HALVINGS, Patience
from relayjax.records import Bid, Record, Score, Submit, Value

_FREE = frozenset({Phase.AUCTION, Phase.TESTING, Phase.APPRAISAL})
"""Phases in which nothing is lost by staying away."""


class Lapses:
    """What an orderer remembers of the members' conduct."""

    def __init__(self, waiting: Patience):
        """Knows nothing bad of anybody.

        Args:
          waiting: of the present phase.
        """
        self._waiting = waiting
        self._silent, self._count = set[str](), Counter[str]()

    def awaited(self, names: Iterable[str], phase: Phase) -> bool:
        """Whether the others still wait for one of those whose record is missing."""
        return any(not self._out_of_time(name, phase) for name in set(names) - self._silent)

    def leave_behind(self, names: Iterable[str]) -> list[str]:
        """Goes on without members; returns those of them that had been waited for, sorted."""
        left = sorted(set(names) - self._silent)
        self._silent.update(left)
        for name in left:
            self._lapse(name)
        return left

    def hear(self, name: str) -> None:
        """Waits for a member again, as long as it has earned."""
        self._silent.discard(name)

    def take(self, record: Record) -> None:
        """Draws conclusions from a record that was taken into the log."""
        name = record.author
        if isinstance(record, Submit | Score | Value):
            self._count[name] = max(0, self._count[name] - 1)
        elif isinstance(record, Bid) and name not in self._silent and self._late(name):
            self._lapse(name)

    def _out_of_time(self, name: str, phase: Phase) -> bool:
        return self._waiting.over(self._count[name] if phase in _FREE else 0)

    def _late(self, name: str) -> bool:
        return self._waiting.over(self._count[name] + 1)

    def _lapse(self, name: str) -> None:
        self._count[name] = min(HALVINGS, self._count[name] + 1)
