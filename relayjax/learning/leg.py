"""One leg of the relay: a participant trains the received model on its own data, in one compiled call.

    θ ← received;  repeat  θ ← θ − rate · optimizer(∇ Σ terms(θ, batch));  hand on policy(θ − received)

The terms are those of `objectives.py`, the optimizers of `optimizers.py`, the policies of `hand_on.py`;
which of them a leg uses is one line of its settings each. A tree of moments or of Fisher information that
the settings ask for is handed on with the parameters, in the `Baton`.

Over several devices a leg computes what it computes on one, up to rounding: they share batches, layers and
parameters as `sharding.py` says. A batch too large for them is taken in parts whose gradients are averaged.

P: parameters, C: numbers carried beside them, B: examples of a batch, S: steps.
"""

from __future__ import annotations

from collections.abc import Callable
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
from relayjax.learning.layout import Layout, Params
from relayjax.learning.mesh import known_to_models, share_batch
from relayjax.learning.placement import Shard, place
from relayjax.learning.schedule import SCHEDULES, fade
from relayjax.learning.sharding import ParameterSharding, ShardingSettings
from relayjax.learning.task import Batch, Task
from relayjax.settings import Settings, setting

REHEARSAL = 0x5EED
"""Folded into a leg's key: what is rehearsed is drawn apart from its batches."""


