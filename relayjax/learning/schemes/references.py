"""What every other scheme is compared with: all data in one place, and each participant on its own.

Both train with the plain loss, no anchor, no hand-on policy, nothing that others told, and one cosine over
all their steps, the optimizer's state carried through: one long leg. N: participants, P: parameters.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from relayjax.learning.leg import Leg
from relayjax.learning.placement import Shard
from relayjax.learning.placement import pooled as together
from relayjax.learning.schemes.base import Outcome, Setup

CHUNK = 1_000
"""Steps a compiled call takes at most: drawn batches of a million steps would not fit."""


def pooled(setup: Setup) -> Outcome:
    """Trains on the data of all participants together, with as many gradient steps as all legs have.

    Bytes moved are those of the data itself, which is what pooling means.
    """
    params = _long_leg(setup, together(setup.shards), setup.settings.steps * setup.legs)
    data = sum(array.nbytes for shard in setup.task.shards for array in shard.values())
    return Outcome(params, setup.legs, data)


def alone(setup: Setup) -> list[Outcome]:
    """Trains each participant on its own data only, with the steps of its own legs; moves nothing."""
    steps = setup.settings.steps * setup.laps
    return [Outcome(_long_leg(setup, shard, steps), setup.laps, 0) for shard in setup.shards]


def _long_leg(setup: Setup, shard: Shard, steps: int) -> np.ndarray:
    """Parameters after `steps` plain steps on one shard, float32 [P]."""
    parts = -(-steps // CHUNK)
    settings = dataclasses.replace(
        setup.settings,
        steps=-(-steps // parts),
        schedule="relay_cosine",
        optimizer_state="carried",
        objective="plain",
        anchor=0.0,
        distillation=0.0,
        fisher=0.0,
        rehearsal=0.0,
        hand_on="replace",
    )
    leg = Leg(setup.task, settings)
    theta = leg.genesis(setup.task.init(jax.random.key(setup.seed)))
    for part in range(parts):
        key = jax.random.fold_in(jax.random.key(setup.seed), part)
        theta = theta + np.asarray(leg(theta, shard, key, part, parts)[0])
    return theta[: leg.baton.params.size]
