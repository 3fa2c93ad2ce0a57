"""One leg of the relay: a participant trains the received model on its own data, in one compiled call.

    θ ← received;  repeat  θ ← θ − rate · optimizer(∇ Σ terms(θ, batch));  hand on policy(θ − received)

The terms are those of `objectives.py`, the optimizers of `optimizers.py`, the policies of `hand_on.py`;
which of them a leg uses is one line of its settings each. A tree of moments or of Fisher information that
the settings ask for is handed on with the parameters, in the `Baton`.

P: parameters, C: numbers carried beside them, B: examples of a batch, S: steps.
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
from relayjax.learning import hand_on, objectives, optimizers
from relayjax.learning.baton import Baton
from relayjax.learning.layout import Params
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
    schedule: str = setting(
        "relay_cosine", "course of the step size over the relay", choices=tuple(sorted(SCHEDULES))
    )
    optimizer: str = setting("sgd", "gradient → direction", choices=tuple(sorted(optimizers.OPTIMIZERS)))
    momentum: float = setting(
        0.9, "share of the last update, or first moment, that is kept", low=0.0, below=1.0
    )
    memory: float = setting(0.99, "share of the second moment that is kept; adamw", low=0.0, below=1.0)
    weight_decay: float = setting(0.0, "shrinks parameters towards zero, times the step size", low=0.0)
    optimizer_state: str = setting(
        "reset", "the optimizer's moments at the start of a leg", choices=("reset", "carried")
    )
    clip_norm: float = setting(1.0, "largest norm of a gradient; longer ones are shortened", above=0.0)
    objective: str = setting("prior_corrected", "training loss", choices=("prior_corrected", "plain"))
    prior_anneal: float = setting(
        6.0, "power by which the prior correction fades over the relay; 0 keeps it", low=0.0
    )
    anchor: float = setting(0.002, "weight of the squared distance to the received model; 0 is none", low=0.0)
    distillation: float = setting(0.0, "weight of the divergence from the received model; 0 is none", low=0.0)
    fisher: float = setting(0.0, "weight of the Fisher-weighted anchor, carried; 0 is none", low=0.0)
    fisher_memory: float = setting(
        0.9, "share of the Fisher information that a leg keeps", low=0.0, below=1.0
    )
    hand_on: str = setting(
        "replace", "how much of a leg is passed on", choices=("replace", "ema", "line_search")
    )
    hand_on_rate: float = setting(0.1, "share of the way that ema passes on", above=0.0, high=1.0)


class Leg:
    """The compiled leg of a task; the same for every participant and every place in the relay.

    Attributes:
      baton: layout of what it receives and hands on.
    """

    baton: Baton

    def __init__(self, task: Task, settings: LegSettings, mesh: Mesh | None = None):
        """Prepares the leg; it is compiled at the first call.

        Args:
          task: what is trained.
          settings: how.
          mesh: devices that share each batch, as from `data_mesh`; None is the default device alone.

        Raises:
          ConfigError: the batch does not divide over the devices, or the task lacks what the settings need.
        """
        if mesh is not None and settings.batch_size % mesh.shape["data"]:
            raise ConfigError(
                f"batch_size={settings.batch_size}: must be a multiple of the {mesh.shape['data']} devices "
                "that share a batch"
            )
        if settings.hand_on == "line_search" and task.development is None:
            raise ConfigError(
                f"leg.hand_on=line_search: task {task.name} has no development examples to search on; "
                "give it some, or choose replace or ema"
            )
        self._mesh = mesh
        self._task = task
        self._program = _Program(task, settings, mesh)
        self.baton = self._program.baton
        self._development = None if task.development is None else place(dict(task.development), mesh)
        self._run = jax.jit(self._program.leg, donate_argnums=0)

    def genesis(self, params: Params) -> np.ndarray:
        """The first baton: these parameters, and nothing learnt yet beside them; float32 [P + C]."""
        return np.asarray(self.baton.flatten(params, self._program.carry(params)))

    def __call__(
        self, theta: np.ndarray | jax.Array, shard: Shard, key: jax.Array, start_leg: int, total_legs: int
    ) -> tuple[jax.Array, jax.Array]:
        """Trains one leg.

        Args:
          theta: the received baton, float32 [P + C]. A NumPy array is copied and stays yours; a JAX array is
            consumed (its memory becomes the delta).
          shard: the participant's data, from `place_shards` with the same mesh.
          key: random key that draws the batches.
          start_leg: how many legs of the relay came before; legs trained side by side share it.
          total_legs: legs of the whole relay.

        Returns:
          What is to be added to the received baton, float32 [P + C], and the mean training loss over the leg
          in nats (without anchors), float32 scalar.

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
        return self._run(theta, shard, self._development, key, np.int32(start_leg), np.int32(total_legs))


