"""The calls that are timed: kernels with reused buffers, whole codecs, and what others offer for the same.

P: values of the vector.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from relayjax import codec, on_device
from relayjax.codec import feedback
from relayjax.kernels import bits, buffers, mxfp4, mxint8, sign, threads, topk

Call = Callable[[], object]
SHARES = {"1 %": 100, "0.1 %": 1000}  # one value in so many
_POOL = ThreadPoolExecutor(2)


def over_two_threads(call: Callable[[int, int], object], size: int) -> None:
    """Calls `call(first, last)` for both halves, on two threads where the kernels would start some."""
    if size < threads.PARALLEL_FROM:
        call(0, size)
        return
    for half in [_POOL.submit(call, 0, size // 2), _POOL.submit(call, size // 2, size)]:
        half.result()


def memory(x: np.ndarray, out: np.ndarray) -> dict[str, Call]:
    """What any program is bound by: copying a vector, and reading it."""

    def copy(first: int, last: int) -> None:
        np.copyto(out[first:last], x[first:last])

    def read(first: int, last: int) -> int:
        return bits.first_nonfinite(x[first:last])

    return {"copy": partial(over_two_threads, copy, x.size), "read": partial(over_two_threads, read, x.size)}


def kernels(x: np.ndarray, out: np.ndarray) -> dict[str, Call]:
    """The kernels. `out` is overwritten, `add` changes it in place."""
    calls: dict[str, Call] = {}
    modules: dict[str, Any] = {"mxint8": mxint8, "mxfp4": mxfp4, "sign": sign}
    for name, kernel in modules.items():
        scales = buffers.empty(kernel.block_count(x.size))
        elements = buffers.empty(kernel.element_count(x.size), kernel.ELEMENT)
        calls[f"{name} encode"] = partial(kernel.encode, x, scales, elements)
        calls[f"{name} decode"] = partial(kernel.decode, scales, elements, out)
        calls[f"{name} add"] = partial(kernel.add, scales, elements, out, out)
    for share, one_in in SHARES.items():
        k = -(-x.size // one_in)
        indices, values = np.zeros(k, np.int64), np.zeros(k, np.float32)
        k = topk.select(x, k, indices, values)
        gaps = np.zeros(topk.gaps_bound(k, x.size), np.uint8)
        written = gaps[: topk.write_gaps(indices, gaps)]
        calls[f"top {share} select"] = partial(topk.select, x, k, indices, values)
        calls[f"top {share} select, write gaps"] = partial(_select_and_write, x, k, indices, values, gaps)
        calls[f"top {share} apply"] = partial(topk.scatter_add, written, values, out)
    return calls


def _select_and_write(
    x: np.ndarray, k: int, indices: np.ndarray, values: np.ndarray, gaps: np.ndarray
) -> None:
    topk.select(x, k, indices, values)
    topk.write_gaps(indices, gaps)


def peers(x: np.ndarray) -> dict[str, Call]:
    """The same work with NumPy and JAX as they come, and our own encoders in XLA."""
    whole = jnp.asarray(x[: x.size // 32 * 32])
    encoded = jax.block_until_ready(jax_encode(whole))
    k = -(-x.size // 100)
    magnitudes = np.abs(x)
    calls: dict[str, Call] = {
        "jax.jit mxint8 encode": lambda: jax.block_until_ready(jax_encode(whole)),
        "jax.jit mxint8 decode": lambda: jax.block_until_ready(jax_decode(*encoded)),
        "np.argpartition top 1 %": lambda: np.argpartition(magnitudes, x.size - k),
        "jax.lax.top_k top 1 %": lambda: jax.block_until_ready(jax_top_k(whole, k)),
    }
    for name, encode in on_device.ENCODERS.items():
        calls[f"on_device {name} encode"] = lambda encode=encode: jax.block_until_ready(encode(whole))
    return calls


def codecs(
    parent: np.ndarray, child: np.ndarray, out: np.ndarray
) -> tuple[dict[str, Call], dict[str, float]]:
    """Whole codecs with all their checks, and how many times smaller than the parameters payloads are."""
    calls: dict[str, Call] = {}
    ratios: dict[str, float] = {}
    for name in codec.NAMES:
        coder = codec.get(name)
        payload = feedback.encode(coder, parent, child, None).payload
        ratios[name] = parent.nbytes / len(payload)
        calls[f"{name} to bytes"] = partial(coder.encode_once, parent, child)
        calls[f"{name} apply"] = partial(coder.apply, payload, parent, out)
    return calls, ratios


@jax.jit
def jax_encode(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """MXINT8 as one would write it in JAX; 32 must divide P."""
    blocks = x.reshape(-1, mxint8.BLOCK)
    codes = jax.lax.bitcast_convert_type(jnp.abs(blocks).max(axis=1), jnp.int32) >> 23
    quotients = blocks / jnp.ldexp(jnp.float32(1), codes - 133)[:, None]
    return codes.astype(jnp.uint8), jnp.clip(jnp.rint(quotients), -127, 127).astype(jnp.int8)


@jax.jit
def jax_decode(codes: jax.Array, elements: jax.Array) -> jax.Array:
    """The inverse of `jax_encode`: float32 `[P]`."""
    steps = jnp.ldexp(jnp.float32(1), codes.astype(jnp.int32) - 133)
    return (elements.astype(jnp.float32) * steps[:, None]).reshape(-1)


@partial(jax.jit, static_argnums=1)
def jax_top_k(x: jax.Array, k: int) -> jax.Array:
    """Indices of the k largest magnitudes."""
    return jax.lax.top_k(jnp.abs(x), k)[1]
