"""Losses whose first step is linear in the parameters: of a coalition, only what comes after is computed.

    ℓ(θ) = after(linear(θ)),   so   ℓ(θ_b + Σ_{i∈S} w_i δ_i) = after(linear(θ_b) + Σ_{i∈S} linear(w_i δ_i))

A dense first layer is the case in point: its inputs are the validation examples, the same for every
coalition, so each participant's share of the pre-activations is multiplied out once and only added up after
that. Whoever brings such losses says so by the two methods of `LinearFirst`; nothing is guessed from a model.

Shapes: P parameters, E validation examples, D inputs of an example, H units of the first layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial, register_dataclass

Parts = Any
"""A pytree of float32 arrays that depends linearly on the parameters."""

# What a processor multiplies while it reads a byte: a core here about 110 GFLOP/s and 30 GB/s.
FLOPS_PER_BYTE = 4

CACHED = 1 << 22
"""Bytes of parts that a processor's caches hold beside what is made of them."""

Cut = Callable[[jax.Array], tuple[jax.Array, jax.Array, Any]]


@runtime_checkable
class LinearFirst(Protocol):
    """Per-example losses in two steps; a pytree, and by itself losses like any others."""

    def linear(self, theta: jax.Array) -> Parts:
        """The first step on parameters float32 [P]. Linear: a sum goes to the sum, zeros go to zeros."""
        ...

    def after(self, parts: Parts) -> jax.Array:
        """The losses of these parts, float32 [E], nats."""
        ...

    def __call__(self, theta: jax.Array) -> jax.Array:
        """`after(linear(theta))`, float32 [E], nats."""
        ...


@register_dataclass
@dataclass(frozen=True, eq=False)
class DenseFirst:
    """Losses of a network that begins with a dense layer. Its parts: pre-activations [E, H] and the rest.

    Attributes:
      inputs: of the first layer, float32 [E, D].
      rest: (pre-activations [E, H], what `cut` left) → losses float32 [E] in nats, as a `Partial` with labels
        and the like among its arguments.
      cut: parameters float32 [P] → kernel [D, H], bias [H] and everything else, as any pytree: slices and
        reshapes of the vector, no arithmetic. A function of module level, or each new one compiles anew.
    """

    inputs: jax.Array
    rest: Partial
    cut: Cut = field(metadata={"static": True})

    def linear(self, theta: jax.Array) -> Parts:
        kernel, bias, others = self.cut(theta)
        # Accelerators may multiply float32 in fewer bits by default, too few for values this close.
        return jnp.dot(self.inputs, kernel, precision=lax.Precision.HIGHEST) + bias, others

    def after(self, parts: Parts) -> jax.Array:
        return self.rest(*parts)

    def __call__(self, theta: jax.Array) -> jax.Array:
        return self.after(self.linear(theta))


@register_dataclass
@dataclass(frozen=True, eq=False)
class Whole:
    """Any losses: what is linear in the parameters is the parameters.

    Attributes:
      losses: parameters float32 [P] → losses float32 [E] in nats, a pytree.
    """

    losses: Callable[[jax.Array], jax.Array]

    def linear(self, theta: jax.Array) -> jax.Array:
        return theta

    def after(self, parts: jax.Array) -> jax.Array:
        return self.losses(parts)

    def __call__(self, theta: jax.Array) -> jax.Array:
        return self.losses(theta)


def saves_time(losses: LinearFirst, base: jax.Array, rows: int) -> bool:
    """Whether adding up rows of the parts is less work than adding up as many of θ and taking the first step.

    Args:
      losses: in two steps.
      base: θ_b, float32 [P].
      rows: to be added up for a coalition.
    """
    longer = parts_bytes(losses, base) - base.nbytes
    return rows * longer * FLOPS_PER_BYTE <= _flops(*_shapes(losses, base))


def at_once(losses: LinearFirst, base: jax.Array, most: int) -> int:
    """How many sets of parts to take through the second step at once, up to so many, where it is cheap to.

    A small network's matrices are too narrow to keep a processor busy one set at a time. Of losses that are
    not in steps nothing is known, and one at a time needs the least memory.
    """
    if isinstance(losses, Whole):
        return 1
    return max(1, min(most, CACHED // parts_bytes(losses, base)))


def parts_bytes(losses: LinearFirst, base: jax.Array) -> int:
    """How large the parts of one set of parameters are."""
    return base.nbytes if isinstance(losses, Whole) else _parts_bytes(*_shapes(losses, base))


def _shapes(losses: LinearFirst, theta: jax.Array) -> tuple[Any, tuple[Any, ...], Any]:
    """All that the size of the first step depends on; games of a relay agree in it."""
    leaves, structure = jax.tree.flatten(losses)
    return structure, tuple(map(_shape, leaves)), _shape(theta)


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(array), jnp.result_type(array))


@lru_cache(maxsize=64)
def _parts_bytes(structure: Any, shapes: tuple[Any, ...], theta: Any) -> int:
    parts = jax.eval_shape(
        lambda losses, theta: losses.linear(theta), jax.tree.unflatten(structure, shapes), theta
    )
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(parts))


@lru_cache(maxsize=64)
def _flops(structure: Any, shapes: tuple[Any, ...], theta: Any) -> float:
    """What the first step multiplies and adds, as the compiler counts it; infinitely much if it does not."""
    lowered = jax.jit(lambda losses, theta: losses.linear(theta)).lower(
        jax.tree.unflatten(structure, shapes), theta
    )
    return (lowered.cost_analysis() or {}).get("flops", math.inf)