class _Program:
    """What is traced."""

    def __init__(self, task: Task, settings: LegSettings, mesh: Mesh | None):
        self.task, self.settings, self.mesh = task, settings, mesh
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(settings.clip_norm),
            optimizers.OPTIMIZERS[settings.optimizer](
                settings.momentum, settings.memory, settings.weight_decay
            ),
        )
        self.data = objectives.data(task, settings.objective)
        self.terms = _anchors(task, settings)
        self.hand_on = hand_on.policy(settings.hand_on, settings.hand_on_rate)
        params = jax.eval_shape(task.init, jax.random.key(0))
        self.baton = Baton.of(params, jax.eval_shape(self.carry, params))

    def carry(self, params: Params) -> dict[str, Any]:
        """What travels beside the parameters at the start of the relay."""
        carried: dict[str, Any] = {}
        if self.settings.optimizer_state == "carried":
            carried["moments"] = self._moments(self.optimizer.init(params))
        if self.settings.fisher:
            carried["fisher"] = optax.tree.zeros_like(params)
        return carried

    def _moments(self, state: optax.OptState) -> list[Any]:
        return optimizers.moments(state, self.settings.momentum, self.settings.memory)

    def leg(
        self,
        theta: jax.Array,
        shard: Shard,
        development: Batch | None,
        key: jax.Array,
        start_leg: jax.Array,
        total_legs: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        settings = self.settings
        received, carried = self.baton.unflatten(theta)
        fisher = carried["fisher"] if settings.fisher else ()
        prepared = [term.prepare(received, fisher) for term in (self.data, *self.terms)]

        def loss(params: Params, batch: Batch, context: Any) -> tuple[jax.Array, jax.Array]:
            each = [
                term.loss(state, params, batch, context)
                for term, state in zip((self.data, *self.terms), prepared, strict=True)
            ]
            return sum(each[1:], start=each[0]), each[0]

        def step(state: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            params, optimizer_state, squares = state
            count, drawn = now
            progress = (start_leg + count / settings.steps) / total_legs
            batch = split_batch(jax.tree.map(lambda array: array[drawn], shard.data), self.mesh)
            context = optax.tree.scale(fade(progress, settings.prior_anneal), shard.context)
            gradient, training = jax.grad(loss, has_aux=True)(params, batch, context)
            direction, optimizer_state = self.optimizer.update(gradient, optimizer_state, params)
            rate = settings.learning_rate * SCHEDULES[settings.schedule](progress)
            params = optax.tree.add_scale(params, -rate, direction)
            if settings.fisher:
                squares = jax.tree.map(lambda total, g: total + g**2, squares, gradient)
            return (params, optimizer_state, squares), training

        optimizer_state = self.optimizer.init(received)
        if settings.optimizer_state == "carried":
            optimizer_state = optimizers.resume(optimizer_state, carried["moments"], start_leg == 0)
        shape = (settings.steps, settings.batch_size)
        drawn = shard.start + jax.random.randint(key, shape, 0, shard.size)
        start = (received, optimizer_state, optax.tree.zeros_like(fisher))
        (params, optimizer_state, squares), training = jax.lax.scan(
            step, start, (jnp.arange(settings.steps), drawn)
        )
        if settings.optimizer_state == "carried":
            carried = {**carried, "moments": self._moments(optimizer_state)}
        if settings.fisher:
            # The squared gradient of a batch of B underestimates the mean square of its examples B times.
            own = optax.tree.scale(settings.batch_size / settings.steps, squares)
            carried = {**carried, "fisher": optax.incremental_update(own, fisher, 1 - settings.fisher_memory)}
        moved = self.baton.flatten(params, carried) - theta
        return self._handed_on(theta, moved, development), jnp.mean(training)

    def _handed_on(self, theta: jax.Array, moved: jax.Array, development: Batch | None) -> jax.Array:
        """The delta of the baton after the hand-on policy, which concerns the parameters only."""
        size = self.baton.params.size

        def probe(flat: jax.Array) -> jax.Array:
            return jnp.mean(self.task.losses(self.baton.params.unflatten(flat), development or {}))

        delta = self.hand_on(theta[:size], moved[:size], probe)
        return delta if size == self.baton.size else jnp.concatenate([delta, moved[size:]])


def _anchors(task: Task, settings: LegSettings) -> tuple[objectives.Term, ...]:
    """The terms that hold a leg near what it received; those of weight 0 are left out."""
    terms = []
    if settings.anchor:
        terms.append(objectives.proximal(settings.anchor))
    if settings.distillation:
        terms.append(objectives.distillation(task, settings.distillation))
    if settings.fisher:
        terms.append(objectives.fisher_anchor(settings.fisher))
    return tuple(terms)
