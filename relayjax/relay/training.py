"""The trainer's side of a round: train, encode, commit, reveal.

P: parameters.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from relayjax import hashing, weights
from relayjax.codec import Codec, feedback
from relayjax.codec.base import NonFiniteError
from relayjax.learning.leg import Leg
from relayjax.learning.placement import Shard
from relayjax.mechanism.state import Version
from relayjax.records import Commit, Submit, commitment
from relayjax.relay.timing import Stopwatch


@dataclass(frozen=True)
class Candidate:
    """A trained and encoded leg.

    Attributes:
      trainer: whose it is.
      payload: the encoded delta.
      delta: its digest.
      parent: digest of the parent's weights.
      child: parent + decode(delta), float32 [P]: what everybody else sees.
      child_digest: digest of `child`.
      residual: what the payload leaves out, float32 [P]; None if the codec needs no feedback.
      loss: mean training loss of the leg, nats.
    """

    trainer: str
    payload: bytes
    delta: str
    parent: str
    child: np.ndarray
    child_digest: str
    residual: np.ndarray | None
    loss: float

    def commit(self, round: int, salt: bytes) -> Commit:
        """The record that binds the trainer to its delta."""
        hidden = commitment(salt, self.delta, self.parent, round, self.trainer)
        return Commit(self.trainer, round, hidden)

    def submit(self, round: int, salt: bytes, codec: str) -> Submit:
        """The record that reveals it."""
        return Submit(
            self.trainer,
            round,
            delta=self.delta,
            codec=codec,
            size=len(self.payload),
            salt=salt.hex(),
            parent=self.parent,
            child=self.child_digest,
        )


class Outcome(NamedTuple):
    """What training made of a version.

    Attributes:
      theta: the trained weights, float32 [P].
      loss: mean training loss in nats.
      begin, end: when it was trained, by `time.perf_counter`, seconds.
    """

    theta: np.ndarray
    loss: float
    begin: float
    end: float


@dataclass(frozen=True)
class Trainer:
    """What every participant runs on its own machine.

    Attributes:
      leg: the compiled leg.
      codec: of the deltas.
      clock: counts the stages.
    """

    leg: Leg
    codec: Codec
    clock: Stopwatch

    def train(
        self, theta: np.ndarray, shard: Shard, key: jax.Array, place: tuple[int, int]
    ) -> tuple[np.ndarray, float]:
        """Trains a leg.

        Args:
          theta: weights of the version received, float32 [P].
          shard: the participant's own data.
          key: draws its batches.
          place: (legs before this one, legs of the whole relay).

        Returns:
          The trained weights, float32 [P], and the mean training loss in nats.
        """
        return self.count(self.outcome(theta, shard, key, place))

    def outcome(self, theta: np.ndarray, shard: Shard, key: jax.Array, place: tuple[int, int]) -> Outcome:
        """Trains as `train` does, but does not count it: nobody may need what is trained ahead."""
        begin = time.perf_counter()
        delta, loss = jax.block_until_ready(self.leg(theta, shard, key, *place))
        trained, mean = theta + np.asarray(delta), float(loss)
        return Outcome(trained, mean, begin, time.perf_counter())

    def count(self, outcome: Outcome) -> tuple[np.ndarray, float]:
        """Counts a training whose result is used; returns that."""
        self.clock.train(outcome.begin, outcome.end)
        return outcome.theta, outcome.loss

    def encode(
        self,
        name: str,
        parent: Version,
        theta: np.ndarray,
        trained: np.ndarray,
        loss: float,
        residual: np.ndarray | None,
    ) -> Candidate | str:
        """Encodes and hashes what was trained; no accelerator is needed, so another leg can train meanwhile.

        Args:
          name, parent, theta: as for `train`.
          trained: the trained weights, float32 [P].
          loss: mean training loss in nats.
          residual: what the trainer's accepted deltas have left out so far, float32 [P]; None: nothing.

        Returns:
          The candidate, or why there is none (training diverged).
        """
        with self.clock.stage("encode"):
            try:
                encoded = feedback.encode(self.codec, theta, trained, residual)
            except NonFiniteError as error:
                return f"{name}: {self.leg.baton.name_at(error.index)} diverged; lower leg.learning_rate"
        with self.clock.stage("hash"):
            digest, child_digest = hashing.digest(encoded.payload), weights.digest(encoded.child)
        return Candidate(
            name,
            encoded.payload,
            digest,
            parent.digest,
            encoded.child,
            child_digest,
            encoded.residual,
            loss,
        )
