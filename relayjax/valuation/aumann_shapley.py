"""Aumann–Shapley: each participant's share of the loss reduction along the straight way to the composition.

Shapes: N participants, P parameters, E validation examples, Q quadrature nodes, B directions at once.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial

from relayjax.errors import ConfigError, DataError
from relayjax.valuation.estimate import Estimate, example_variance
from relayjax.valuation.games.composition import Composition


def aumann_shapley(game: Composition, *, nodes: int = 16) -> Estimate:
    """Values by integrating the gradient from the base to the composition of all.

        φ_i = −w_i δ_i · ∫₀¹ ∇ℓ(θ_b + tΔ) dt,   Δ = Σ_j w_j δ_j,   by Gauss–Legendre quadrature

    Efficient (Σ φ_i = v(N), up to the quadrature's error), and linear in a delta once Δ is given: to split a
    delta into identities gains nothing, a zero delta earns exactly 0. An example's own values are directional
    derivatives along w_i δ_i: N of them at each node replace E gradients.

    Args:
      game: the composition to value.
      nodes: Q; 16 suffice for smooth losses.

    Returns:
      The estimate; `evaluations` is Q · N and there is no table of coalitions.

    Raises:
      ConfigError: `nodes` is not positive.
      DataError: a derivative is not finite, or there are fewer than two examples.

    References:
      Aumann and Shapley, Values of Non-Atomic Games, 1974 (the diagonal formula).
    """
    if nodes < 1:
        raise ConfigError(f"aumann_shapley: nodes is {nodes}; give 1 or more, 16 as a rule")
    abscissas, quadrature = np.polynomial.legendre.leggauss(nodes)  # on [−1, 1]
    times, shares_of_time = np.float32((abscissas + 1) / 2), np.float32(quadrature / 2)
    per_example = _shares(*game.arguments, times, shares_of_time, block=game.block_size)
    shares = np.asarray(per_example, dtype=np.float64)
    if not np.isfinite(shares).all():
        raise DataError(
            "aumann_shapley: a derivative on the way from the base to the composition is not finite; "
            "refuse deltas that diverge (by a trust region) or lower the weights"
        )
    stderr = np.sqrt(example_variance(shares))
    exact = np.zeros_like(stderr)
    return Estimate(shares.mean(axis=1), stderr, exact, nodes * game.participants, "aumann-shapley")


@partial(jax.jit, static_argnames="block")
def _shares(
    losses: Partial,
    base: jax.Array,
    deltas: jax.Array,
    weights: jax.Array,
    times: jax.Array,
    shares_of_time: jax.Array,
    block: int,
) -> jax.Array:
    """Every example's own values.

    Args:
      losses, base, deltas, weights: as in `Composition`.
      times: nodes of the quadrature on [0, 1], float32 [Q].
      shares_of_time: its weights, which sum to 1, float32 [Q].
      block: B; memory grows with B × P.

    Returns:
      float32 [N, E], nats.
    """
    moves = weights[:, None] * deltas
    total = moves.sum(axis=0)

    def add_node(shares: jax.Array, node: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        time, share_of_time = node
        _, slope = jax.linearize(losses, base + time * total)  # one forward pass serves all directions
        return shares - share_of_time * lax.map(slope, moves, batch_size=block), None

    nothing = jnp.zeros((len(moves), *jax.eval_shape(losses, base).shape))
    return lax.scan(add_node, nothing, (times, shares_of_time))[0]
