"""Where data lives: put on the devices once, read there by every leg.

All shards lie behind one another in one set of device arrays, and a `Shard` says which part is whose.
One leg compiled for those arrays serves every participant, however much data each has, and pooled
training is the same leg on the whole of it.

E: examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from relayjax.learning.distributed import replicate
from relayjax.learning.task import Batch, Task, examples


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shard:
    """One participant's data on the device.

    Attributes:
      data: arrays [E, ...] that hold this shard, and maybe others.
      start: index of its first example, int32.
      size: how many examples are its own, int32.
      context: what `Task.context` says about it.
    """

    data: Batch
    start: jax.Array
    size: jax.Array
    context: Any


def place(tree: Any, mesh: Mesh | None = None) -> Any:
    """Copies host arrays to the device, or to every device of the mesh.

    The copy matters: `device_put` on CPU may share memory with a NumPy array, and whoever changed or
    donated one would change the other.
    """
    return jax.tree.map(jnp.array, tree) if mesh is None else replicate(tree, mesh)


def place_shards(task: Task, mesh: Mesh | None = None) -> tuple[Shard, ...]:
    """The shards of a task on the device, in the order of the participants."""
    sizes = np.array([examples(shard) for shard in task.shards], np.int32)
    starts = np.cumsum(sizes, dtype=np.int32) - sizes
    names = task.shards[0]
    data = place({name: np.concatenate([s[name] for s in task.shards]) for name in names}, mesh)
    own = [place((starts[i], sizes[i], task.context(s)), mesh) for i, s in enumerate(task.shards)]
    return tuple(Shard(data, *rest) for rest in own)


def pooled(shards: tuple[Shard, ...]) -> Shard:
    """The data of all participants as if it were one's; its context is that of no skew, zeros."""
    first = shards[0]
    whole = jnp.full_like(first.size, sum(int(shard.size) for shard in shards))
    return Shard(first.data, jnp.zeros_like(first.start), whole, jax.tree.map(jnp.zeros_like, first.context))
