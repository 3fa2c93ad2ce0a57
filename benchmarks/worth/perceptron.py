"""A dense layer, ReLU and another one, as games for the clock: what they are made of matters to nobody here.

The parameters as one vector: kernel [D, H], bias [H], kernel [H, K], bias [K]; H and K are constants.

Shapes: N participants, E validation examples, P parameters, D inputs, H hidden units, K classes.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from relayjax.valuation.games import DenseFirst

HIDDEN, CLASSES = 128, 10


def size(inputs: int) -> int:
    """P."""
    return (inputs + 1) * HIDDEN + (HIDDEN + 1) * CLASSES


def arrays(inputs: int, rows: int, participants: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A game of random numbers: inputs, labels, base, deltas and weights by name."""
    rng = np.random.default_rng(seed)
    scale = np.float32(inputs**-0.5)
    return {
        "inputs": rng.standard_normal((rows, inputs), np.float32),
        "labels": rng.integers(0, CLASSES, rows).astype(np.int32),
        "base": scale * rng.standard_normal(size(inputs), np.float32),
        "deltas": scale * rng.standard_normal((participants, size(inputs)), np.float32),
        "weights": np.full(participants, 1 / participants, np.float32),
    }


def losses(inputs: jax.Array, labels: jax.Array) -> DenseFirst:
    """Cross-entropy of inputs [E, D] and labels int32 [E] as a function of the parameters, in two steps."""
    return DenseFirst(inputs, Partial(_rest, labels), _cut)


def _cut(theta: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
    inputs = (len(theta) - CLASSES) // HIDDEN - CLASSES - 1
    ends = np.cumsum([inputs * HIDDEN, HIDDEN, HIDDEN * CLASSES])
    first, bias, second, last = jnp.split(theta, ends)
    return first.reshape(-1, HIDDEN), bias, (second.reshape(HIDDEN, CLASSES), last)


def _rest(labels: jax.Array, before: jax.Array, others: Any) -> jax.Array:
    kernel, bias = others
    odds = jax.nn.log_softmax(jax.nn.relu(before) @ kernel + bias)
    return -jnp.take_along_axis(odds, labels[:, None], axis=1)[:, 0]
