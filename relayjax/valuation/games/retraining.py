"""A relay retrained without those who are absent: the ground truth for few participants.

Shapes: N participants, K legs, C coalitions, E validation examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic

import numpy as np
from jax.typing import ArrayLike

from relayjax.errors import ConfigError, DataError
from relayjax.valuation.games.base import checked
from relayjax.valuation.games.prefixes import State, Train, distinct, walk


class Retraining(Generic[State]):
    """The relay as it would have been with a coalition alone.

        v(S) = mean_e [ ℓ_e(θ_0) − ℓ_e(θ_S) ],   θ_S after the legs of S's members in the schedule's order

    Coalitions that begin with the same legs share them: of all 2^N coalitions of a relay of one lap every one
    but the empty adds a single leg, 2^N − 1 in all. Held at any time are at most N states beside the one in
    training. What is shared is shared within a call: ask for all coalitions at once. Values are to the last
    bit those of training every coalition from the start, if `train` is deterministic.

    A leg is told its position in the full schedule, whoever is absent. Batches, keys and step sizes drawn
    from it are then the same in every coalition, and coalitions differ by who took part, not by luck.

    Attributes:
      participants: N.
      legs_trained: how many legs were trained so far.

    References:
      Ghorbani and Zou, Data Shapley, 2019 (retraining as the worth of a coalition).
    """

    def __init__(
        self,
        train: Train[State],
        losses: Callable[[State], ArrayLike],
        start: State,
        schedule: Sequence[int] | np.ndarray,
        participants: int | None = None,
        *,
        progress: Callable[[int, int], None] = lambda done, needed: None,
    ):
        """Trains nothing yet.

        Args:
          train: (state, participant, position) → the state after that leg. It must leave the state it is
            given as it was, for other coalitions go on from it.
          losses: per-example loss of a state, float [E], nats. Any measure of which less is better will do;
            negate others.
          start: θ_0, the state before the first leg.
          schedule: whose turn every leg is, K of 0 … N − 1: `range(N)` is one lap.
          participants: N; by default as many as the schedule names.
          progress: is told after every leg how many of this call are done and how many it needs.

        Raises:
          ConfigError: the schedule is empty or names somebody who does not exist.
        """
        turns = np.asarray(schedule)
        if turns.ndim != 1 or not len(turns) or turns.dtype.kind not in "iu" or turns.min() < 0:
            raise ConfigError("retraining: give a schedule of participants' numbers, one a leg, from 0")
        self.participants = int(turns.max()) + 1 if participants is None else participants
        if turns.max() >= self.participants:
            raise ConfigError(
                f"retraining: the schedule names participant {turns.max()} of {self.participants}; "
                "numbers start at 0"
            )
        self.legs_trained = 0
        self._train, self._losses, self._start, self._turns = train, losses, start, turns
        self._progress = progress
        self._before: np.ndarray | None = None

    def legs_needed(self, coalitions: np.ndarray) -> int:
        """How many legs it takes to evaluate these coalitions (bool [C, N]) in one call."""
        return distinct(self._legs(coalitions))

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        """Worth of each coalition on each validation example.

        Args:
          coalitions: bool [C, N].

        Returns:
          float64 [C, E], nats.

        Raises:
          ConfigError: `coalitions` has the wrong shape or dtype.
          DataError: the losses of a coalition are not finite, or not as many as those of the start.
        """
        legs = self._legs(coalitions)
        needed, done = distinct(legs), 0
        if self._before is None:
            self._before = self._measured(self._start, None, [])
        worth = np.zeros((len(legs), len(self._before)))

        def train(state: State, position: int, place: int) -> State:
            return self._train(state, int(self._turns[position]), position)

        def arrive(state: State, count: int, rows: list[int]) -> None:
            nonlocal done
            done += 1
            self.legs_trained += 1
            if ended := [row for row in rows if len(legs[row]) == count]:
                members = np.flatnonzero(coalitions[ended[0]]).tolist()
                worth[ended] = self._before - self._measured(state, self._before, members)
            self._progress(done, needed)

        walk(legs, self._start, train, arrive)
        return worth

    def _legs(self, coalitions: np.ndarray) -> list[list[int]]:
        """The positions in the schedule at which members of each coalition have their turn."""
        coalitions = checked(coalitions, self.participants)
        return [np.flatnonzero(members[self._turns]).tolist() for members in coalitions]

    def _measured(self, state: State, before: np.ndarray | None, members: list[int]) -> np.ndarray:
        """Losses of a state, float64 [E], if they can be compared with those before."""
        losses = np.asarray(self._losses(state), dtype=np.float64)
        if losses.ndim != 1 or (before is not None and losses.shape != before.shape):
            raise DataError(
                f"retraining: losses of coalition {members} are {list(losses.shape)}; give one a validation "
                "example, the same examples for every state"
            )
        if not np.isfinite(losses).all():
            raise DataError(
                f"retraining: the loss of coalition {members} is not finite; "
                "let train refuse legs that diverge, by returning the state it was given"
            )
        return losses
