"""Arrays over several hosts: a leg can span every device of every process of one participant.

Each process calls `jax.distributed.initialize` before anything else of JAX, and then runs the same program:

    jax.distributed.initialize("10.0.0.1:9000", num_processes=2, process_id=0)    # 1 on the other host
    mesh = device_mesh()                                                          # all devices of both
    leg, shard = Leg(task, settings, mesh), place_shards(task, mesh)[0]
    delta, loss = leg(theta, shard, key, 0, 1)                                    # the same on both

What is the same everywhere (parameters, a shard that every host has read) goes through `replicate`; of data
too large for that, each host reads a part of its own and gives it to `spread`. The functions here are for one
process, too. All processes must call them in the same order, since they wait for one another.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from blake3 import blake3
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from relayjax.errors import DataError
from relayjax.learning.task import Batch, examples


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Copies arrays to every device of the mesh.

    Args:
      tree: of arrays on the host, the same on every process. They are copied and stay the caller's.
      mesh: the devices.

    Raises:
      DataError: they differ between processes.
    """
    tree = jax.tree.map(np.asarray, tree)
    if _spans_processes(mesh):
        content = blake3()
        for leaf in jax.tree.leaves(tree):
            content.update(f"{leaf.dtype}{leaf.shape}".encode())
            content.update(np.ascontiguousarray(leaf).tobytes())
        digests = _from_all(np.frombuffer(content.digest(), np.uint8))
        if (digests != digests[0]).any():
            raise DataError(
                "the processes of this leg were given different arrays where each must have the same: read "
                "the same files everywhere, or give each process its part with `spread`"
            )
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: send(leaf, sharding), tree)


def spread(batch: Batch, mesh: Mesh) -> Batch:
    """Joins the examples that each process holds into arrays that are cut over the mesh's axis "data".

    Args:
      batch: this process's own examples, arrays [E, ...] on the host. They are copied.
      mesh: the devices; those of one process follow one another along "data".

    Returns:
      Arrays [E × processes, ...] of which each device holds its part, in the order of the processes.

    Raises:
      DataError: the processes hold different numbers of examples, or they do not divide over their devices.
    """
    counts = _from_all(np.array(examples(batch), np.int64)) if _spans_processes(mesh) else examples(batch)
    counts = np.atleast_1d(counts)
    if (counts != counts[0]).any():
        raise DataError(
            f"the processes hold {', '.join(map(str, counts.tolist()))} examples; each must hold as many: "
            "leave the surplus out"
        )
    total = int(counts.sum())
    if total % mesh.shape["data"]:
        raise DataError(
            f"{total} examples do not divide over the {mesh.shape['data']} devices that share batches; leave "
            f"{total % mesh.shape['data']} out"
        )
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return {
        name: jax.make_array_from_process_local_data(sharding, array.copy(), (total, *array.shape[1:]))
        for name, array in batch.items()
    }


def send(array: np.ndarray, sharding: Sharding) -> jax.Array:
    """Copies to every device of this process its part of an array that each process has whole."""
    # Without a copy, a device of the CPU would borrow the caller's memory: whoever changed or donated one
    # would change the other.
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index].copy())


def to_host(array: jax.Array) -> np.ndarray:
    """The whole of an array on the host, on every process."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def _spans_processes(mesh: Mesh) -> bool:
    return len({device.process_index for device in mesh.devices.flat}) > 1


def _from_all(array: np.ndarray) -> np.ndarray:
    """What each process gives, along a new first axis."""
    return np.asarray(multihost_utils.process_allgather(array))
