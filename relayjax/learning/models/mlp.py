"""A fully connected network.

B: examples of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from relayjax.learning.models.functional import BeginsDense


class MLP(BeginsDense):
    """Layers with ReLU between them; maps [B, ...] to logits, float32 [B, outputs]."""

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Draws the parameters.

        Args:
          inputs: numbers an example consists of, whatever its shape.
          hidden: widths of the hidden layers.
          outputs: logits of an example.
          dtype: what the layers compute in.
          rngs: source of the parameters.
        """
        widths = (inputs, *hidden, outputs)
        self.layers = nnx.List([nnx.Linear(a, b, dtype=dtype, rngs=rngs) for a, b in pairwise(widths)])

    @property
    def first_layer(self) -> str | None:
        return "layers/0" if self.layers[0].dtype == jnp.float32 else None

    def first(self, x: jax.Array) -> jax.Array:
        return self.layers[0](x)

    def after_first(self, pre_activations: jax.Array) -> jax.Array:
        x = pre_activations
        for layer in self.layers[1:]:
            x = layer(jax.nn.relu(x))
        return x.astype(jnp.float32)
