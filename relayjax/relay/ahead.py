"""The legs to come, trained ahead: while rounds are tested and settled, and the next ones auctioned.

What a leg makes of its parent follows from the round, from whose leg it is, and from the parent. So it can
be trained as soon as these are foreseen, in a thread of its own (XLA lets Python go on meanwhile), and then
the one after it, from what it made. The round that a leg was foreseen for takes it if all three are what was
foreseen; if not, it is dropped with all that follow, and the leg is trained as if nothing had been. The
ledger is the same either way.

P: numbers handed on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Condition

import numpy as np

from relayjax.mechanism.state import Version
from relayjax.relay.training import Candidate, Outcome

MOST = 16
"""Legs that may wait to be taken: more than a valuation takes as a rule."""

ROOM = 1 << 28
"""Bytes that they may take, but for one that may be of any size."""

MODELS = 3
"""What one of them takes at most, in models: what was trained, the child, the encoded delta."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A leg that is to come.

    Attributes:
      round, trainer: when it is due, and whose it is.
      parent: weights that it starts from, float32 [P].
      push: what the relay's momentum adds to it, float32; None: nothing.
      version: what the weights are a version of, where it is to be encoded as well; else None.
    """

    round: int
    trainer: str
    parent: np.ndarray
    push: np.ndarray | None = None
    version: Version | None = None

    def same(self, round: int, trainer: str, parent: np.ndarray) -> bool:
        """Whether this is a certain leg; what is added to it and when it is encoded follow from that."""
        if (self.round, self.trainer) != (round, trainer):
            return False
        return self.parent is parent or np.array_equal(self.parent.view(np.uint32), parent.view(np.uint32))


@dataclass(frozen=True, eq=False)
class Made:
    """A leg that was trained.

    Attributes:
      outcome: what training made of the parent, with the push.
      handed: the candidate, or why there is none; None where it is not encoded yet.
    """

    outcome: Outcome
    handed: Candidate | str | None = None


Course = Generator[Plan, Made, None]
"""Yields the legs to come, one after another; is told what became of each before it yields the next."""


class Ahead:
    """Trains a course of legs, one at a time, as far ahead as there is room.

    Attributes:
      early: whether a leg may begin before the round under way is tested.
    """

    def __init__(self, *, enabled: bool = True, early: bool = True):
        """Nothing is begun yet.

        Args:
          enabled: not so where several devices train together, which must be given their work in one order,
            or where no two threads may call what is compiled.
          early: not so where a device does what it is given in order: a test would wait for the leg.
        """
        self.early = early
        self._enabled = enabled
        self._pool = ThreadPoolExecutor(1, "relayjax-trainer")
        self._run: _Run | None = None
        self._taken: set[tuple[int, str]] = set()
        self._made: Made | None = None

    def begin(self, course: Course, train: Callable[[Plan], Made]) -> None:
        """Begins a course, unless one that goes on as it would is under way; another one is dropped.

        Args:
          course: what is foreseen; if it is no leg at all, whatever is under way goes on.
          train: a pure function of a plan.
        """
        first = next(course, None) if self._enabled else None
        if first is None:
            return
        if self._run is not None:
            plan = self._run.next()
            if plan is not None and plan.same(first.round, first.trainer, first.parent):
                return
            self._run.stop()  # if it trains just now, the new one waits for the end of that leg
        self._run = _Run(self._pool, first, course, train)

    def take(self, round: int, trainer: str, parent: np.ndarray) -> Made | None:
        """What became of a leg, once it is trained; None if another or none was begun, which is over then."""
        if self._run is None:
            return None
        plan = self._run.next()
        if plan is not None and plan.same(round, trainer, parent):
            self._made = self._run.take()
            self._taken = {leg for leg in self._taken if leg[0] == round} | {(round, trainer)}
            return self._made
        run, self._run = self._run, None
        run.stop()
        run.job.result()  # what is trained ends first: legs never share a device
        return None

    def took(self, round: int, trainer: str) -> bool:
        """Whether a leg of the last round in which some were taken was taken."""
        return (round, trainer) in self._taken

    def handed(self, trained: np.ndarray) -> Candidate | str | None:
        """What trained weights were encoded as, float32 [P]; None unless they are of the last leg taken."""
        if self._made is None or self._made.outcome.theta is not trained:
            return None
        made, self._made = self._made, None
        return made.handed

    def close(self) -> None:
        """Drops what was begun, and lets the leg under way come to its end."""
        if self._run is not None:
            self._run.stop()
            self._run = None
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Run:
    """A course on its way: a thread of the pool plays it, another takes from it.

    Where there is no room the thread is given back, so that nobody has to wait for a run that was forgotten.

    Attributes:
      job: what plays it, or did last.
    """

    job: Future[None]

    def __init__(self, pool: ThreadPoolExecutor, first: Plan, course: Course, train: Callable[[Plan], Made]):
        self._pool, self._course, self._train = pool, course, train
        self._legs: deque[tuple[Plan, Future[Made]]] = deque([(first, Future())])
        self._most = max(1, min(MOST, ROOM // max(1, MODELS * first.parent.nbytes)))
        self._changed = Condition()
        self._over = self._stopped = False
        self._waiting: Made | None = None
        self.job = pool.submit(self._play, None)

    def _play(self, last: Made | None) -> None:
        """Trains one leg after another until the course ends, is stopped, or has no room.

        Args:
          last: what became of the last leg; None if that is still to be trained.
        """
        try:
            while not self._stopped:
                if last is not None:
                    plan = self._course.send(last)
                    with self._changed:
                        self._legs.append((plan, Future()))
                        self._changed.notify_all()
                plan, job = self._legs[-1]
                try:
                    last = self._train(plan)
                except BaseException as error:
                    job.set_exception(error)  # whoever takes the leg hears of it
                    break
                with self._changed:
                    self._legs[-1] = replace(plan, push=None), job  # it is in what was trained
                    job.set_result(last)
                    if len(self._legs) >= self._most and not self._stopped:
                        self._waiting = last
                        return
        except StopIteration:
            pass
        finally:
            with self._changed:
                self._over = self._waiting is None
                self._changed.notify_all()

    def next(self) -> Plan | None:
        """The leg that is to be taken next, once it is known; None if there is none any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._legs or self._over)
            return self._legs[0][0] if self._legs else None

    def take(self) -> Made:
        """What became of that leg, once it is trained."""
        made = self._legs[0][1].result()
        with self._changed:
            self._legs.popleft()
            last, self._waiting = self._waiting, None
            if last is not None:
                self.job = self._pool.submit(self._play, last)
        return made

    def stop(self) -> None:
        """No other leg is begun."""
        with self._changed:
            self._stopped, self._waiting = True, None
