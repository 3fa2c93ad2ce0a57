"""The devices of a leg as a mesh of two axes: along "data" they share batches, along "model" layers.

How many share a layer is a setting; all others share batches, each computing an equal part of every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, PartitionSpec, use_abstract_mesh

from relayjax.errors import ConfigError

AXES = ("data", "model")


def device_mesh(model: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh of some devices.

    Args:
      model: how many share a layer.
      devices: JAX's; all of every process if None.

    Raises:
      ConfigError: the devices do not divide into groups of that many.
    """
    devices = jax.devices() if devices is None else devices
    if len(devices) % model:
        raise ConfigError(
            f"sharding.model={model}: the {len(devices)} devices do not divide into groups of that many; "
            "take a divisor of their number"
        )
    # Auto: the compiler chooses where arrays lie of which nobody said it.
    return jax.make_mesh((len(devices) // model, model), AXES, (AxisType.Auto,) * len(AXES), devices=devices)


def local_mesh(batch_size: int, model: int = 1) -> Mesh | None:
    """The mesh of as many of this process's devices as can share a batch evenly; None if that is one.

    Args:
      batch_size: examples that are taken at once.
      model: how many devices share a layer.

    Raises:
      ConfigError: there are fewer devices than are to share a layer.
    """
    devices = jax.local_devices()
    if len(devices) < model:
        raise ConfigError(
            f"sharding.model={model}: must be at most the number of devices here, {len(devices)}"
        )
    sharing = max(n for n in range(1, len(devices) // model + 1) if batch_size % n == 0)
    return device_mesh(model, devices[: sharing * model]) if sharing * model > 1 else None


def known_to_models(mesh: Mesh | None) -> AbstractContextManager[Any]:
    """Inside jit: a context in which `share_batch` knows the mesh."""
    return nullcontext() if mesh is None else use_abstract_mesh(mesh.abstract_mesh)


def share_batch(tree: Any) -> Any:
    """In a model: tells the compiler that arrays lie cut over "data" along their first axis, the batch.

    Outside of a leg, and where a leg has one device, it does nothing. Parameters that are cut over "data" are
    gathered where they meet such an array; without it the compiler might cut the array as they are cut,
    which computes the same with more traffic.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    return jax.lax.with_sharding_constraint(tree, PartitionSpec(AXES[0]))
