"""How fast this accelerator multiplies matrices: what the legs are measured against where no vendor says it.

A "leg" is one compiled chain of products of square matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from peers.protocol import serve


def setup(spec: dict[str, Any]) -> tuple[str, Callable[[], Any], Callable[[], int | None]]:
    """See `protocol.serve`."""
    size, count, kind = spec["size"], spec["count"], jnp.dtype(spec["dtype"])
    x, w = jax.random.normal(jax.random.key(0), (2, size, size), kind)
    w = w * jnp.asarray(size**-0.5, kind)  # the products keep their size

    @jax.jit
    def chain(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, count, lambda _, x: x @ w, x)

    return jax.devices()[0].device_kind, lambda: jax.block_until_ready(chain(x, w)), lambda: None


if __name__ == "__main__":
    serve(setup)
