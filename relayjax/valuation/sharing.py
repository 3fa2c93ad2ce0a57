"""What the siblings of a braid round are paid for: what is new in their work, at its best length, once.

Three things that a trainer can choose pay nothing.

* How long its delta is: a direction is worth what it takes off the loss at whatever length helps most, and
  all together are worth no more than their composition is at its own best length (`best_length.py`).
* What it hands in again: only what is new in a delta counts (`novelty.py`).
* How many places it holds. Every place weighs 1/N, whoever stands behind it, and what two places of one
  trainer hand in can be made to look different, number by number, by noise that does next to nothing to the
  loss. What it does to the examples can't: so the likeness of two siblings is that of their effects on every
  single example. From a cosine of 0.8 on they begin to count as one, from 0.95 on they are one: k of them
  together are paid less than what one would be, two of them 0.89 times that.

Shapes: N participants, P parameters, E validation examples.

References:
  Han et al., Replication Robust Payoff Allocation in Submodular Cooperative Games, arXiv 2006.14583, on why
  no Shapley value stops replication by itself; Agarwal, Dahleh and Sarkar, A Marketplace for Data, arXiv
  1805.08125, section 4, which discounts a value by its likeness with others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jax import lax

from relayjax.valuation.aumann_shapley import aumann_shapley
from relayjax.valuation.best_length import best_length_gain, best_length_gains, level_factors
from relayjax.valuation.chance import chance
from relayjax.valuation.games.composition import Composition

APART, ONE = 0.8, 0.95
"""Cosines of effects up to which siblings are two, and from which on they are one; in between, partly.

Honest participants with the same labels reach 0.75 in a relay's first round, in which most of the pay is
earned; two legs on one participant's data, or a copy in noise, 0.96 to 1.00."""

DEARER = 1.25
"""Times its share that a sibling takes which does the same: were it 1, a second place would pay as often as
not, by the luck of other lots alone."""


@dataclass(frozen=True, eq=False)
class Shared:
    """What the siblings of a braid round are paid for, float64 [N] each, nats.

    Attributes:
      values: of what is new in each delta, shared with siblings that are alike.
      stderr: standard errors of the values.
      chance: standard deviation of what random directions as long would be worth, shared alike.
    """

    values: np.ndarray
    stderr: np.ndarray
    chance: np.ndarray


def shared_values(game: Composition, novel: np.ndarray, *, nodes: int = 16) -> Shared:
    """Values what is new in each of some siblings, and shares it among those that do the same.

        v_i = p_i g_i · min(1, g / Σ_j p_j g_j)

    with g_i what is new in a delta at its best length, g the composition of all that help at its own, both as
    if all deltas were equally long, and p_i the part that is not shared. How certain that is, the
    Aumann–Shapley value φ_i of the same work tells: standard error and chance are as large relative to v_i
    as they are to φ_i. Where φ_i lies within them, v_i falls to 0 with it; where it is negative, v_i is
    φ_i. So figures go with the losses without a jump, and machines that round otherwise agree.

    Args:
      game: the composition.
      novel: what is new in each delta, float32 [N, P].
      nodes: of the Gauss–Legendre quadrature.

    Raises:
      ConfigError, DataError: see `aumann_shapley` and `best_length_gains`.
    """
    factors = level_factors(np.linalg.norm(np.asarray(game.deltas, np.float64), axis=1)).astype(np.float32)
    level, new = replace(game, weights=game.weights * factors), jnp.asarray(novel)
    luck = chance(level, nodes=nodes)
    whole = aumann_shapley(level, nodes=nodes)
    linear = aumann_shapley(level, nodes=nodes, directions=new)
    # Whoever stands on two places could hand in the opposite of its work, so that there is more for it to do.
    helps = _ratio(whole.values, np.hypot(whole.stderr, luck)).clip(0, 1).astype(np.float32)
    helping = replace(level, weights=level.weights * helps)
    gains = best_length_gains(helping, new, factors)
    worth = gains * parts(np.asarray(whole.per_example), gains)
    way = jnp.dot(helping.weights, helping.deltas, precision=lax.Precision.HIGHEST)
    together = best_length_gain(helping, way / jnp.maximum(game.weights.max(), np.finfo(np.float32).tiny))
    worth *= min(1.0, together / max(worth.sum(), np.finfo(np.float64).tiny))
    times = _ratio(worth, np.maximum(linear.values, np.hypot(linear.stderr, luck)))
    values = times * linear.values.clip(0) + linear.values.clip(max=0)
    return Shared(values, times * linear.stderr, times * luck)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """0 where nothing is below."""
    return np.divide(above, below, out=np.zeros_like(below), where=below > 0)


def parts(effects: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What part of its value each sibling is paid.

        p_i = 1 / (1 + 1.25 Σ_{j≠i} s_ij · min(1, max(0, v_j) / v_i))

    with s_ij how far the effects of i and j are one. A sibling without a value of its own takes nothing from
    others: who replays their old work does not share their pay.

    Args:
      effects: of each delta on each example's loss, float64 [N, E].
      values: what is new in each, nats, float64 [N]; not positive ones keep all, there is nothing to share.

    Returns:
      float64 [N], in (0, 1].
    """
    norms = np.linalg.norm(effects, axis=1)
    cosines = effects @ effects.T / np.maximum(np.outer(norms, norms), np.finfo(np.float64).tiny)
    alike = ((cosines - APART) / (ONE - APART)).clip(0, 1)
    np.fill_diagonal(alike, 0.0)
    worth = values.clip(0)
    ratio = np.divide(worth, worth[:, None], out=np.zeros_like(alike), where=worth[:, None] > 0).clip(0, 1)
    return 1 / (1 + DEARER * (alike * ratio).sum(axis=1))
