"""The block formats of `kernels`, encoded where the delta lies, so that less has to be copied to the host.

An accelerator may flush subnormal numbers to zero, fuse operations or divide inexactly. So nothing here
computes with floats: a value is a sign, a significand and an exponent, and rounding is integer arithmetic.
Any XLA backend thus gives the bytes of `kernels.mxint8`, `kernels.mxfp4` and `kernels.sign` for every finite
vector.

    sig, exp      the value is sig · 2^(exp - 150): subnormals with exp = 0 and a doubled significand

Each function takes the delta, float32 `[P]`, and returns a payload's body, uint8: scale codes, then elements,
as `codec.blocks` describes. A block that holds NaN or infinity has the code 255, which the codec's `wrap`
refuses. B is the number of blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from relayjax.kernels import mxfp4, mxint8, sign


@jax.jit
def encode_mxint8(delta: jax.Array) -> jax.Array:
    """Returns the body that `kernels.mxint8.encode` fills: uint8 `[B + P]`."""
    negative, sig, exp = _parts(delta, mxint8.BLOCK)
    codes = exp.max(axis=1, keepdims=True)
    # The quotient is sig · 2^(exp - 150) / 2^(code - 133).
    magnitude = jnp.minimum(_shift_half_even(sig, 17 + codes - exp), 127)
    elements = jnp.where(codes == mxint8.NAN_CODE, 0, jnp.where(negative, -magnitude, magnitude))
    return _body(codes, elements.astype(jnp.int8).view(jnp.uint8), delta.size)


@jax.jit
def encode_mxfp4(delta: jax.Array) -> jax.Array:
    """Returns the body that `kernels.mxfp4.encode` fills: uint8 `[B + ceil(P / 2)]`."""
    negative, sig, exp = _parts(delta, mxfp4.BLOCK)
    peaks = exp.max(axis=1, keepdims=True)
    wrong = peaks == mxfp4.NAN_CODE
    codes = jnp.maximum(peaks - 2, 0)
    # From 2^e on, e ≥ 0, elements are 2^(e-1) apart, two codes an exponent; below 1 as from 1 to 2.
    e = exp - codes
    code = jnp.minimum(_shift_half_even(sig, 22 + jnp.maximum(-e, 0)) + 2 * jnp.maximum(e, 0), 7)
    code = jnp.where(wrong, 0, jnp.where(negative & (code > 0), code + 8, code)).reshape(-1, 2)
    packed = (code[:, 0] | code[:, 1] << 4).astype(jnp.uint8)
    return _body(jnp.where(wrong, mxfp4.NAN_CODE, codes), packed, mxfp4.element_count(delta.size))


@jax.jit
def encode_sign(delta: jax.Array) -> jax.Array:
    """Returns the body that `kernels.sign.encode` fills: uint8 `[B + ceil(P / 8)]`."""
    negative, sig, exp = _parts(delta, sign.BLOCK)
    # `kernels.sign` counts subnormals as exponent 1 instead of doubling their significands.
    sig, exp = jnp.where(exp == 0, sig >> 1, sig), jnp.maximum(exp, 1)
    largest = exp.max(axis=1, keepdims=True)
    total = (sig >> jnp.minimum(2 + largest - exp, 31)).astype(jnp.uint32).sum(axis=1, keepdims=True)
    blocks = largest.shape[0]
    sizes = jnp.full((blocks, 1), sign.BLOCK, jnp.uint32).at[-1].set(delta.size - (blocks - 1) * sign.BLOCK)
    quotient = jnp.maximum(4 * total // (3 * sizes), 1)
    codes = jnp.minimum(31 - jax.lax.clz(quotient).astype(jnp.int32) + largest - 21, 254)
    codes = jnp.where(largest == sign.NAN_CODE, sign.NAN_CODE, jnp.maximum(codes, 0))
    set_bits = negative & (codes > 0) & (codes < sign.NAN_CODE)
    weights = jnp.left_shift(jnp.uint8(1), jnp.arange(8, dtype=jnp.uint8))
    packed = jnp.where(set_bits.reshape(-1, 8), weights, jnp.uint8(0)).sum(axis=1, dtype=jnp.uint8)
    return _body(codes, packed, sign.element_count(delta.size))


ENCODERS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "mxint8": encode_mxint8,
    "mxfp4": encode_mxfp4,
    "sign": encode_sign,
}
"""By the name of the codec whose `wrap` takes what they return."""


@partial(jax.jit, static_argnums=1, inline=True)
def _parts(delta: jax.Array, block: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns sign (bool), significand and biased exponent (int32), each `[B, block]`, padded with +0."""
    bits = jax.lax.bitcast_convert_type(delta, jnp.int32)
    bits = jnp.pad(bits, (0, -delta.size % block)).reshape(-1, block)
    exp = (bits >> 23) & 0xFF
    mantissa = bits & 0x7FFFFF
    return bits < 0, jnp.where(exp > 0, mantissa | 0x800000, mantissa << 1), exp


def _shift_half_even(value: jax.Array, shift: jax.Array) -> jax.Array:
    """Returns value / 2^shift, rounded half to even, for values below 2^24 and shifts of at least 1."""
    shift = jnp.minimum(shift, 26)  # such a value is below a quarter then
    half = jnp.left_shift(1, shift - 1)
    return (value + (half - 1) + ((value >> shift) & 1)) >> shift


def _body(codes: jax.Array, elements: jax.Array, count: int) -> jax.Array:
    return jnp.concatenate([codes.reshape(-1).astype(jnp.uint8), elements.reshape(-1)[:count]])
