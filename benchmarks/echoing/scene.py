"""A default relay without a ledger, and what its braid rounds look like to whoever would cheat in them.

N: participants, P: parameters, M: deltas accepted before a round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from relayjax import codec, config
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.placement import place
from relayjax.learning.schemes import DEFAULT_BRAIDS, Setup, chain
from relayjax.learning.task import examples
from relayjax.mechanism.rules import MILLION
from relayjax.valuation import Composition

LEGS = 200


@dataclass(frozen=True)
class Leg:
    """One leg of the relay.

    Attributes:
      who: the participant's number.
      parent: parameters it started from, float32 [P].
      delta: what others received of it, float32 [P].
      braid: whether it was a braid round's.
    """

    who: int
    parent: np.ndarray
    delta: np.ndarray
    braid: bool


@dataclass(frozen=True, eq=False)
class Recorded(Setup):
    """A setup that keeps every leg."""

    legs_run: list[Leg] = field(default_factory=list)

    def train(self, theta: np.ndarray, participant: int, number: int, start: int) -> np.ndarray:
        child = super().train(theta, participant, number, start)
        size, braid = self.leg.baton.params.size, number // self.participants in DEFAULT_BRAIDS
        self.legs_run.append(Leg(participant, theta[:size], (child - theta)[:size], braid))
        return child


@dataclass(frozen=True, eq=False)
class Scene:
    """One braid round.

    Attributes:
      lap: which one it is, from 0.
      past: the legs accepted before it.
      siblings: its own, one of each participant, in the order of their numbers.
      movements: of the head in the round before and in the lap before, float32 [P] each; none at first.
      game: the composition of the siblings.
      tolerance: by how much a candidate may raise the loss, nats.
      offsets: where each of the model's tensors starts in P; one more entry, the last is P.
    """

    lap: int
    past: list[Leg]
    siblings: list[np.ndarray]
    movements: list[np.ndarray]
    game: Composition
    tolerance: float
    offsets: tuple[int, ...]


def scenes(name: str, seed: int) -> Iterator[Scene]:
    """Trains the default relay of a config, its deltas through its codec, and looks at its braid rounds.

    Args:
      name: of the config; of ten participants.
      seed: of data, model, order and batches.
    """
    settings = config.load(name)
    task = settings.task.build(settings.relay.participants, seed)
    setup = Recorded(task, settings.leg, LEGS, seed, codec=codec.get(settings.relay.codec))
    chain(setup, DEFAULT_BRAIDS)
    layout, count = setup.leg.baton.params, len(task.shards)
    evaluator = Evaluator(task, layout)
    drawn = np.arange(min(examples(task.validation), settings.relay.draw_valued), dtype=np.int32)
    losses = evaluator.losses_on(place(dict(task.validation)), drawn)
    weights, tolerance = jnp.full(count, 1 / count, jnp.float32), settings.rules.tolerance / MILLION  # type: ignore[attr-defined]
    for lap in DEFAULT_BRAIDS:
        legs, past = setup.legs_run[lap * count : (lap + 1) * count], setup.legs_run[: lap * count]
        legs = sorted(legs, key=lambda leg: leg.who)
        base, siblings = legs[0].parent, [leg.delta for leg in legs]
        game = Composition(losses, jnp.asarray(base), jnp.asarray(np.stack(siblings)), weights)
        last_lap = [base - past[-count].parent] if past else []
        last_round = last_lap if past and past[-1].braid else [base - past[-1].parent] if past else []
        yield Scene(lap, past, siblings, [*last_round, *last_lap], game, tolerance, layout.offsets)


def in_place_of(scene: Scene, who: int, delta: np.ndarray) -> Composition:
    """The composition with a delta in place of one participant's."""
    return dataclasses.replace(scene.game, deltas=scene.game.deltas.at[who].set(delta))
