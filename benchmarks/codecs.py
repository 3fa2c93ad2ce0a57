"""How fast deltas are encoded, beside a memory copy and `jax.jit` in the same run.

    python benchmarks/codecs.py [--json=FILE] [--largest=BYTES]

Speeds are in gigabytes of parameters (4 P bytes) a second, the best of several calls. `copy` is
`numpy.copyto`; it and the bare kernels reuse their buffers, `jax add` does by donation, JAX's others cannot.
The codecs include all checks. The child is the parent plus a thousandth of noise.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from relayjax import codec
from relayjax.kernels import mxint8

SIZES = (10_000, 100_000, 1_000_000, 8_000_000, 64_000_000)  # bytes of parameters
Row = dict[str, float]


@jax.jit
def jax_encode(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """MXINT8 as one would write it in JAX; P must be a multiple of 32."""
    blocks = x.reshape(-1, mxint8.BLOCK)
    codes = jax.lax.bitcast_convert_type(jnp.abs(blocks).max(axis=1), jnp.int32) >> 23
    quotients = blocks / jnp.ldexp(jnp.float32(1), codes - 133)[:, None]
    return codes.astype(jnp.uint8), jnp.clip(jnp.rint(quotients), -127, 127).astype(jnp.int8)


@jax.jit
def jax_decode(codes: jax.Array, elements: jax.Array) -> jax.Array:
    """The inverse of `jax_encode`: float32 `[P]`."""
    steps = jnp.ldexp(jnp.float32(1), codes.astype(jnp.int32) - 133)
    return (elements.astype(jnp.float32) * steps[:, None]).reshape(-1)


@functools.partial(jax.jit, donate_argnums=2)
def jax_add(codes: jax.Array, elements: jax.Array, base: jax.Array) -> jax.Array:
    """Adds the decoded delta to a base that is given away."""
    return jnp.where(elements.reshape(-1) == 0, base, base + jax_decode(codes, elements))


def seconds(call: Callable[[], object], budget: float = 0.3) -> float:
    """Returns the shortest time of at least three calls, after one that compiles."""
    call()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < budget and len(times) < 1000):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(size: int) -> Row:
    """Measures everything on vectors of P = `size` values; gigabytes a second, and lossless's ratio."""
    rng = np.random.default_rng(0)
    parent = rng.standard_normal(size, np.float32)
    child = parent + np.float32(1e-3) * rng.standard_normal(size, np.float32)
    out, delta = np.zeros_like(parent), child - parent
    scales, elements = np.zeros(mxint8.block_count(size), np.uint8), np.zeros(size, np.int8)
    row = {
        "copy": seconds(lambda: np.copyto(out, parent)),
        "encode": seconds(lambda: mxint8.encode(delta, scales, elements)),
        "decode": seconds(lambda: mxint8.decode(scales, elements, out)),
        "add": seconds(lambda: mxint8.add(scales, elements, out, out)),
    }
    device_delta = jnp.asarray(delta)
    encoded = jax_encode(device_delta)
    base = jnp.array(parent)

    def add_in_jax() -> None:
        nonlocal base
        base = jax.block_until_ready(jax_add(*encoded, base))

    row["jax encode"] = seconds(lambda: jax.block_until_ready(jax_encode(device_delta)))
    row["jax decode"] = seconds(lambda: jax.block_until_ready(jax_decode(*encoded)))
    row["jax add"] = seconds(add_in_jax)
    ratios: Row = {}
    for name in codec.NAMES:
        coder = codec.get(name)
        payload = coder.encode(parent, child)
        ratios[f"{name} ratio"] = parent.nbytes / len(payload)
        row[f"{name} to bytes"] = seconds(functools.partial(coder.encode, parent, child))
        row[f"{name} apply"] = seconds(functools.partial(coder.apply, payload, parent, out))
    return {name: parent.nbytes / value / 1e9 for name, value in row.items()} | ratios


def main() -> None:
    """Measures, prints a table and, if asked, writes the figures."""
    parser = argparse.ArgumentParser(description="Speed of the delta codecs.")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="skip sizes of more bytes")
    options = parser.parse_args()
    rows = {size: measure(size // 128 * 32) for size in SIZES if size <= options.largest}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, jax on {jax.default_backend()}"
    table = Table("", *(f"{size / 1e6:g} MB" for size in rows), title=f"GB/s on {machine}")
    for name in next(iter(rows.values())):
        table.add_row(name, *(f"{row[name]:.2f}" for row in rows.values()))
    Console().print(table)
    if options.json:
        figures = {str(size): row for size, row in rows.items()}
        options.json.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
