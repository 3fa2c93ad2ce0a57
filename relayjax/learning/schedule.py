"""What changes over a relay: functions of its progress, 0 at the first step of the first leg, 1 at the end.

A schedule that restarts with every leg never lets the model settle; one that spans the relay makes the
last legs small corrections that no longer undo one another.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

SCHEDULES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relay_cosine": lambda progress: 0.5 * (1 + jnp.cos(jnp.pi * progress)),
    "constant": jnp.ones_like,
}
"""By name the share of the peak learning rate that is left at some progress."""


def fade(progress: jax.Array, power: float) -> jax.Array:
    """(1 − progress)^power: how much of a participant's context its training loss still uses.

    Early legs train as if their labels were balanced, which keeps the relay from swinging between
    participants. The correction also hides real differences between labels from the model, which
    costs accuracy at the end; when it has faded the learning rate is too small for swings. Power 0 keeps it.
    """
    return (1 - progress) ** power
