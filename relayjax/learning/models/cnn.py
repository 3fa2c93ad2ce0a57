"""A small convolutional network for pictures, cheap enough to train on a CPU.

Its convolutions take steps of two, which shrinks the picture where pooling would, at a quarter of the
arithmetic: 28×28 becomes 14×14, then 7×7.

B: examples of a batch, H, W: height and width of a picture, C: channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

STRIDE = 2


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
        size = _stepped(_stepped(height)) * _stepped(_stepped(width)) * second
        self.convolutions = nnx.List(
            [
                Convolution(5, 1, first, dtype=dtype, rngs=rngs),
                Convolution(3, first, second, dtype=dtype, rngs=rngs),
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


class Convolution(nnx.Module):
    """A square filter in steps of two, zeros around the edge; [B, H, W, C] to [B, H / 2, W / 2, outputs].

    It gathers the patches under the filter and multiplies them by its kernel as one matrix. A leg is a
    compiled loop, and within one XLA's own convolution is fourteen times slower on a CPU than outside.
    """

    def __init__(
        self, side: int, channels: int, outputs: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs
    ):
        """Draws the parameters, `kernel` [side, side, C, outputs] and `bias` [outputs].

        Args:
          side: of the filter, odd.
          channels: C.
          outputs: channels of the result.
          dtype: what it computes in.
          rngs: source of the parameters.
        """
        draw = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(draw(rngs.params(), (side, side, channels, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel, bias = self.kernel[...].astype(self.dtype), self.bias[...].astype(self.dtype)
        side, _, channels, outputs = kernel.shape
        _, height, width, _ = x.shape
        around = ((0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0))
        x = jnp.pad(x.astype(self.dtype), around)
        patches = [
            x[:, i : i + height : STRIDE, j : j + width : STRIDE] for i in range(side) for j in range(side)
        ]
        return jnp.concatenate(patches, axis=-1) @ kernel.reshape(side * side * channels, outputs) + bias


def _stepped(length: int) -> int:
    """Length of a side after steps of two."""
    return -(-length // STRIDE)
