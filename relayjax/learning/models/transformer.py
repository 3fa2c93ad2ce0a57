"""A decoder-only transformer over bytes.

    x ← embedding(tokens);  L times: x ← x + attention(norm(x)); x ← x + mlp(norm(x));  logits ← head(norm(x))

RMSNorm before every part, rotary positions, causal attention, a gated MLP (SwiGLU), no biases.

The blocks are one module whose parameters have a leading axis over the layers, run by a scan: a model of 24
layers has as many leaves as one of two, and compiles as fast.

B: sequences, T: tokens of a sequence, V: vocabulary, W: width, N: heads, D = W / N, H: hidden, L: layers.

References:
  Vaswani et al., "Attention Is All You Need", arXiv 1706.03762.
  Zhang & Sennrich, "Root Mean Square Layer Normalization", arXiv 1910.07467, equation 4.
  Su et al., "RoFormer", arXiv 2104.09864, equation 34.
  Shazeer, "GLU Variants Improve Transformer", arXiv 2002.05202, equation 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from relayjax.errors import ConfigError
from relayjax.learning.mesh import share_batch
from relayjax.settings import Settings, setting

UNROLLED = 4
"""So many blocks are written one after another: a training step of three is a sixth faster on a CPU."""

ROTARY_BASE = 10_000.0
"""Longest wavelength of a rotary position, in tokens, over 2π."""


@dataclass(frozen=True)
class TransformerSettings(Settings):
    """The shape of a transformer and how it computes."""

    vocabulary: int = setting(256, "different tokens; 256 are bytes", low=2)
    layers: int = setting(3, "blocks of attention and MLP", low=1)
    width: int = setting(96, "numbers that represent a token", low=2)
    heads: int = setting(4, "attention heads; width must divide by them into even parts", low=1)
    hidden: int = setting(0, "width of the MLP; 0 is 8/3 of the width, up to a multiple of 32", low=0)
    context: int = setting(64, "tokens that are predicted in one sequence", low=1)
    tied: bool = setting(False, "the head is the transposed embedding")
    compute: str = setting("float32", "type that layers compute in", choices=("float32", "bfloat16"))
    attention: str = setting(
        "xla", "how attention is computed; cudnn is an NVIDIA GPU's own", choices=("xla", "cudnn")
    )
    remat: bool = setting(False, "compute each block again in the backward pass, to save memory")

    def check(self) -> None:
        if self.width % self.heads or self.head_width % 2:
            raise ConfigError(
                f"heads={self.heads}: must divide width={self.width} into even parts, since rotary positions "
                "turn pairs of numbers"
            )
        if self.attention == "cudnn" and (self.compute != "bfloat16" or self.head_width % 8):
            raise ConfigError(
                "attention=cudnn: needs compute=bfloat16 and heads whose width is a multiple of 8 "
                f"(here {self.head_width}); set them so, or attention=xla"
            )

    @property
    def head_width(self) -> int:
        """D, numbers of one head."""
        return self.width // self.heads

    @property
    def hidden_width(self) -> int:
        """H; a gated MLP of 8/3 the width has as many parameters as a plain one of four times it."""
        return self.hidden or -(-8 * self.width // (3 * 32)) * 32


class Transformer(nnx.Module):
    """Maps tokens, integers [B, T], to the logits of each one's successor, float32 [B, T, V].

    The parameters, by path: `embedding/embedding` [V, W]; `blocks/attention/{query,key,value,out}/kernel`
    [L, W, W]; `blocks/mlp/{gate,up}/kernel` [L, W, H]; `blocks/mlp/down/kernel` [L, H, W];
    `blocks/{attention_norm,mlp_norm}/scale` [L, W]; `norm/scale` [W]; unless tied `head/kernel` [W, V].
    """

    def __init__(self, settings: TransformerSettings, *, rngs: nnx.Rngs):
        """Draws the parameters.

        Args:
          settings: shape and computation; `context` is what it is trained on, any T can be given.
          rngs: source of the parameters.
        """
        self.embedding = nnx.Embed(
            settings.vocabulary, settings.width, embedding_init=_normal(settings.width), rngs=rngs
        )
        self.blocks = _stacked_blocks(settings, rngs)
        self.norm = _norm(settings, rngs)
        # Small, so that a new model gives every token about the same chance.
        self.head = None if settings.tied else _linear(settings, "width", "vocabulary", 0.2, rngs)
        self.settings = settings

    def __call__(self, tokens: jax.Array) -> jax.Array:
        settings = self.settings
        x = self.embedding(tokens.astype(jnp.int32).reshape(-1)).astype(settings.compute)
        angles = _angles(tokens.shape[-1], settings.head_width)

        def block(block: Block, x: jax.Array) -> jax.Array:
            return block(share_batch(x), angles)

        # Inside a scan nothing can be merged with the first computation, so there is nothing to prevent.
        block = nnx.remat(block, prevent_cse=False) if settings.remat else block
        unroll = settings.layers if settings.layers <= UNROLLED else 1
        blocks = nnx.scan(block, in_axes=(0, nnx.Carry), out_axes=nnx.Carry, unroll=unroll)
        x = self.norm(blocks(self.blocks, x))
        kernel = self.embedding.embedding[...].T if self.head is None else self.head.kernel[...]
        # Logits of bfloat16 would round away what the loss is made of.
        logits = jnp.matmul(x, kernel.astype(x.dtype), preferred_element_type=jnp.float32)
        return logits.reshape(*tokens.shape, -1)


class Block(nnx.Module):
    """One layer: attention, then the MLP, add to their input, [B T, W].

    All tokens of a batch are rows of one matrix: a product of three axes is 2.5 times slower on a CPU.
    """

    def __init__(self, settings: TransformerSettings, *, rngs: nnx.Rngs):
        self.attention_norm = _norm(settings, rngs)
        self.attention = Attention(settings, rngs=rngs)
        self.mlp_norm = _norm(settings, rngs)
        self.mlp = GatedMLP(settings, rngs=rngs)

    def __call__(self, x: jax.Array, angles: jax.Array) -> jax.Array:
        x = x + self.attention(self.attention_norm(x), angles)
        return x + self.mlp(self.mlp_norm(x))


class Attention(nnx.Module):
    """Causal attention with rotary positions, [B T, W] to the same; there are as many positions as angles."""

    def __init__(self, settings: TransformerSettings, *, rngs: nnx.Rngs):
        self.query = _linear(settings, "width", "width", 1.0, rngs)
        self.key = _linear(settings, "width", "width", 1.0, rngs)
        self.value = _linear(settings, "width", "width", 1.0, rngs)
        self.out = _linear(settings, "width", "width", _residual(settings), rngs)
        self.settings = settings

    def __call__(self, x: jax.Array, angles: jax.Array) -> jax.Array:
        heads = (-1, len(angles), self.settings.heads, self.settings.head_width)
        query = _rotate(self.query(x).reshape(heads), angles)
        key = _rotate(self.key(x).reshape(heads), angles)
        value = self.value(x).reshape(heads)
        if self.settings.attention == "cudnn":
            mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True, implementation="cudnn")
        else:
            mixed = _mix(query, key, value)
        return self.out(mixed.reshape(x.shape))


class GatedMLP(nnx.Module):
    """down(silu(gate(x)) · up(x)), [B T, W] to the same."""

    def __init__(self, settings: TransformerSettings, *, rngs: nnx.Rngs):
        self.gate = _linear(settings, "width", "hidden_width", 1.0, rngs)
        self.up = _linear(settings, "width", "hidden_width", 1.0, rngs)
        self.down = _linear(settings, "hidden_width", "width", _residual(settings), rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


def flops_per_token(settings: TransformerSettings) -> int:
    """Arithmetic of one training step for each token it predicts, in floating-point operations.

        3 · (2 · (L · (4 W² + 3 W H) + W V) + L · 2 W (T + 1))

    A multiplication and an addition count as two. The first term are the matrix products with parameters;
    the second the scores and the mixing of attention, over the (T + 1) / 2 tokens that one sees on average,
    whatever an implementation computes and masks out. The backward pass takes twice the forward pass. Norms,
    rotations, softmax, the embedding's look-up and what `remat` computes again are not counted.
    """
    width, layers = settings.width, settings.layers
    products = layers * (4 * width**2 + 3 * width * settings.hidden_width) + width * settings.vocabulary
    return 3 * (2 * products + layers * 2 * width * (settings.context + 1))


def _angles(length: int, head_width: int) -> jax.Array:
    """Rotary angles of each position and pair, float32 [T, D / 2]: position / base^(2 i / D)."""
    wavelengths = ROTARY_BASE ** (jnp.arange(0, head_width, 2) / head_width)
    return jnp.arange(length)[:, None] / wavelengths


def _rotate(x: jax.Array, angles: jax.Array) -> jax.Array:
    """Turns the pair (i, i + D / 2) of every head, x [B, T, N, D], by its position's angle."""
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)


