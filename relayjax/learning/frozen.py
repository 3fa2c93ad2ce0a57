"""Arrays that a task's functions need and nobody trains, kept out of what is compiled.

A compiled function that closes over an array carries a copy of it as a constant: JAX writes every number
into the program, which takes seconds and gigabytes where the array is a model. What it closes over as a
*reference* becomes an argument that is passed by itself. References could be written to; these never are.
"""

from __future__ import annotations

from typing import Any

import jax


class Frozen:
    """A tree of arrays behind references."""

    def __init__(self, tree: Any, sharding: Any = None):
        """Copies the arrays to the devices.

        Args:
          tree: of arrays, on the host or on devices; they stay the caller's.
          sharding: where they are to lie: one sharding, or a tree of them; the default device if None. Where
            a compiled function spreads its work over a mesh, they must lie on all of it.
        """
        leaves, self._structure = jax.tree.flatten(jax.device_put(tree, sharding))
        self._references = [jax.new_ref(leaf) for leaf in leaves]  # which copies it

    def read(self) -> Any:
        """The tree; inside a compiled function it costs no copy in the program."""
        return jax.tree.unflatten(self._structure, [reference[...] for reference in self._references])
