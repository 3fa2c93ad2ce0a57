"""Hand-on policies: how much of a trained leg its participant passes on.

    replace       all of it
    ema           rate · delta                      (an exponential moving average of the relay's models)
    line_search   the longest of 1, ½, ¼, …, 2⁻⁵ times the delta that lowers the loss on the development
                  examples; none of it if no step does

A policy is a pure function of (received parameters, delta, loss on the development examples), traced within
the leg.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from relayjax.learning.layout import Params

Probe = Callable[[Params], jax.Array]
"""Parameters → mean loss on the development examples, float32 scalar."""

HandOn = Callable[[Params, Params, Probe], Params]
"""(received, trained − received, probe) → what is added to the received."""

HALVINGS = 5


def replace(received: Params, delta: Params, probe: Probe) -> Params:
    """Hands on what was trained."""
    return delta


def ema(rate: float) -> HandOn:
    """Hands on a part of the way."""
    return lambda received, delta, probe: optax.tree.scale(rate, delta)


def line_search(received: Params, delta: Params, probe: Probe) -> Params:
    """Halves the way until it lowers the loss on the development examples."""
    start = probe(received)
    shares = 0.5 ** jnp.arange(HALVINGS + 1)
    losses = jax.lax.map(lambda share: probe(optax.tree.add_scale(received, share, delta)), shares)
    better = losses < start
    return optax.tree.scale(jnp.where(jnp.any(better), shares[jnp.argmax(better)], 0.0), delta)


def policy(name: str, rate: float) -> HandOn:
    """The policy of a name: replace, ema or line_search."""
    return {"replace": replace, "ema": ema(rate), "line_search": line_search}[name]
