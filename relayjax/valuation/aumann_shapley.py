"""Aumann–Shapley: each participant's share of the loss reduction along the straight way to the composition.

Shapes: N participants, P parameters, E validation examples, Q quadrature nodes, B directions at once.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from relayjax.errors import ConfigError, DataError
from relayjax.valuation.estimate import Estimate, example_variance
from relayjax.valuation.games.composition import Composition
from relayjax.valuation.games.linear_first import LinearFirst, at_once
from relayjax.valuation.games.subset_sums import shares


def aumann_shapley(game: Composition, *, nodes: int = 16, directions: jax.Array | None = None) -> Estimate:
    """Values by integrating the gradient from the base to the composition of all.

        φ_i = −w_i δ_i · ∫₀¹ ∇ℓ(θ_b + tΔ) dt,   Δ = Σ_j w_j δ_j,   by Gauss–Legendre quadrature

    Efficient (Σ φ_i = v(N), up to the quadrature's error), and linear in a delta once Δ is given: to split a
    delta into identities gains nothing, a zero delta earns exactly 0. An example's own values are directional
    derivatives along w_i δ_i: N of them at each node replace E gradients.

    Args:
      game: the composition to value.
      nodes: Q; 16 suffice for smooth losses.
      directions: what to value in place of each delta, along the same way, float32 [N, P]: say, only what is
        new in it. Efficient no more, but linear in a delta still where the direction is.

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
    valued = game.deltas if directions is None else directions
    if valued.shape != game.deltas.shape:
        raise ConfigError(
            f"aumann_shapley: directions are {list(valued.shape)}; give one for each delta, "
            f"{list(game.deltas.shape)}"
        )
    arrays = game.base, game.deltas, game.weights, valued
    block = max(game.block_size, at_once(game.staged, game.base, game.participants))
    per_example = _shares(game.staged, *arrays, times, shares_of_time, block=block)
    of_examples = np.asarray(per_example, dtype=np.float64)
    if not np.isfinite(of_examples).all():
        raise DataError(
            "aumann_shapley: a derivative on the way from the base to the composition is not finite; "
            "refuse deltas that diverge (by a trust region) or lower the weights"
        )
    stderr = np.sqrt(example_variance(of_examples))
    exact = np.zeros_like(stderr)
    return Estimate(
        of_examples.mean(axis=1),
        stderr,
        exact,
        nodes * game.participants,
        "aumann-shapley",
        per_example=of_examples,
    )


@partial(jax.jit, static_argnames="block")
def _shares(
    losses: LinearFirst,
    base: jax.Array,
    deltas: jax.Array,
    weights: jax.Array,
    directions: jax.Array,
    times: jax.Array,
    shares_of_time: jax.Array,
    block: int,
) -> jax.Array:
    """Every example's own values.

    Args:
      losses: in two steps; the first, which is linear, is taken for the base and each participant alone.
      base, deltas, weights: as in `Composition`.
      directions: what is valued, float32 [N, P].
      times: nodes of the quadrature on [0, 1], float32 [Q].
      shares_of_time: its weights, which sum to 1, float32 [Q].
      block: B; memory holds N participants' parts, and grows with B times what one direction needs.

    Returns:
      float32 [N, E], nats.
    """
    start, moves = losses.linear(base), shares(losses, directions, weights)
    # Accelerators may multiply float32 in fewer bits by default, too few for values this close.
    total = losses.linear(jnp.dot(weights, deltas, precision=lax.Precision.HIGHEST))

    def add_node(found: jax.Array, node: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        time, share_of_time = node
        here = jax.tree.map(lambda at_base, move: at_base + time * move, start, total)
        _, slope = jax.linearize(losses.after, here)  # one forward pass serves all directions
        return found - share_of_time * lax.map(slope, moves, batch_size=block), None

    nothing = jnp.zeros((len(deltas), *jax.eval_shape(losses, base).shape))
    return lax.scan(add_node, nothing, (times, shares_of_time))[0]
