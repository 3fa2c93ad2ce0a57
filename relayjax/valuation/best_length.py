"""What directions take off the loss at whatever length helps most: how long a delta is pays nothing.

Aumann–Shapley is linear in a delta's length until the composition overshoots, and a trainer chooses how
long the delta is that it hands in. What a direction can do at its best length is no trainer's choice: so that
is looked up.

Shapes: N participants, P parameters, E validation examples.

References:
  Nocedal and Wright, Numerical Optimization, chapter 3, on exact line search.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from relayjax.errors import DataError
from relayjax.valuation.games.composition import Composition
from relayjax.valuation.games.linear_first import LinearFirst, at_once

STEPS = 16
FRACTIONS = np.square(np.arange(STEPS + 1, dtype=np.float32) / STEPS)
"""Of a whole delta, that are tried: most of them short, as what helps is a tenth to a third of one."""


def level_factors(lengths: np.ndarray) -> np.ndarray:
    """What makes all deltas equally long: as long as the lower median of those that are not empty.

    Args:
      lengths: of the deltas, float64 [N].

    Returns:
      float64 [N]; 0 for empty ones.
    """
    moving = np.sort(lengths[lengths > 0])
    if not len(moving):
        return np.zeros_like(lengths)
    median = moving[(len(moving) - 1) // 2]
    return np.divide(median, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def best_length_gains(game: Composition, directions: jax.Array, factors: np.ndarray) -> np.ndarray:
    """What each direction takes off the loss at its best length, beside half of all the others' work.

        g_i = max_{x ∈ X} [ ℓ(B_i) − ℓ(B_i + x f_i d_i) ],   B_i = θ_b + ½ Σ_{j≠i} w_j δ_j

    Half of the others is the middle of the way that Aumann–Shapley integrates over.

    Args:
      game: the composition; its deltas at their weights are the others' work.
      directions: d, float32 [N, P].
      factors: f, that bring each to the length that is the most to be tried, float32 [N].

    Returns:
      float64 [N], nats, none negative.

    Raises:
      DataError: the loss is not finite beside half of the others' work.
    """
    others = game.base, game.deltas, game.weights
    block = at_once(game.staged, game.base, len(FRACTIONS))
    losses = _along(game.staged, *others, directions, jnp.asarray(factors), FRACTIONS, block=block)
    return _falls(np.asarray(losses, np.float64))


def best_length_gain(game: Composition, way: jax.Array) -> float:
    """What one direction takes off the loss of the base at its best length, nats.

        g = max_{x ∈ X} [ ℓ(θ_b) − ℓ(θ_b + x d) ]

    Args:
      game: whose base and losses are meant.
      way: d, at the length that is the most to be tried, float32 [P].

    Raises:
      DataError: the loss of the base is not finite.
    """
    losses = _straight(
        game.staged, game.base, way, FRACTIONS, block=at_once(game.staged, game.base, len(FRACTIONS))
    )
    return float(_falls(np.asarray(losses, np.float64)[None])[0])


def _falls(losses: np.ndarray) -> np.ndarray:
    """How far the least loss of each row lies below its first: the lowest point of the parabola there."""
    if not np.isfinite(losses[:, 0]).all():
        raise DataError(
            "best length: a loss is not finite where nothing was added; refuse deltas that diverge"
        )
    falls = losses[:, :1] - np.where(np.isfinite(losses), losses, np.inf)
    least = falls.argmax(axis=1)
    rows, middle = np.arange(len(falls)), least.clip(1, STEPS - 1)
    before, at, after = (falls[rows, middle + step] for step in (-1, 0, 1))
    x = FRACTIONS.astype(np.float64)
    left, right = x[middle] - x[middle - 1], x[middle + 1] - x[middle]
    with np.errstate(invalid="ignore", divide="ignore"):  # infinities next to the least, or nothing bends
        slope = ((at - before) / left * right + (after - at) / right * left) / (left + right)
        bend = 2 * ((at - before) / left - (after - at) / right) / (left + right)
        further = np.where((least == middle) & (bend > 0), slope**2 / (2 * bend), 0.0)
    return falls[rows, least] + np.where(np.isfinite(further), further, 0.0)


@partial(jax.jit, static_argnames="block")
def _along(
    losses: LinearFirst,
    base: jax.Array,
    deltas: jax.Array,
    weights: jax.Array,
    directions: jax.Array,
    factors: jax.Array,
    fractions: jax.Array,
    block: int,
) -> jax.Array:
    """Mean losses along each direction, float32 [N, fractions]."""
    start = losses.linear(base)
    total = losses.linear(jnp.dot(weights, deltas, precision=lax.Precision.HIGHEST))

    def one(given: tuple[jax.Array, ...]) -> jax.Array:
        weight, delta, direction, factor = given
        own, ahead = losses.linear(weight * delta), losses.linear(factor * direction)
        here = jax.tree.map(lambda at, of_all, of_one: at + 0.5 * (of_all - of_one), start, total, own)
        return _mean_losses(losses, here, ahead, fractions, block)

    return lax.map(one, (weights, deltas, directions, factors))


@partial(jax.jit, static_argnames="block")
def _straight(
    losses: LinearFirst, base: jax.Array, way: jax.Array, fractions: jax.Array, block: int
) -> jax.Array:
    """Mean losses from the base along a way, float32 [fractions]."""
    return _mean_losses(losses, losses.linear(base), losses.linear(way), fractions, block)


def _mean_losses(
    losses: LinearFirst, here: object, ahead: object, fractions: jax.Array, block: int
) -> jax.Array:
    def at(fraction: jax.Array) -> jax.Array:
        return losses.after(jax.tree.map(lambda from_, step: from_ + fraction * step, here, ahead)).mean()

    return lax.map(at, fractions, batch_size=block)
