"""Arrays that a task's functions need and nobody trains, kept out of what is compiled.

A compiled function that closes over an array carries a copy of it as a constant: JAX writes every number
into the program, which takes seconds and gigabytes where the array is a model. What it closes over as a
*reference* becomes an argument that is passed by itself. References could be written to; these never are.

A call takes what a reference holds and puts it back: two threads must not call such functions at once.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from relayjax.learning.layout import Layout
from relayjax.learning.sharding import ParameterSharding, ShardingSettings


class Frozen:
    """A tree of arrays behind references."""

    def __init__(self, tree: Any, sharding: Any = None):
        """Copies the arrays to the devices.

        Args:
          tree: of arrays, on the host or on devices; they stay the caller's.
          sharding: where they are to lie: one sharding, or a tree of them; the default device if None.
        """
        self._put(tree, sharding)

    def read(self) -> Any:
        """The tree; inside a compiled function it costs no copy in the program."""
        return jax.tree.unflatten(self._structure, [reference[...] for reference in self._references])

    def place(self, mesh: Mesh, settings: ShardingSettings) -> None:
        """Moves the arrays to a mesh, before the functions that read them are first called.

        A function that spreads its work over a mesh needs them on all of it. They are cut as the preset cuts
        parameters of their names; rules of the settings' own are for what is trained.

        Args:
          mesh: the devices.
          settings: whose preset counts.
        """
        tree = self.read()
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32), tree)
        model = settings.model if "tensor" in settings.parameters else 1
        preset = ShardingSettings(settings.parameters, model)
        self._put(tree, ParameterSharding.of(Layout.of(shapes), mesh, preset).shardings)

    def _put(self, tree: Any, sharding: Any) -> None:
        leaves, self._structure = jax.tree.flatten(jax.device_put(tree, sharding))
        self._references = [jax.new_ref(leaf) for leaf in leaves]  # which copies it
