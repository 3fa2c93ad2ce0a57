"""Adapters of low rank: what is handed on in a relay is small, however large the model is.

    W = W₀ + alpha / rank · A B,   A [inputs, rank] random, B [rank, outputs] zeros at first

W₀ stays as it is; A and B of each adapted matrix are all that is trained, sent, scored and recorded. Any
task can be adapted, since its own functions are called with W and know of nothing. A step therefore saves no
arithmetic, it even adds the product A B; what shrinks is the delta, the optimizer's state and everything
after the leg.

An adapted run is told in one line of a config:

    task=LoRA(task=Text(), rank=8, weights="base.safetensors", digest="…")

The last two axes of an array are its matrix. One axis before them stacks layers, each of which gets adapters
of its own; more are a convolution's window, and are joined with the inputs.

References: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685, equation 3.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from relayjax.errors import ConfigError
from relayjax.learning.frozen import Frozen
from relayjax.learning.initial import Initial
from relayjax.learning.layout import Layout, Params
from relayjax.learning.task import Task, TaskSettings
from relayjax.learning.tasks.digits import Digits
from relayjax.settings import setting

Adapters = Mapping[str, Mapping[str, jax.Array]]
"""Name of an adapted array → its "a" and "b"."""


@dataclass(frozen=True)
class LoRA(TaskSettings):
    """A task of which only adapters are trained, beside weights that are given."""

    task: TaskSettings = setting(Digits, "the task that is adapted")
    rank: int = setting(8, "rank of the adapters; 0 trains the task as it is", low=0)
    alpha: float = setting(16.0, "weight of the adapters' product, over the rank", above=0.0)
    match: str = setting("kernel$", "regular expression, found in the names of what is adapted")
    weights: str = setting("", "safetensors file of the weights; none: the task's own initial ones")
    digest: str = setting("", "BLAKE3 of these weights as one float32 vector, hexadecimal")

    def check(self) -> None:
        Initial(self.weights, self.digest)
        try:
            re.compile(self.match)
        except re.error as error:
            raise ConfigError(f"match={self.match!r}: not a regular expression ({error})") from error

    def build(self, participants: int, seed: int) -> Task:
        """Builds the task and adapts it; see `TaskSettings.build`.

        Raises:
          DataError: the weights cannot be read, do not fit, or are not those of the digest.
          ConfigError: no array of the model can be adapted as asked.
        """
        task = self.task.build(participants, seed)
        return lora(task, self.base(task, seed), self.rank, self.alpha, self.match) if self.rank else task

    def base(self, task: Task, seed: int) -> Params:
        """The weights beside which adapters are trained.

        Args:
          task: as `self.task` builds it.
          seed: of the run.
        """
        # The ledger holds the config and the adapters: only the digest says what they were adapters of.
        return Initial(self.weights, self.digest).task(task).init(jax.random.key(seed))


def lora(task: Task, base: Params, rank: int, alpha: float, match: str) -> Task:
    """The same task, with adapters for its parameters.

    Args:
      task: what is adapted.
      base: its parameters, which stay as they are.
      rank: of the adapters.
      alpha: their product counts alpha / rank.
      match: regular expression; arrays of two axes or more in whose name it is found are adapted.

    Raises:
      ConfigError: nothing matches, or the rank is not below that of an adapted matrix.
    """
    layout = Layout.of(base)
    shapes = _adapter_shapes(layout, rank, match)
    frozen = Frozen(base)

    def init(key: jax.Array) -> Adapters:
        keys = jax.random.split(key, len(shapes))
        return {
            name: {"a": jax.random.normal(key, a) / math.sqrt(a[-2]), "b": jnp.zeros(b)}
            for key, (name, (a, b)) in zip(keys, shapes.items(), strict=True)
        }

    def full(adapters: Adapters) -> Params:
        return merge(frozen.read(), adapters, alpha)

    def on_full(function: Callable[..., Any] | None) -> Any:
        """A function of the task's parameters as one of the adapters, where there is one."""
        return function and (lambda adapters, *rest: function(full(adapters), *rest))

    return dataclasses.replace(
        task,
        name=f"{task.name}-lora",
        init=init,
        losses=on_full(task.losses),
        metrics=on_full(task.metrics),
        objective=on_full(task.objective),
        logits=on_full(task.logits),
        frozen=(*task.frozen, frozen),
    )


def merge(base: Params, adapters: Adapters, alpha: float) -> Params:
    """The weights that base and adapters are together: a model like any other.

    Args:
      base: parameters of the adapted task.
      adapters: parameters of the task that `lora` returned.
      alpha: as given to `lora`.
    """
    leaves, structure = jax.tree.flatten(base)
    merged = [
        leaf + _product(adapters[name], alpha).reshape(leaf.shape) if name in adapters else leaf
        for name, leaf in zip(Layout.of(base).names, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, merged)


def _product(adapter: Mapping[str, jax.Array], alpha: float) -> jax.Array:
    return jnp.matmul(adapter["a"], adapter["b"]) * (alpha / adapter["a"].shape[-1])


def _adapter_shapes(
    layout: Layout, rank: int, match: str
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of A and B by the name of what they adapt."""
    shapes = {}
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        if len(shape) < 2 or not re.search(match, name):
            continue
        layers = shape[:1] if len(shape) == 3 else ()
        inputs, outputs = math.prod(shape[len(layers) : -1]), shape[-1]
        if rank >= min(inputs, outputs):
            raise ConfigError(
                f"rank={rank}: must be below {min(inputs, outputs)} to adapt {name} {list(shape)}; take a "
                "lower rank, or a match that leaves it out"
            )
        shapes[name] = ((*layers, inputs, rank), (*layers, rank, outputs))
    if not shapes:
        raise ConfigError(
            f"match={match!r}: no parameter of two axes or more has such a name; there are "
            f"{', '.join(layout.names)}"
        )
    return shapes
