"""Hand-on policies: how much of a trained leg its participant passes on.

    replace       all of it
    ema           rate · delta                      (an exponential moving average of the relay's models)
    line_search   the longest of 1, ½, ¼, …, 2⁻⁵ times the delta that lowers the loss on the development
                  examples; none of it if no step does

A policy is a pure function of (received parameters, delta, loss on the development examples), traced within
the leg.
P: parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

Probe = Callable[[jax.Array], jax.Array]
"""Parameters, float32 [P] → mean loss on the development examples, float32 scalar."""

HandOn = Callable[[jax.Array, jax.Array, Probe], jax.Array]
"""(received, trained − received, probe) → what is added to the received; float32 [P] each."""

HALVINGS = 5


def replace(received: jax.Array, delta: jax.Array, probe: Probe) -> jax.Array:
    """Hands on what was trained."""
    return delta


def ema(rate: float) -> HandOn:
    """Hands on a part of the way."""
    return lambda received, delta, probe: rate * delta


def line_search(received: jax.Array, delta: jax.Array, probe: Probe) -> jax.Array:
    """Halves the way until it lowers the loss on the development examples."""
    start = probe(received)
    shares = 0.5 ** jnp.arange(HALVINGS + 1)
    losses = jax.lax.map(lambda share: probe(received + share * delta), shares)
    better = losses < start
    return jnp.where(jnp.any(better), shares[jnp.argmax(better)], 0.0) * delta


def policy(name: str, rate: float) -> HandOn:
    """The policy of a name: replace, ema or line_search."""
    return {"replace": replace, "ema": ema(rate), "line_search": line_search}[name]
