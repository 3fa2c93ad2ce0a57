"""Measuring a model on data that is already on the device.

E: examples, P: parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
from jax.tree_util import Partial

from relayjax.learning.first_layer import FirstLayerLosses, StagedLosses
from relayjax.learning.layout import Layout
from relayjax.learning.task import Batch, Task, examples

Array = np.ndarray | jax.Array

CHUNK = 256
"""Examples whose metrics are computed at once: a model's outputs for a whole test set may not fit."""


class Evaluator:
    """The compiled losses and metrics of a task. Data comes from `placement.place`.

    Parameters come first in the vectors given; what a baton carries behind them does not matter here.

    Attributes:
      size: P.
      threads: how many may call what is compiled at once; None: any number.
    """

    def __init__(self, task: Task, layout: Layout):
        def draw(data: Batch, indices: jax.Array) -> Batch:
            return jax.tree.map(lambda array: array[indices], data)

        def losses_of(drawn: Batch, theta: jax.Array) -> jax.Array:
            return task.losses(layout.unflatten(theta[: layout.size]), drawn)

        def metrics(data: Batch, indices: jax.Array, theta: jax.Array) -> Mapping[str, jax.Array]:
            return task.metrics(layout.unflatten(theta[: layout.size]), draw(data, indices))

        self.size = layout.size
        self.threads = threads_of(task)
        self._draw = jax.jit(draw)
        self._losses = jax.jit(lambda data, indices, theta: losses_of(draw(data, indices), theta))
        self._losses_of = jax.jit(losses_of)
        self._metrics = jax.jit(metrics)
        self._steps = None
        if isinstance(task.losses, FirstLayerLosses):
            self._steps = tuple(jax.jit(step) for step in task.losses.steps(layout))

    def losses(self, theta: Array, data: Batch, indices: Array) -> jax.Array:
        """Loss of each drawn example in nats, float32 [E].

        Args:
          theta: parameters, float32 [P].
          data: the examples on the device.
          indices: which of them, int32 [E]; one compilation per E.
        """
        return self._losses(data, indices, theta)

    def mean_loss(self, theta: Array, data: Batch, indices: Array) -> float:
        """Mean loss of the drawn examples in nats, averaged in float64."""
        return float(np.mean(np.asarray(self.losses(theta, data, indices)), dtype=np.float64))

    def metrics(self, theta: Array, data: Batch) -> dict[str, float]:
        """Mean of each of the task's metrics over all examples, in float64."""
        # From the host, because in a compiled loop XLA's convolutions take many times as long on a CPU.
        count, theta = examples(data), jax.device_put(theta)
        chunks = [jax.device_get(self._metrics(data, drawn, theta)) for drawn in _chunks(count)]
        return {
            name: float(np.mean(np.concatenate([chunk[name] for chunk in chunks])[:count], dtype=np.float64))
            for name in chunks[0]
        }

    def losses_on(self, data: Batch, indices: Array) -> Partial | StagedLosses:
        """The losses on fixed examples as a function of the parameters alone: [P] → [E].

        What is returned is a pytree of the drawn examples, and its function is the same object every time, so
        it can be passed into another jitted function without compiling it anew for the next draw. Where the
        task's losses are `FirstLayerLosses`, it offers the first layer as a step of its own.
        """
        drawn = self._draw(data, indices)
        if self._steps is None:
            return Partial(self._losses_of, drawn)
        linear, after = self._steps
        return StagedLosses(Partial(linear, drawn), Partial(after, drawn))


def threads_of(task: Task) -> int | None:
    """How many threads may call a task's compiled functions at once: see `frozen.py`; None: any number."""
    return 1 if task.frozen else None


def _chunks(count: int) -> np.ndarray:
    """The indices of so many examples in chunks of equal size, the last one filled up with the last example.

    Returns:
      int32 [chunks, at most CHUNK].
    """
    chunks = -(-count // CHUNK)
    size = -(-count // chunks)
    return np.minimum(np.arange(chunks * size, dtype=np.int32), count - 1).reshape(chunks, size)