def _mix(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """softmax(query · key / √D) · value over the tokens up to each one; all [B, T, N, D].

    On a CPU a training step takes 7 % less time than with `jax.nn.dot_product_attention`.
    """
    scores = jnp.einsum("btnd,bsnd->bnts", query, key, preferred_element_type=jnp.float32)
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    shares = jax.nn.softmax(jnp.where(causal, scores * query.shape[-1] ** -0.5, -jnp.inf))
    return jnp.einsum("bnts,bsnd->btnd", shares.astype(value.dtype), value)


def _stacked_blocks(settings: TransformerSettings, rngs: nnx.Rngs) -> Block:
    """L blocks as one, each drawn from a key of its own."""

    @nnx.split_rngs(splits=settings.layers)
    @nnx.vmap
    def blocks(rngs: nnx.Rngs) -> Block:
        return Block(settings, rngs=rngs)

    return blocks(rngs)


def _linear(
    settings: TransformerSettings, inputs: str, outputs: str, scale: float, rngs: nnx.Rngs
) -> nnx.Linear:
    """A matrix between two of the settings' widths; its outputs have about `scale` times the inputs' size."""
    fan_in = getattr(settings, inputs)
    return nnx.Linear(
        fan_in,
        getattr(settings, outputs),
        use_bias=False,
        dtype=jnp.dtype(settings.compute),
        kernel_init=_normal(fan_in, scale),
        rngs=rngs,
    )


def _residual(settings: TransformerSettings) -> float:
    """Scale of what is added to the stream: 2 L such terms together have the size of one."""
    return (2 * settings.layers) ** -0.5


def _norm(settings: TransformerSettings, rngs: nnx.Rngs) -> nnx.RMSNorm:
    return nnx.RMSNorm(settings.width, dtype=jnp.dtype(settings.compute), rngs=rngs)


def _normal(fan_in: int, scale: float = 1.0) -> nnx.Initializer:
    return nnx.initializers.normal(scale * fan_in**-0.5)