@dataclass(frozen=True)
class LegSettings(Settings):
    """How a participant trains in its leg."""

    steps: int = setting(150, "gradient steps of a leg", low=1)
    batch_size: int = setting(64, "examples drawn for a step", unit="examples", low=1)
    accumulate: int = setting(1, "parts in which a batch is taken, to save memory", low=1)
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
    rehearsal: float = setting(
        0.0, "weight of examples drawn from sketches, half as many as a batch has; 0 is none", low=0.0
    )
    hand_on: str = setting(
        "replace", "how much of a leg is passed on", choices=("replace", "ema", "line_search")
    )
    hand_on_rate: float = setting(0.1, "share of the way that ema passes on", above=0.0, high=1.0)
    relay_momentum: float = setting(
        0.0, "share of the relay's mean movement since one's last turn that is added", low=0.0, below=1.0
    )
    sharding: ShardingSettings = setting(ShardingSettings, "how a leg is spread over a participant's devices")

    def check(self) -> None:
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"accumulate={self.accumulate}: must divide batch_size={self.batch_size} into equal parts"
            )


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
          mesh: the devices, as from `mesh.device_mesh`; None is the default device alone.

        Raises:
          ConfigError: the batch does not divide over the devices, a rule of the sharding does not fit the
            model, or the task lacks what the settings need.
        """
        part = settings.batch_size // settings.accumulate
        if mesh is not None and part % mesh.shape["data"]:
            raise ConfigError(
                f"batch_size={settings.batch_size}: must be a multiple of the {mesh.shape['data']} devices "
                f"that share a batch, and of accumulate={settings.accumulate} times as many"
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
        self._cut = None
        if self._program.cut is not None:
            flat = jax.ShapeDtypeStruct((self.baton.size,), np.float32)
            self._cut = self._program.cut.alike(Layout.of(jax.eval_shape(self.baton.unflatten, flat)))
        leg = self._program.flat if self._cut is None else self._program.trees
        self._run = jax.jit(leg, donate_argnums=0)

    def genesis(self, params: Params) -> np.ndarray:
        """The first baton: these parameters, and nothing learnt yet beside them; float32 [P + C]."""
        return np.asarray(self.baton.flatten(params, self._program.carry(params)))

    def __call__(
        self, theta: np.ndarray | jax.Array, shard: Shard, key: jax.Array, start_leg: int, total_legs: int
    ) -> tuple[np.ndarray | jax.Array, jax.Array]:
        """Trains one leg.

        Args:
          theta: the received baton, float32 [P + C]. A NumPy array is copied and stays yours; a JAX array is
            consumed (its memory becomes the delta).
          shard: the participant's data, from `place_shards` with the same mesh.
          key: random key that draws the batches.
          start_leg: how many legs of the relay came before; legs trained side by side share it.
          total_legs: legs of the whole relay.

        Returns:
          What is to be added to the received baton, float32 [P + C], on the host where the devices hold only
          parts of it; and the mean training loss over the leg in nats (without anchors), float32 scalar.

        Raises:
          ConfigError: the leg lies outside the relay, where the schedules would run backwards.
        """
        if not 0 <= start_leg < total_legs:
            raise ConfigError(
                f"start_leg={start_leg}: must be at least 0 and below total_legs={total_legs}; "
                "count the legs of valuation rounds in the total too"
            )
        delta, loss = self._run(*self._arguments(theta, shard, key, start_leg, total_legs))
        return (delta if self._cut is None else self._cut.gather(delta)), loss

    def compile(self, shard: Shard, key: jax.Array) -> None:
        """Compiles the leg for data of this shape, so that its first call only trains.

        Args:
          shard: as for a call.
          key: of the kind that calls are given.
        """
        nothing = np.zeros(self.baton.size, np.float32)
        self._run.lower(*self._arguments(nothing, shard, key, 0, 1)).compile()

    def _arguments(
        self, theta: np.ndarray | jax.Array, shard: Shard, key: jax.Array, start_leg: int, total_legs: int
    ) -> tuple[Any, ...]:
        """What the compiled leg is called with."""
        if self._cut is not None:
            theta = self._cut.scatter(np.asarray(theta))
        elif isinstance(theta, np.ndarray):
            theta = place(theta, self._mesh)
        return theta, shard, self._development, key, np.int32(start_leg), np.int32(total_legs)


class _Program:
    """What is traced.

    Attributes:
      cut: where the parts of the parameters lie; None where every device holds all of them.
    """

    cut: ParameterSharding | None

    def __init__(self, task: Task, settings: LegSettings, mesh: Mesh | None):
        self.task, self.settings, self.mesh = task, settings, mesh
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(settings.clip_norm),
            optimizers.OPTIMIZERS[settings.optimizer](
                settings.momentum, settings.memory, settings.weight_decay
            ),
        )
        self.data = objectives.data(task, settings.objective)
        weights = (settings.anchor, settings.distillation, settings.fisher, settings.rehearsal)
        self.terms = objectives.others(
            task, *weights, max(1, settings.batch_size // settings.accumulate // 2)
        )
        self.hand_on = hand_on.policy(settings.hand_on, settings.hand_on_rate)
        params = jax.eval_shape(task.init, jax.random.key(0))
        self.baton = Baton.of(params, jax.eval_shape(self.carry, params))
        cut = None if mesh is None else ParameterSharding.of(self.baton.params, mesh, settings.sharding)
        self.cut = None if cut is None or cut.whole else cut

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

    def flat(self, theta: jax.Array, *rest: Any) -> tuple[jax.Array, jax.Array]:
        """The leg on a flat baton, float32 [P + C]."""
        delta, loss = self.trees(self.baton.unflatten(theta), *rest)
        return self.baton.flatten(*delta), loss

    def trees(
        self,
        baton: tuple[Params, Any],
        shard: Shard,
        development: Batch | None,
        key: jax.Array,
        start_leg: jax.Array,
        total_legs: jax.Array,
    ) -> tuple[tuple[Params, Any], jax.Array]:
        """The leg on the two trees of a baton: what is to be added to each, and the mean training loss."""
        with known_to_models(self.mesh):
            received, carried = baton
            trained, training = self._train(received, carried, shard, key, start_leg, total_legs)
            moved, carried = optax.tree.sub(trained, baton)

            def probe(params: Params) -> jax.Array:
                return jnp.mean(self.task.losses(params, development or {}))

            return self._lie((self.hand_on(received, moved, probe), carried)), training

    def _train(
        self,
        received: Params,
        carried: Any,
        shard: Shard,
        key: jax.Array,
        start_leg: jax.Array,
        total_legs: jax.Array,
    ) -> tuple[tuple[Params, Any], jax.Array]:
        """All steps of the leg: the trees of the baton after them, and the mean training loss."""
        settings = self.settings
        fisher = carried["fisher"] if settings.fisher else ()
        prepared = [term.prepare(received, fisher) for term in (self.data, *self.terms)]

        def others(params: Params, *given: Any) -> jax.Array:
            each = zip(self.terms, prepared[1:], strict=True)
            return sum((term.loss(state, params, *given) for term, state in each), start=jnp.zeros(()))

        def loss(params: Params, *given: Any) -> tuple[jax.Array, jax.Array]:
            training = self.data.loss(prepared[0], params, *given)
            return training + others(params, *given), training

        def step(state: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            params, optimizer_state, squares = state
            count, drawn = now
            progress = (start_leg + count / settings.steps) / total_legs
            context = optax.tree.scale(fade(progress, settings.prior_anneal), shard.context)

            def part(drawn: jax.Array, number: int | jax.Array) -> tuple[Params, jax.Array, Any]:
                batch = share_batch(jax.tree.map(lambda array: array[drawn], shard.data))
                given = (batch, context, jax.random.fold_in(rehearsed, count * settings.accumulate + number))
                gradient, training = jax.grad(loss, has_aux=True)(params, *given)
                held = jax.grad(others)(params, *given) if settings.fisher else ()
                return self._lie((gradient, training, held))

            gradient, training, held = _mean(part, drawn, settings.accumulate)
            direction, optimizer_state = self.optimizer.update(gradient, optimizer_state, params)
            rate = settings.learning_rate * SCHEDULES[settings.schedule](progress)
            params = optax.tree.add_scale(params, -rate, direction)
            if settings.fisher:
                # Of the data alone: an anchor that counted itself as information would grow without bound.
                squares = jax.tree.map(lambda total, g, h: total + (g - h) ** 2, squares, gradient, held)
            return self._lie((params, optimizer_state, squares)), training

        optimizer_state = self.optimizer.init(received)
        if settings.optimizer_state == "carried":
            optimizer_state = optimizers.resume(optimizer_state, carried["moments"], start_leg == 0)
        shape = (settings.steps, settings.batch_size)
        drawn = shard.start + jax.random.randint(key, shape, 0, shard.size)
        rehearsed = jax.random.fold_in(key, REHEARSAL)
        start = self._lie((received, optimizer_state, optax.tree.zeros_like(fisher)))
        (params, optimizer_state, squares), training = jax.lax.scan(
            step, start, (jnp.arange(settings.steps), drawn)
        )
        if settings.optimizer_state == "carried":
            carried = {**carried, "moments": self._moments(optimizer_state)}
        if settings.fisher:
            # The squared gradient of a batch of B underestimates the mean square of its examples B times.
            own = optax.tree.scale(settings.batch_size / settings.steps, squares)
            carried = {**carried, "fisher": optax.incremental_update(own, fisher, 1 - settings.fisher_memory)}
        return (params, carried), jnp.mean(training)

    def _lie(self, tree: Any) -> Any:
        """Keeps whatever goes with the parameters where they are."""
        return tree if self.cut is None else self.cut.constrain(tree)


def _mean(part: Callable[[jax.Array, int | jax.Array], Any], drawn: jax.Array, parts: int) -> Any:
    """The mean of a tree of float32 arrays over equal parts of a batch, of indices `drawn`, int32 [B]."""
    if parts == 1:
        return part(drawn, 0)
    pieces = drawn.reshape(parts, -1)

    def add(total: Any, piece: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        return optax.tree.add(total, part(*piece)), None

    total, _ = jax.lax.scan(add, part(pieces[0], 0), (pieces[1:], jnp.arange(1, parts)))
    return optax.tree.scale(1 / parts, total)
