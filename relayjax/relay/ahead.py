"""The next leg, trained ahead: while a round is tested and settled, and the next one is auctioned.

What a leg makes of its parent follows from the round, from whose leg it is, and from the parent. So it can
be trained as soon as these are foreseen, in a thread of its own (XLA lets Python go on meanwhile). The round
that it was foreseen for takes it if all three are what was foreseen; if not, it is dropped, and the leg is
trained as if nothing had been. The ledger is the same either way.

P: numbers handed on.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from relayjax.relay.training import Outcome


@dataclass(frozen=True, eq=False)
class Plan:
    """A leg that is to come.

    Attributes:
      round, trainer: when it is due, and whose it is.
      parent: weights that it starts from, float32 [P].
    """

    round: int
    trainer: str
    parent: np.ndarray

    def same(self, other: Plan) -> bool:
        """Whether both are one leg; equal weights elsewhere in memory count as others."""
        mine, theirs = (self.round, self.trainer), (other.round, other.trainer)
        return mine == theirs and self.parent is other.parent


class Ahead:
    """At most one leg is trained ahead, and never two at once.

    Attributes:
      early: whether a leg may begin before the round under way is tested.
    """

    def __init__(self, *, enabled: bool = True, early: bool = True):
        """Nothing is begun yet.

        Args:
          enabled: not so where several devices train together: all must be given their work in one order.
          early: not so where a device does what it is given in order: a test would wait for the leg.
        """
        self.early = early
        self._enabled = enabled
        self._pool = ThreadPoolExecutor(1, "relayjax-trainer")
        self._begun: tuple[Plan, Future[Outcome]] | None = None
        self._taken: Plan | None = None

    def begin(self, plan: Plan | None, train: Callable[[Plan], Outcome]) -> None:
        """Begins a leg, unless it is begun already; one that was foreseen wrongly is dropped.

        Args:
          plan: what is foreseen; None: nothing is.
          train: a pure function of the plan.
        """
        if plan is None or not self._enabled or (self._begun is not None and self._begun[0].same(plan)):
            return
        if self._begun is not None:
            self._begun[1].cancel()  # if it runs already, the new one waits for its end
        self._begun = plan, self._pool.submit(train, plan)

    def take(self, plan: Plan) -> Outcome | None:
        """What became of a leg, once it is trained; None if another or none was begun, which is over then."""
        if self._begun is None:
            return None
        (foreseen, job), self._begun = self._begun, None
        if foreseen.same(plan):
            outcome, self._taken = job.result(), foreseen
            return outcome
        job.cancel()
        self._pool.submit(lambda: None).result()  # what runs ends first: legs never share a device
        return None

    def took(self, round: int, trainer: str) -> bool:
        """Whether a leg was the last one taken."""
        return self._taken is not None and (self._taken.round, self._taken.trainer) == (round, trainer)

    def close(self) -> None:
        """Drops what was begun, and lets what is under way come to its end."""
        self._pool.shutdown(wait=True, cancel_futures=True)
