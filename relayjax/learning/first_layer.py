"""Losses that begin with a dense layer, so that a validator computes it once for all coalitions it values.

The layer is linear in its parameters, and its inputs are the validation examples: what each participant's
delta adds to the pre-activations is computed once, and for a coalition only added up.

B: examples of a batch, E: drawn examples, D: inputs of the layer, H: its units, P: parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial, register_dataclass

from relayjax.errors import ConfigError
from relayjax.learning.layout import Layout, Params
from relayjax.learning.task import Batch


@dataclass(frozen=True)
class FirstLayerLosses:
    """`Task.losses` that say how they begin: inputs(batch) @ kernel + bias.

    They belong together in one object, so that a task with other losses never offers this one's first layer.

    Attributes:
      whole: (parameters, batch) → loss of each example in nats, float32 [B]; what calling this computes.
      kernel: name of the layer's kernel [D, H] in the parameters, such as "layers/0/kernel".
      bias: name of its bias [H].
      inputs: batch → what the layer is applied to, float32 [B, D].
      after: (parameters, batch, pre-activations [B, H]) → the same losses. The parameters it is given hold
        NaN in place of kernel and bias.
    """

    whole: Callable[[Params, Batch], jax.Array]
    kernel: str
    bias: str
    inputs: Callable[[Batch], jax.Array]
    after: Callable[[Params, Batch, jax.Array], jax.Array]

    def __call__(self, params: Params, batch: Batch) -> jax.Array:
        return self.whole(params, batch)

    def steps(self, layout: Layout) -> tuple[Callable[..., Any], Callable[..., jax.Array]]:
        """The two steps as functions of flat parameters.

        Args:
          layout: of the parameters.

        Returns:
          (batch, parameters float32 [P] or longer) → parts: pre-activations float32 [E, H] and the remaining
          parameters as one vector; and (batch, parts) → losses float32 [E].

        Raises:
          ConfigError: the parameters have no such kernel and bias.
        """
        kernel, bias = (self._place(layout, name) for name in (self.kernel, self.bias))
        if len(layout.shapes[kernel]) != 2 or layout.shapes[bias] != layout.shapes[kernel][1:]:
            raise ConfigError(
                f"first layer: {self.kernel} {list(layout.shapes[kernel])} and {self.bias} "
                f"{list(layout.shapes[bias])} are no dense layer; name a kernel [D, H] and a bias [H]"
            )
        rest = [i for i in range(len(layout.names)) if i not in (kernel, bias)]
        sizes = [math.prod(layout.shapes[i]) for i in rest]
        starts = [sum(sizes[:n]) for n in range(1, len(sizes))]

        def linear(batch: Batch, theta: jax.Array) -> Any:
            flat = jnp.split(theta[: layout.size], layout.offsets[1:-1])
            # Accelerators may multiply float32 in fewer bits by default, too few for values this close.
            products = jnp.dot(
                self.inputs(batch),
                flat[kernel].reshape(layout.shapes[kernel]),
                precision=lax.Precision.HIGHEST,
            )
            return products + flat[bias], jnp.concatenate([theta[:0], *(flat[i] for i in rest)])

        def after(batch: Batch, parts: Any) -> jax.Array:
            pre_activations, others = parts
            leaves = [jnp.full(shape, jnp.nan) for shape in layout.shapes]
            for i, leaf in zip(rest, jnp.split(others, starts) if rest else (), strict=True):
                leaves[i] = leaf.reshape(layout.shapes[i])
            return self.after(jax.tree.unflatten(layout.tree, leaves), batch, pre_activations)

        return linear, after

    def _place(self, layout: Layout, name: str) -> int:
        if name not in layout.names:
            raise ConfigError(
                f"first layer: no parameter is called {name}; there are {', '.join(layout.names)}"
            )
        return layout.names.index(name)


@register_dataclass
@dataclass(frozen=True, eq=False)
class StagedLosses:
    """Losses on fixed examples as a function of the parameters alone, [P] → [E], in two steps.

    Attributes:
      linear: parameters float32 [P] → parts, linear in them.
      after: parts → losses float32 [E], nats.
    """

    linear: Partial
    after: Partial

    def __call__(self, theta: jax.Array) -> jax.Array:
        return self.after(self.linear(theta))
