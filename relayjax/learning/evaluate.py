"""Measuring a model on data that is already on the device.

E: examples, P: parameters.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from relayjax.learning.layout import Layout
from relayjax.learning.task import Batch, Task

Array = np.ndarray | jax.Array


class Evaluator:
    """The compiled losses and metrics of a task. Data comes from `placement.place`.

    Parameters come first in the vectors given; what a baton carries behind them does not matter here.
    """

    def __init__(self, task: Task, layout: Layout):
        def losses(data: Batch, indices: jax.Array, theta: jax.Array) -> jax.Array:
            drawn = jax.tree.map(lambda array: array[indices], data)
            return task.losses(layout.unflatten(theta[: layout.size]), drawn)

        def metrics(data: Batch, theta: jax.Array) -> dict[str, jax.Array]:
            each = task.metrics(layout.unflatten(theta[: layout.size]), data)
            return {name: jnp.mean(values) for name, values in each.items()}

        self._losses = jax.jit(losses)
        self._metrics = jax.jit(metrics)

    def losses(self, theta: Array, data: Batch, indices: Array) -> jax.Array:
        """Loss of each drawn example in nats, float32 [E].

        Args:
          theta: parameters, float32 [P].
          data: the examples on the device.
          indices: which of them, int32 [E]; one compilation per E.
        """
        return self._losses(data, jnp.asarray(indices), theta)

    def mean_loss(self, theta: Array, data: Batch, indices: Array) -> float:
        """Mean loss of the drawn examples in nats, averaged in float64."""
        return float(np.mean(np.asarray(self.losses(theta, data, indices)), dtype=np.float64))

    def metrics(self, theta: Array, data: Batch) -> dict[str, float]:
        """Mean of each of the task's metrics over all examples."""
        return {name: float(value) for name, value in self._metrics(data, theta).items()}

    def losses_on(self, data: Batch, indices: Array) -> Partial:
        """The losses on fixed examples as a function of the parameters alone: [P] → [E].

        The examples are arguments of the `Partial`, and its function is the same object every time, so it
        can be passed into another jitted function without compiling it anew for the next draw.
        """
        return Partial(self._losses, data, jnp.asarray(indices))
