"""Which device holds which part of the parameters: rules by name over a mesh of devices.

A rule says along which axes of the mesh ("data" and "model", see `mesh.py`) the axes of a parameter are cut:

    blocks/mlp/(gate|up)/kernel$ -> - - model        [L, W, H]: H is cut over "model", L and W are whole

The first rule whose regular expression is found in a parameter's name counts; the settings' own come before
those of a preset:

    replicated   every device holds all parameters: data-parallel training
    fsdp         each parameter is cut over "data" along its longest axis that divides evenly, and with it its
                 gradient and its moments in the optimizer; it is gathered where it is used
    tensor       the transformer's matrices are cut over "model", those that widen by columns and those that
                 narrow by rows, so that two products need one sum over the devices
    fsdp_tensor  both

Where an axis does not divide evenly, a preset leaves it whole: a preset has to suit every model. A rule of
the settings' own is refused instead, because who writes one counts on it.

Who holds parameters cut over "data" must say which axis of its activations is the batch, with `share_batch`:
the transformer does in every block. Otherwise the compiler may cut the activations as the parameters are cut,
which computes the same with more traffic.

Memory: where parameters are cut, the flat vector has no place on the devices, since cutting it at the borders
of its parameters would gather it whole on each of them. It stays on the host, 4 P bytes; from there every
device receives its part of each parameter, and there the result is assembled. With 350 million parameters and
Adam the devices hold 16 bytes for each parameter (itself, two moments, its gradient) and 4 of the received
model: 7 GB on one device, 0.9 GB on each of eight, beside the activations.

References:
  Rajbhandari et al., "ZeRO", arXiv 1910.02054, section 5.3 (fsdp).
  Shoeybi et al., "Megatron-LM", arXiv 1909.08053, section 3 (tensor).

P: parameters, L: layers, W: width, H: hidden width.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from relayjax.errors import ConfigError
from relayjax.learning.distributed import send, to_host
from relayjax.learning.layout import Layout, Params, path_name
from relayjax.learning.mesh import AXES
from relayjax.settings import Settings, setting

ARROW = "->"
WHOLE = "-"
Axes = tuple[str | tuple[str, ...] | None, ...]
"""For each axis of a parameter the mesh axes that cut it, None where it is whole."""

TENSOR = (
    (r"attention/(query|key|value)/kernel$", (None, None, "model")),
    (r"attention/out/kernel$", (None, "model", None)),
    (r"mlp/(gate|up)/kernel$", (None, None, "model")),
    (r"mlp/down/kernel$", (None, "model", None)),
    (r"(^|/)embedding/embedding$", ("model", None)),
    (r"(^|/)head/kernel$", (None, "model")),
)
"""Rules of the preset `tensor`, for the names of `relayjax.learning.models.Transformer`."""


@dataclass(frozen=True)
class ShardingSettings(Settings):
    """How a leg is spread over a participant's devices."""

    parameters: str = setting(
        "replicated",
        "which device holds which parameters",
        choices=("replicated", "fsdp", "tensor", "fsdp_tensor"),
    )
    model: int = setting(1, "devices that share the arithmetic of a layer; the rest share batches", low=1)
    rules: tuple[str, ...] = setting(
        (), "rules before those of the preset, 'REGEX -> AXIS AXIS …' with data, model, data+model or -"
    )

    def check(self) -> None:
        for rule in self.rules:
            parse_rule(rule)
        if "tensor" in self.parameters and self.model == 1:
            raise ConfigError(f"parameters={self.parameters}: needs model ≥ 2, devices to share a layer")
        uses_model = "tensor" in self.parameters or any("model" in str(parse_rule(r)[1]) for r in self.rules)
        if self.model > 1 and not uses_model:
            raise ConfigError(
                f"model={self.model}: parameters={self.parameters} cuts nothing over them, so they would all "
                "do the same; set parameters=tensor or fsdp_tensor, or model=1"
            )


def parse_rule(text: str) -> tuple[re.Pattern[str], Axes]:
    """A rule from its text.

    Args:
      text: such as "kernel$ -> data+model -".

    Returns:
      The compiled expression, and the mesh axes of each axis of a parameter; axes beyond them are whole.

    Raises:
      ConfigError: it is no rule.
    """
    expression, arrow, names = text.rpartition(ARROW)
    axes = tuple(tuple(name.split("+")) if name != WHOLE else () for name in names.split())
    used = [name for axis in axes for name in axis]
    if not arrow or not axes or not set(used) <= set(AXES) or len(set(used)) < len(used):
        raise ConfigError(
            f"rules: {text!r} is no rule; write 'REGEX -> AXIS AXIS …', for each axis of the parameter data, "
            "model, data+model or -, and no mesh axis twice"
        )
    try:
        pattern = re.compile(expression.strip())
    except re.error as error:
        raise ConfigError(f"rules: {text!r}: not a regular expression ({error})") from error
    return pattern, tuple(axis or None for axis in axes)


