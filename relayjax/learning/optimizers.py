"""The optimizers of a leg: gradient → direction. The leg multiplies the direction by its scheduled step size.

Each is a pair of pure functions (an optax transformation). Its state starts afresh in every leg, or its
moments travel with the baton. What travels is bias-corrected, so that no step count has to: a leg that
receives moments takes them for settled averages. Of a second moment the root travels. It is as large as a
gradient, so a codec that rounds a block of numbers to one scale keeps small ones apart from zero, and roots
that are averaged still bound the first moments that are averaged beside them.

Muon moves every hidden matrix by an orthogonal direction, however large or stale its gradients' averages,
and so loses little where the state starts afresh: with it, a relay on text comes much closer to pooled
training.

References: Loshchilov & Hutter, arXiv 1711.05101 (AdamW); Jordan et al., "Muon", 2024, and Liu et al., "Muon
is Scalable for LLM Training", arXiv 2502.16982, section 2.2 (the same step size as AdamW's).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, MuonState, muon

from relayjax.learning.layout import Params

SETTLED = 1_000_000
"""The step count of moments that need no bias correction any more."""

LONGEST = 8.0
"""How many times as large as the root of the second a received first moment may be.

By Cauchy and Schwarz what Adam itself reaches is at most (1 − b₁) / √((1 − b₂) (1 − b₁² / b₂)): 2.3 for
memories of 0.9 and 0.99, 7.3 for 0.9 and 0.999. Only rounding makes more, and where it leaves no second
moment at all a direction would be 10⁸ times the first.
"""

NOT_HIDDEN = ("embedding", "head")
"""Parts of a model whose matrices Muon leaves to AdamW: look-ups and outputs."""


def _sgd(momentum: float, memory: float, decay: float) -> optax.GradientTransformation:
    return optax.chain(optax.add_decayed_weights(decay), optax.trace(momentum))


def _adamw(momentum: float, memory: float, decay: float) -> optax.GradientTransformation:
    return optax.chain(optax.scale_by_adam(b1=momentum, b2=memory), optax.add_decayed_weights(decay))


def _muon(momentum: float, memory: float, decay: float) -> optax.GradientTransformation:
    descent = muon(
        1.0,
        beta=momentum,
        weight_decay=decay,
        adam_b1=momentum,
        adam_b2=memory,
        adam_weight_decay=decay,
        muon_weight_dimension_numbers=hidden_matrices,
        consistent_rms=0.2,
    )
    return optax.chain(descent, optax.scale(-1.0))


OPTIMIZERS: dict[str, Callable[[float, float, float], optax.GradientTransformation]] = {
    "adamw": _adamw,
    "muon": _muon,
    "sgd": _sgd,
}
"""By name a function of (momentum, second-moment memory, weight decay)."""


def hidden_matrices(params: Params) -> Any:
    """Which leaves are hidden matrices, and which of their axes are inputs and outputs, for Muon.

    Flax calls them "kernel": [in, out], with a leading axis where layers are stacked, or [height, width, in,
    out] of a convolution. All other leaves are None. An output layer that is not called "head" is taken for a
    hidden one.
    """

    def numbers(path: Any, leaf: jax.Array) -> MuonDimensionNumbers | None:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not name.endswith("kernel") or any(part in NOT_HIDDEN for part in name.split("/")):
            return None
        inputs = {2: (0,), 3: (1,), 4: (0, 1, 2)}.get(leaf.ndim)
        return None if inputs is None else MuonDimensionNumbers(inputs, (leaf.ndim - 1,))

    return jax.tree_util.tree_map_with_path(numbers, params)


def moments(state: optax.OptState, momentum: float, memory: float) -> list[Any]:
    """The averages an optimizer keeps, bias-corrected, of squares the roots: what is worth carrying."""
    corrected = optax.tree.bias_correction
    found: list[Any] = []
    for part in jax.tree.leaves(state, is_leaf=_keeps_moments):
        if isinstance(part, optax.ScaleByAdamState):
            count = jnp.maximum(part.count, 1)
            squares = corrected(part.nu, memory, count)
            found += [corrected(part.mu, momentum, count), jax.tree.map(jnp.sqrt, squares)]
        elif isinstance(part, MuonState):
            found.append(corrected(part.mu, momentum, jnp.maximum(part.count, 1)))
        elif isinstance(part, optax.TraceState):
            found.append(part.trace)
    return found


def resume(fresh: optax.OptState, carried: list[Any], first: jax.Array) -> optax.OptState:
    """An optimizer's state from carried moments.

    Args:
      fresh: the state of a first step.
      carried: what `moments` gave; a lossy codec may have been at it.
      first: whether nothing has been learnt yet, bool.
    """
    rest = iter(carried)
    count = jnp.where(first, 0, SETTLED).astype(jnp.int32)

    def restored(part: Any) -> Any:
        if isinstance(part, optax.ScaleByAdamState):
            mu, roots = next(rest), next(rest)
            nu = jax.tree.map(lambda m, r: jnp.maximum(r, jnp.abs(m) / LONGEST) ** 2, mu, roots)
            return part._replace(count=count, mu=mu, nu=nu)
        if isinstance(part, MuonState):
            return part._replace(count=count, mu=next(rest))
        return part._replace(trace=next(rest)) if isinstance(part, optax.TraceState) else part

    return jax.tree.map(restored, fresh, is_leaf=_keeps_moments)


def _keeps_moments(part: Any) -> bool:
    return isinstance(part, optax.ScaleByAdamState | MuonState | optax.TraceState)
