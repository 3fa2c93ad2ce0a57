"""Parameters as one flat vector: the only place that knows how a model's tree maps to it.

Everything outside `learning` (codec, store, valuation, ledger) sees a model as float32 [P]. A `Layout`
is the dictionary between that vector and the tree a task's functions want: leaves in pytree order,
each in C order, without gaps.

P: parameters.
"""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from relayjax.errors import ConfigError, FormatError

Params = Any
"""A pytree of float32 arrays."""


@dataclass(frozen=True)
class Layout:
    """Names, shapes and places of a model's parameters.

    Attributes:
      names: path of each leaf, such as "layers/0/kernel".
      shapes: shape of each leaf.
      tree: the pytree structure that holds them.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    tree: Any

    @classmethod
    def of(cls, params: Params) -> Layout:
        """The layout of a tree of arrays, or of their shapes (`jax.eval_shape`).

        Raises:
          ConfigError: the model has no parameters, or one that is not float32.
        """
        leaves, tree = jax.tree_util.tree_flatten_with_path(params)
        if not leaves:
            raise ConfigError("the model has no parameters; `init` must return a tree of float32 arrays")
        names = tuple(path_name(path) for path, _ in leaves)
        for name, (_, leaf) in zip(names, leaves, strict=True):
            if leaf.dtype != jnp.float32:
                raise ConfigError(
                    f"parameter {name} is {leaf.dtype}; parameters travel as float32: keep them so in "
                    "`init` and cast inside the model where it should compute in another type"
                )
        return cls(names, tuple(tuple(leaf.shape) for _, leaf in leaves), tree)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each leaf starts in the flat vector; one more entry than leaves, the last is P."""
        return (0, *itertools.accumulate(math.prod(shape) for shape in self.shapes))

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self.offsets[-1]

    def flatten(self, params: Params) -> jax.Array:
        """The tree as one vector, float32 [P].

        Raises:
          FormatError: the tree is not of this layout.
        """
        leaves, tree = jax.tree.flatten(params)
        if tree != self.tree or tuple(tuple(leaf.shape) for leaf in leaves) != self.shapes:
            raise FormatError(
                "these parameters belong to another model: names or shapes differ from the layout"
            )
        return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])

    def unflatten(self, flat: jax.Array) -> Params:
        """The vector, float32 [P], as a tree.

        Differentiating through it is cheap: the transpose of `split` is one concatenation.

        Raises:
          FormatError: the vector is not float32 [P].
        """
        if flat.shape != (self.size,) or flat.dtype != jnp.float32:
            raise FormatError(
                f"parameters are {flat.dtype}{list(flat.shape)}; this model takes float32[{self.size}]"
            )
        parts = jnp.split(flat, self.offsets[1:-1])
        leaves = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return jax.tree.unflatten(self.tree, leaves)

    def name_at(self, index: int) -> str:
        """The parameter that an index of the flat vector belongs to, for messages."""
        if not 0 <= index < self.size:
            raise FormatError(f"there is no parameter at index {index}; the model has {self.size}")
        return self.names[bisect.bisect_right(self.offsets, index) - 1]

    def describe(self) -> list[dict[str, Any]]:
        """Names and shapes in order, as JSON values; two models that agree here can exchange vectors."""
        return [{"name": n, "shape": list(s)} for n, s in zip(self.names, self.shapes, strict=True)]


def path_name(path: tuple[Any, ...]) -> str:
    """What a leaf of a tree is called, from its path in it: such as "layers/0/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