@dataclass(frozen=True)
class ParameterSharding:
    """Where each parameter of a model lies.

    Attributes:
      mesh: the devices.
      layout: of the parameters.
      specs: of each parameter, in the layout's order.
    """

    mesh: Mesh
    layout: Layout
    specs: tuple[PartitionSpec, ...]

    @classmethod
    def of(cls, layout: Layout, mesh: Mesh, settings: ShardingSettings) -> ParameterSharding:
        """Applies the rules.

        Raises:
          ConfigError: a rule of the settings' own matches no parameter, has more axes than one that it
            matches, or cuts an axis that does not divide evenly.
        """
        own = [parse_rule(rule) for rule in settings.rules]
        for text, (pattern, _) in zip(settings.rules, own, strict=True):
            if not any(pattern.search(name) for name in layout.names):
                there = ", ".join(layout.names)
                raise ConfigError(f"rules: {text!r} matches no parameter; there are {there}")
        specs = []
        for name, shape in zip(layout.names, layout.shapes, strict=True):
            rule = next((axes for pattern, axes in own if pattern.search(name)), None)
            if rule is None:
                axes = _preset(name, shape, mesh, settings.parameters)
            else:
                axes = _exactly(name, shape, mesh, rule)
            specs.append(PartitionSpec(*axes))
        return cls(mesh, layout, tuple(specs))

    def alike(self, layout: Layout) -> ParameterSharding:
        """The same for arrays that go with the parameters, such as an optimizer's moments.

        One whose name ends with the name of a parameter of its shape lies as that does, the others whole.
        """
        specs = [self._like(name, shape) for name, shape in zip(layout.names, layout.shapes, strict=True)]
        return ParameterSharding(self.mesh, layout, tuple(specs))

    @property
    def whole(self) -> bool:
        """Whether every device holds everything."""
        return all(_count(axis, self.mesh) == 1 for spec in self.specs for axis in spec)

    @property
    def shardings(self) -> Params:
        """A `NamedSharding` in the place of each parameter."""
        return jax.tree.unflatten(self.layout.tree, [NamedSharding(self.mesh, spec) for spec in self.specs])

    def constrain(self, tree: Any) -> Any:
        """Inside jit: says where arrays lie that are parameters or go with them, see `alike`."""
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jax.lax.with_sharding_constraint(
                leaf, NamedSharding(self.mesh, self._like(path_name(path), leaf.shape))
            ),
            tree,
        )

    def scatter(self, flat: np.ndarray) -> Params:
        """Sends every device its part.

        Args:
          flat: float32 [P], the same on every process; it is copied and stays the caller's.

        Returns:
          The tree, on the devices.
        """
        parts = np.split(flat, self.layout.offsets[1:-1])
        leaves = [
            send(part.reshape(shape), NamedSharding(self.mesh, spec))
            for part, shape, spec in zip(parts, self.layout.shapes, self.specs, strict=True)
        ]
        return jax.tree.unflatten(self.layout.tree, leaves)

    def gather(self, tree: Params) -> np.ndarray:
        """Assembles a tree on the host, one array after another; every process must call it.

        Args:
          tree: as from `scatter`.

        Returns:
          float32 [P].
        """
        flat = np.empty(self.layout.size, np.float32)
        for start, leaf in zip(self.layout.offsets, jax.tree.leaves(tree), strict=False):
            flat[start : start + leaf.size] = to_host(leaf).ravel()
        return flat

    def _like(self, name: str, shape: tuple[int, ...]) -> PartitionSpec:
        fitting = [
            (len(own), spec)
            for own, size, spec in zip(self.layout.names, self.layout.shapes, self.specs, strict=True)
            if size == tuple(shape) and f"/{name}".endswith(f"/{own}")
        ]
        return max(fitting, key=lambda found: found[0])[1] if fitting else PartitionSpec()


def _preset(name: str, shape: tuple[int, ...], mesh: Mesh, preset: str) -> Axes:
    axes: list[str | tuple[str, ...] | None] = [None] * len(shape)
    if "tensor" in preset:
        rule = next((axes for expression, axes in TENSOR if re.search(expression, name)), ())
        if len(rule) == len(shape):
            axes = [
                axis if _divides(size, axis, mesh) else None for size, axis in zip(shape, rule, strict=True)
            ]
    if "fsdp" in preset:
        free = [i for i, size in enumerate(shape) if axes[i] is None and _divides(size, "data", mesh)]
        if free:  # the later of two: the first may be the axis over layers, which a scan takes apart
            axes[max(free, key=lambda i: (shape[i], i))] = "data"
    return tuple(axes)


def _exactly(name: str, shape: tuple[int, ...], mesh: Mesh, rule: Axes) -> Axes:
    if len(rule) > len(shape):
        raise ConfigError(
            f"rules: parameter {name} {list(shape)} has {len(shape)} axes, its rule {len(rule)}"
        )
    for size, axis in zip(shape, rule, strict=False):
        if not _divides(size, axis, mesh):
            raise ConfigError(
                f"rules: parameter {name} {list(shape)}: {size} does not divide over the "
                f"{_count(axis, mesh)} devices along {axis}; leave that axis whole (-) or take another "
                "number of devices"
            )
    return rule


def _divides(size: int, axis: str | tuple[str, ...] | None, mesh: Mesh) -> bool:
    return size % _count(axis, mesh) == 0


def _count(axis: str | tuple[str, ...] | None, mesh: Mesh) -> int:
    """Devices that an axis is cut over."""
    names = (axis,) if isinstance(axis, str) else axis or ()
    return math.prod(mesh.shape[name] for name in names)
