"""What luck is worth: how much a direction that knows nothing of the data would be valued at.

Shapes: N participants, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from relayjax.valuation.games.composition import Composition
from relayjax.valuation.games.linear_first import LinearFirst


def chance(game: Composition, *, nodes: int = 16) -> np.ndarray:
    """Standard deviation of the Aumann–Shapley value of random directions, each as long as a delta.

        s_i = w_i ‖δ_i‖ · ‖∫₀¹ ∇ℓ(θ_b + tΔ) dt‖ / √P

    A direction drawn from the sphere has, in P dimensions, a mean squared cosine of 1/P with the gradient. It
    has a value, and in half of the draws a positive one, that no validation set however large tells from a
    contribution; honest work lies tens of such deviations above.

    Args:
      game: the composition.
      nodes: of the Gauss–Legendre quadrature.

    Returns:
      float64 [N], nats.
    """
    abscissas, quadrature = np.polynomial.legendre.leggauss(nodes)
    times, shares = np.float32((abscissas + 1) / 2), np.float32(quadrature / 2)
    way = jnp.dot(game.weights, game.deltas, precision=jax.lax.Precision.HIGHEST)
    gradient = _mean_gradient_norm(game.staged, game.base, way, times, shares)
    lengths = np.linalg.norm(np.asarray(game.deltas, np.float64), axis=1)
    return np.abs(np.asarray(game.weights, np.float64)) * lengths * float(gradient) / np.sqrt(game.base.size)


@dataclass(frozen=True, eq=False)
class Slopes:
    """Of the loss along some deltas.

    Attributes:
      rises: what each whole delta adds to the loss to first order, nats, float64 [K].
      chance: standard deviation of what random directions as long would add, nats, float64 [K].
    """

    rises: np.ndarray
    chance: np.ndarray


def slopes(losses: Callable[[jax.Array], jax.Array], base: np.ndarray, deltas: np.ndarray) -> Slopes:
    """What deltas do to the loss where they start.

        rise_i = δ_i · ∇ℓ(θ_b),    chance_i = ‖δ_i‖ ‖∇ℓ(θ_b)‖ / √P

    Args:
      losses: loss of each example, [P] → [E], a pytree.
      base: parameters, float32 [P].
      deltas: float32 [K, P].
    """
    gradient = np.asarray(_gradient(losses, base), np.float64)
    rises = np.array([np.multiply(delta, gradient).sum() for delta in deltas])
    lengths = np.linalg.norm(np.asarray(deltas, np.float64), axis=1)
    norm = np.sqrt(np.square(gradient).sum())  # BLAS would wake its threads for it, and wait for them
    return Slopes(rises, lengths * norm / np.sqrt(base.size))


@jax.jit
def _gradient(losses: Callable[[jax.Array], jax.Array], base: np.ndarray) -> jax.Array:
    """Of the mean loss, float32 [P]."""
    return jax.grad(lambda theta: losses(theta).mean())(base)


@jax.jit
def _mean_gradient_norm(
    losses: LinearFirst, base: jax.Array, move: jax.Array, times: jax.Array, shares: jax.Array
) -> jax.Array:
    """Length of the gradient of the mean loss, averaged along the straight way, float32 []."""

    def add_node(total: jax.Array, node: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        time, share = node
        return total + share * jax.grad(lambda theta: losses(theta).mean())(base + time * move), None

    return jnp.linalg.norm(jax.lax.scan(add_node, jnp.zeros_like(base), (times, shares))[0])
