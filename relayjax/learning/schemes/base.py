"""What every scheme is given and what it returns.

P: parameters, C: numbers carried beside them, N: participants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import jax
import numpy as np

from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.placement import Shard, place_shards
from relayjax.learning.relay_momentum import RelayMomentum, pushed
from relayjax.learning.task import Task

Turn = Callable[[int, np.ndarray], None]
"""Called after every leg with the participant's number and the model it just trained, float32 [P + C]."""


class Deltas(Protocol):
    """What turns a trained model into what others receive of it, as a codec does."""

    def encode(self, parent: np.ndarray, child: np.ndarray) -> bytes:
        """The step from parent to child as bytes."""
        ...

    def apply(self, payload: bytes, parent: np.ndarray) -> np.ndarray:
        """The child that everybody else sees."""
        ...


@dataclass(frozen=True)
class Outcome:
    """Where a scheme ended.

    Attributes:
      params: parameters of the model, float32 [P].
      legs: legs that were trained, all participants together.
      moved: bytes that went from one participant (or server) to another, uncompressed.
    """

    params: np.ndarray
    legs: int
    moved: int


@dataclass(frozen=True, eq=False)
class Setup:
    """One task with its legs, ready to be trained by any scheme.

    Attributes:
      task: the model and who holds which data.
      settings: of a leg.
      legs: how many legs all participants train together.
      seed: of the initial parameters, the batches and the order of the participants.
      turn: is told of every leg.
      codec: what deltas pass through before others see them; None passes them on exactly.
      merge_step: how far a braid round goes along its merged deltas, ppm.
    """

    task: Task
    settings: LegSettings
    legs: int
    seed: int
    turn: Turn = lambda participant, theta: None
    codec: Deltas | None = None
    merge_step: int = 1_000_000

    @cached_property
    def leg(self) -> Leg:
        """The compiled leg."""
        return Leg(self.task, self.settings)

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """Each participant's data on the device."""
        return place_shards(self.task)

    @property
    def participants(self) -> int:
        """N."""
        return len(self.task.shards)

    @property
    def laps(self) -> int:
        """How often every participant has its turn."""
        return max(1, self.legs // self.participants)

    @cached_property
    def momentum(self) -> RelayMomentum:
        """What each participant remembers of its last turn."""
        return RelayMomentum(self.settings.relay_momentum, self.leg.baton.params.size)

    def genesis(self) -> np.ndarray:
        """The first baton, float32 [P + C]."""
        return self.leg.genesis(self.task.init(jax.random.key(self.seed)))

    def train(self, theta: np.ndarray, participant: int, number: int, start: int) -> np.ndarray:
        """One participant's leg.

        Args:
          theta: the received baton, float32 [P + C].
          participant: whose leg.
          number: of the leg, from 0; draws the batches.
          start: legs that came before it; legs trained side by side share it.

        Returns:
          The baton that others get to see, float32 [P + C].
        """
        child = self.trained(theta, participant, number, start)
        if self.codec is not None:
            child = self.codec.apply(self.codec.encode(theta, child), theta)
        self.turn(participant, child)
        return child

    def trained(self, theta: np.ndarray, participant: int, number: int, start: int) -> np.ndarray:
        """The same as the participant itself has it, before any codec."""
        key = jax.random.fold_in(jax.random.key(self.seed + 1), number)
        delta, _ = self.leg(theta, self.shards[participant], key, start, self.legs)
        return pushed(theta + np.asarray(delta), self.momentum.push(participant, theta, start))

    def outcome(self, theta: np.ndarray, legs: int, moved: int) -> Outcome:
        """The end: `moved` counts batons."""
        return Outcome(theta[: self.leg.baton.params.size], legs, 4 * self.leg.baton.size * moved)
