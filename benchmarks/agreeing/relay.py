"""A relay without a ledger, retrained without one participant, or with every lap valued.

N: participants, E: validation examples.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from relayjax import config
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.leg import Leg
from relayjax.learning.placement import place
from relayjax.learning.relay_momentum import pushed
from relayjax.learning.schemes import DEFAULT_BRAIDS, Setup
from relayjax.learning.task import examples
from relayjax.merging import compose, equal
from relayjax.valuation import Composition
from relayjax.valuation.novelty import Novelties
from relayjax.valuation.sharing import shared_values

LEGS, EVERYBODY = 200, -1


@dataclass(frozen=True)
class Job:
    """One relay: `seed` draws data, model and batches, `repeat` the order; `absent` stays away."""

    config: str
    seed: int
    repeat: int
    absent: int = EVERYBODY
    braids: tuple[int, ...] = DEFAULT_BRAIDS
    valued: bool = False


@dataclass
class Played:
    """How a relay went.

    Attributes:
      job: which relay it was.
      losses: of the head after each lap, on all validation examples, nats.
      test: loss and accuracy of the last head on the test set.
      values, stderr, chance: by lap, of a braid round played at its start, [N] each, nats.
      path: loss changes of the chain legs, summed by participant, [N], nats.
    """

    job: Job
    losses: list[float] = field(default_factory=list)
    test: tuple[float, float] = (0.0, 0.0)
    values: dict[int, list[float]] = field(default_factory=dict)
    stderr: dict[int, list[float]] = field(default_factory=dict)
    chance: dict[int, list[float]] = field(default_factory=dict)
    path: list[float] = field(default_factory=list)


@lru_cache(maxsize=1)
def _prepared(name: str, seed: int):
    """What all relays of one seed share: compiled once."""
    settings = config.load(name)
    task = settings.task.build(settings.relay.participants, seed)
    setup = Setup(task, settings.leg, LEGS, seed)
    evaluator = Evaluator(task, setup.leg.baton.params)
    return task, setup.leg, setup.shards, evaluator, place(task.validation), place(task.test)


class Play:
    """One relay, lap by lap."""

    def __init__(self, job: Job):
        self.task, leg, shards, self.evaluator, self.validation, self.test = _prepared(job.config, job.seed)
        everybody = range(len(self.task.shards))
        self.present = [who for who in everybody if who != job.absent]
        order = np.random.default_rng([job.seed, job.repeat]).permutation(len(everybody))
        self.order = [int(who) for who in order if who != job.absent]
        legs = LEGS // len(everybody) * len(self.present)
        self.setup = Setup(self.task, config.load(job.config).leg, legs, job.seed)
        self.setup.__dict__.update(leg=leg, shards=shards)
        self.known, self.job, self.number = Novelties(), job, 0
        self.everything = np.arange(examples(self.task.validation), dtype=np.int32)

    def run(self) -> Played:
        """The whole relay."""
        played, theta = Played(self.job, path=[0.0] * len(self.task.shards)), self.setup.genesis()
        for lap in range(self.setup.laps):
            braid = lap in self.job.braids
            children = self._siblings(theta, braid) if braid or self.job.valued else []
            if self.job.valued:
                self._value(theta, children, lap, played)
            theta = self._compose(theta, children) if braid else self._chain(theta, played)
            played.losses.append(self._loss(theta))
        metrics = self.evaluator.metrics(theta, self.test)
        drawn = np.arange(examples(self.task.test), dtype=np.int32)
        played.test = self.evaluator.mean_loss(theta, self.test, drawn), metrics["accuracy"]
        return played

    def _siblings(self, theta: np.ndarray, counts: bool) -> list[np.ndarray]:
        """Everybody's child of one head; where it does not count, nothing is remembered of it."""
        if counts:
            start, self.number = self.number, self.number + len(self.present)
            return [
                self.setup.train(theta, who, start + place, start) for place, who in enumerate(self.present)
            ]
        return [self._tried(theta, who, place) for place, who in enumerate(self.present)]

    def _tried(self, theta: np.ndarray, who: int, place: int) -> np.ndarray:
        leg: Leg = self.setup.leg
        key = jax.random.fold_in(jax.random.key(self.setup.seed + 2), self.number + place)
        delta, _ = leg(theta, self.setup.shards[who], key, self.number, self.setup.legs)
        return pushed(theta + np.asarray(delta), self.setup.momentum.push(who, theta, self.number))

    def _compose(self, theta: np.ndarray, children: list[np.ndarray]) -> np.ndarray:
        start = self.number - len(children)
        deltas = [child - theta for child in children]
        composed = compose(theta, *equal(deltas, [0] * len(children), len(children)))
        for who, delta in zip(self.present, deltas, strict=True):
            self._remember(who, composed, delta, start)
        return composed

    def _chain(self, theta: np.ndarray, played: Played) -> np.ndarray:
        for who in self.order:
            before, start = theta, self.number
            theta, self.number = self.setup.train(theta, who, start, start), start + 1
            self._remember(who, theta, theta - before, start)
            if self.job.valued:
                played.path[who] += self._loss(before) - self._loss(theta)
        return theta

    def _remember(self, who: int, head: np.ndarray, delta: np.ndarray, leg: int) -> None:
        self.setup.momentum.remember(who, head, leg)
        if self.job.valued:
            self.known.remember(delta[: self.evaluator.size])

    def _value(self, theta: np.ndarray, children: list[np.ndarray], lap: int, played: Played) -> None:
        size = self.evaluator.size
        deltas = np.stack([(child - theta)[:size] for child in children])
        weights = jnp.full(len(deltas), 1 / len(deltas), jnp.float32)
        losses = self.evaluator.losses_on(self.validation, self.everything)
        game = Composition(losses, jnp.asarray(theta[:size]), jnp.asarray(deltas), weights)
        novel = np.stack([self.known.compare([delta])[0].novel for delta in deltas])
        worth = shared_values(game, novel)
        played.values[lap], played.stderr[lap] = worth.values.tolist(), worth.stderr.tolist()
        played.chance[lap] = worth.chance.tolist()

    def _loss(self, theta: np.ndarray) -> float:
        return self.evaluator.mean_loss(theta, self.validation, self.everything)


def play(job: Job) -> Played:
    """One relay, for a process of its own."""
    return Play(job).run()


def paid(played: Played, laps: Collection[int], floor: float = 3.0) -> np.ndarray:
    """Everybody's share of the pay if the braid rounds were these: by value beyond the noise, in nats."""
    total = np.zeros(len(played.path))
    for lap in laps:
        value = np.array(played.values[lap])
        total += np.where(value > floor * np.hypot(played.stderr[lap], played.chance[lap]), value, 0.0)
    return total / total.sum() if total.any() else total
