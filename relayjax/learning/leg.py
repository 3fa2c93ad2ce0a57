"""One leg of the relay: a participant trains the received model on its own data, in one compiled call.

    θ ← received;  repeat  θ ← θ − rate · momentum(clip(∇(mean objective(batch) + anchor · ‖θ − received‖²)))

The optimizer starts afresh in every leg: only parameters are handed on.

P: parameters, B: examples of a batch, S: steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from relayjax.errors import ConfigError
from relayjax.learning.layout import Layout, Params
from relayjax.learning.placement import Shard, place, split_batch
from relayjax.learning.schedule import SCHEDULES, fade
from relayjax.learning.task import Batch, Task
from relayjax.settings import Settings, setting


@dataclass(frozen=True)
class LegSettings(Settings):
    """How a participant trains in its leg."""

    steps: int = setting(150, "gradient steps of a leg", low=1)
    batch_size: int = setting(64, "examples drawn for a step", unit="examples", low=1)
    learning_rate: float = setting(0.05, "peak step size", above=0.0)
    momentum: float = setting(0.9, "share of the last update that is kept", low=0.0, below=1.0)
    clip_norm: float = setting(1.0, "largest norm of a gradient; longer ones are shortened", above=0.0)
    schedule: str = setting(
        "relay_cosine", "course of the step size over the relay", choices=("relay_cosine", "constant")
    )
    objective: str = setting("prior_corrected", "training loss", choices=("prior_corrected", "plain"))
    prior_anneal: float = setting(
        6.0, "power by which the prior correction fades over the relay; 0 keeps it", low=0.0
    )
    anchor: float = setting(0.002, "weight of the squared distance to the received model; 0 is none", low=0.0)


class Leg:
    """The compiled leg of a task; the same for every participant and every place in the relay."""

    def __init__(self, task: Task, layout: Layout, settings: LegSettings, mesh: Mesh | None = None):
        """Prepares the leg; it is compiled at the first call.

        Args:
          task: what is trained.
          layout: of the task's parameters.
          settings: how.
          mesh: devices that share each batch, as from `data_mesh`; None is the default device alone.

        Raises:
          ConfigError: the batch does not divide over the devices.
        """
        if mesh is not None and settings.batch_size % mesh.shape["data"]:
            raise ConfigError(
                f"batch_size={settings.batch_size}: must be a multiple of the {mesh.shape['data']} devices "
                "that share a batch"
            )
        self._mesh = mesh
        self._run = jax.jit(_program(task, layout, settings, mesh), donate_argnums=0)

    def __call__(
        self, theta: np.ndarray | jax.Array, shard: Shard, key: jax.Array, start_leg: int, total_legs: int
    ) -> tuple[jax.Array, jax.Array]:
        """Trains one leg.

        Args:
          theta: received parameters, float32 [P]. A NumPy array is copied and stays yours; a JAX array is
            consumed (its memory becomes the delta).
          shard: the participant's data, from `place_shards` with the same mesh.
          key: random key that draws the batches.
          start_leg: how many legs of the relay came before; legs trained side by side share it.
          total_legs: legs of the whole relay.

        Returns:
          Trained − received parameters, float32 [P], and the mean training loss over the leg in nats (without
          the anchor), float32 scalar.

        Raises:
          ConfigError: the leg lies outside the relay, where the schedules would run backwards.
        """
        if not 0 <= start_leg < total_legs:
            raise ConfigError(
                f"start_leg={start_leg}: must be at least 0 and below total_legs={total_legs}; "
                "count the legs of valuation rounds in the total too"
            )
        if isinstance(theta, np.ndarray):
            theta = place(theta, self._mesh)
        return self._run(theta, shard, key, np.int32(start_leg), np.int32(total_legs))


def _program(task: Task, layout: Layout, settings: LegSettings, mesh: Mesh | None) -> Any:
    objective = _objective(task, settings)
    share = SCHEDULES[settings.schedule]

    def leg(
        theta: jax.Array, shard: Shard, key: jax.Array, start_leg: jax.Array, total_legs: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        received = layout.unflatten(theta)

        def progress(step: Any) -> jax.Array:
            return (start_leg + step / settings.steps) / total_legs

        optimizer = _optimizer(settings, lambda step: settings.learning_rate * share(progress(step)))

        def loss(params: Params, batch: Batch, context: Any) -> tuple[jax.Array, jax.Array]:
            training = jnp.mean(objective(params, batch, context))
            distance = optax.tree.norm(optax.tree.sub(params, received), squared=True)
            return training + settings.anchor * distance, training

        def step(state: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            params, optimizer_state = state
            count, drawn = now
            batch = split_batch(jax.tree.map(lambda array: array[drawn], shard.data), mesh)
            context = optax.tree.scale(fade(progress(count), settings.prior_anneal), shard.context)
            gradient, training = jax.grad(loss, has_aux=True)(params, batch, context)
            updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
            return (optax.apply_updates(params, updates), optimizer_state), training

        shape = (settings.steps, settings.batch_size)
        drawn = shard.start + jax.random.randint(key, shape, 0, shard.size)
        start = (received, optimizer.init(received))
        (params, _), training = jax.lax.scan(step, start, (jnp.arange(settings.steps), drawn))
        return layout.flatten(params) - theta, jnp.mean(training)

    return leg


def _objective(task: Task, settings: LegSettings) -> Any:
    if settings.objective == "plain" or task.objective is None:
        return lambda params, batch, context: task.losses(params, batch)
    return task.objective


def _optimizer(settings: LegSettings, rate: optax.Schedule) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(settings.clip_norm), optax.sgd(rate, momentum=settings.momentum)
    )
