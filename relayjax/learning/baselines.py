"""What a relay is compared with: all data in one place, and each participant alone.

Both train with the plain loss, no anchor, and one cosine over all their steps, momentum carried through:
one long leg. The model starts from `task.init(jax.random.key(seed))`.

N: participants, P: parameters.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from relayjax.learning.layout import Layout
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.placement import Shard, place_shards, pooled
from relayjax.learning.task import Task


def train_pooled(task: Task, settings: LegSettings, steps: int, seed: int) -> jax.Array:
    """Trains on the data of all participants together.

    Args:
      task: what is trained.
      settings: batch size, learning rate, momentum and clipping; the rest is as said above.
      steps: gradient steps; as many as the relay takes, for a fair comparison.
      seed: of the initial parameters and the batches.

    Returns:
      Parameters, float32 [P].
    """
    return _train(task, settings, steps, seed, [pooled(place_shards(task))])[0]


def train_alone(task: Task, settings: LegSettings, steps: int, seed: int) -> jax.Array:
    """Trains each participant on its own data only, all from the same initial parameters.

    Args: as `train_pooled`; `steps` are taken by each participant.

    Returns:
      Parameters of each participant, float32 [N, P].
    """
    return jnp.stack(_train(task, settings, steps, seed, list(place_shards(task))))


def _train(task: Task, settings: LegSettings, steps: int, seed: int, shards: list[Shard]) -> list[jax.Array]:
    settings = dataclasses.replace(
        settings, steps=steps, objective="plain", schedule="relay_cosine", anchor=0.0
    )
    key = jax.random.key(seed)
    params = task.init(key)
    layout = Layout.of(params)
    theta = np.asarray(layout.flatten(params))
    leg = Leg(task, layout, settings)
    deltas = [leg(theta, shard, jax.random.fold_in(key, i), 0, 1)[0] for i, shard in enumerate(shards)]
    return [delta + theta for delta in deltas]
