"""A small convolutional network for pictures, cheap enough to train on a CPU.

Its convolutions take steps of two, which shrinks the picture where pooling would, at a quarter of the
arithmetic: 28×28 becomes 14×14, then 7×7.

B: examples of a batch, H, W: height and width of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike


class CNN(nnx.Module):
    """Two convolutions and two dense layers; maps grey pictures [B, H, W] to logits, float32 [B, outputs]."""

    def __init__(
        self,
        height: int,
        width: int,
        outputs: int,
        *,
        channels: Sequence[int] = (16, 32),
        hidden: int = 64,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Draws the parameters.

        Args:
          height: H.
          width: W.
          outputs: logits of a picture.
          channels: of the first convolution, 5×5, and of the second, 3×3.
          hidden: width of the first dense layer.
          dtype: what the layers compute in.
          rngs: source of the parameters.
        """
        first, second = channels
        size = _halved(_halved(height)) * _halved(_halved(width)) * second
        self.convolutions = nnx.List(
            [
                nnx.Conv(1, first, (5, 5), strides=2, dtype=dtype, rngs=rngs),
                nnx.Conv(first, second, (3, 3), strides=2, dtype=dtype, rngs=rngs),
            ]
        )
        self.dense = nnx.Linear(size, hidden, dtype=dtype, rngs=rngs)
        self.head = nnx.Linear(hidden, outputs, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x[..., None]
        for convolution in self.convolutions:
            x = jax.nn.relu(convolution(x))
        x = jax.nn.relu(self.dense(x.reshape(len(x), -1)))
        return self.head(x).astype(jnp.float32)


def _halved(length: int) -> int:
    """Length of a side after a step of two with zeros around the edge."""
    return -(-length // 2)
