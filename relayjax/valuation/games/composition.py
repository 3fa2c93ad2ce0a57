"""Siblings of one base, composed with fixed weights: the game of a braid round and of federated averaging.

Shapes: N participants, C coalitions, P parameters, E validation examples, B coalitions evaluated at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.tree_util import Partial

from relayjax.errors import ConfigError, DataError
from relayjax.valuation.games.base import checked
from relayjax.valuation.games.blocks import block_that_fits
from relayjax.valuation.games.linear_first import LinearFirst, Whole, parts_bytes, saves_time
from relayjax.valuation.games.subset_sums import TABLE_BYTES, DirectSums, group_sizes, subset_sums
from relayjax.valuation.games.sweep import Sums, cores, sweep

Losses = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True, eq=False)
class Composition:
    """Siblings of one base, composed with fixed weights.

        v(S) = mean_e [ ℓ_e(θ_b) − ℓ_e(θ_b + Σ_{i∈S} w_i δ_i) ]

    The weights belong to the participants and not to the coalition: renormalising them over S would change
    the ranking and make it pay to submit one delta twice.

    With B = 1 a coalition is worth the same to the last bit whatever is evaluated beside it, in whatever
    order, by however many threads or devices of one kind. Memory: base and deltas, the tables, and for each
    thread what one block needs and the rows of one call, at most max(128, B) × E losses a device.

    Attributes:
      losses: maps parameters float32 [P] to per-example losses float32 [E], in nats. Give it as
        `jax.tree_util.Partial(function, *arrays)` with the validation data among the arrays: they are then
        arguments of the compiled code, and it is compiled once for every `function` and set of shapes. A
        bare function works, but what it closes over is compiled in: each new closure compiles anew. Losses
        that are `LinearFirst` cost only what comes after their first step.
      base: θ_b, float32 [P].
      deltas: δ, child − base of each participant, float32 [N, P].
      weights: w, float32 [N].
      block: B, coalitions evaluated at once. By default 1 on CPU, where batching gains nothing; on
        accelerators as many as fit into a GiB, up to 256 (`tune_block` measures what is fastest). There,
        values of different B differ in their last bits.
      mesh: devices of this process that share the coalitions among them, each holding all arrays and
        tables; None for the device the arrays are on.
      threads: calls under way at once. By default as many as the process has cores where coalitions are
        small enough for tables on a CPU, otherwise 1.
      table_bytes: most that sums of subsets of participants (`SubsetSums`) may take on a device; 0 for none,
        so that every coalition is composed from the deltas.

    Raises:
      ConfigError: an array has the wrong shape or dtype, `block` or `threads` is not positive, or the losses
        or the mesh cannot be used.
      DataError: a delta or a weight is not finite.
    """

    losses: Losses
    base: jax.Array
    deltas: jax.Array
    weights: jax.Array
    block: int | None = None
    mesh: Mesh | None = None
    threads: int | None = None
    table_bytes: int = TABLE_BYTES

    def __post_init__(self) -> None:
        shapes = {"base": ("P",), "deltas": ("N", "P"), "weights": ("N",)}
        sizes: dict[str, int] = {}
        for name, axes in shapes.items():
            array = getattr(self, name)
            fits = array.ndim == len(axes) and all(
                sizes.setdefault(axis, size) == size for axis, size in zip(axes, array.shape, strict=True)
            )
            if not fits or array.dtype != jnp.float32:
                raise ConfigError(
                    f"composition: {name} is {array.dtype} {list(array.shape)}; "
                    f"give float32 [{', '.join(axes)}] with the same N and P throughout"
                )
        if self.participants < 1:
            raise ConfigError("composition: no participants; give at least one delta")
        for name in ("block", "threads"):
            if (given := getattr(self, name)) is not None and given < 1:
                raise ConfigError(f"composition: {name} is {given}; give 1 or more, or None for the default")
        if self.mesh is not None and self.mesh.is_multi_process:
            raise ConfigError(
                "composition: the mesh spans processes; give one of this process's devices, "
                "`jax.local_devices()`, and share the coalitions out among the processes"
            )
        if isinstance(self.losses, LinearFirst) and jax.tree_util.all_leaves([self.losses]):
            raise ConfigError(
                "composition: losses with a linear first step must be a pytree; "
                "register the class with jax.tree_util.register_dataclass, arrays as data fields"
            )
        # One such delta would spoil everyone's value (0 · ∞ is NaN even where it is absent): name it here.
        sound = jnp.isfinite(self.deltas).all(axis=1) & jnp.isfinite(self.weights)
        if not sound.all():
            raise DataError(
                f"composition: deltas or weights of participants {np.flatnonzero(~sound).tolist()} "
                "hold NaN or Inf; refuse those deltas before composing"
            )

    @property
    def participants(self) -> int:
        """N."""
        return self.deltas.shape[0]

    @cached_property
    def staged(self) -> LinearFirst:
        """The losses in two steps, as they are evaluated: whole, where steps would save nothing."""
        if isinstance(self.losses, LinearFirst):
            sizes = self._sizes(self.losses)
            if sizes and saves_time(self.losses, self.base, len(sizes)):
                return self.losses
            return Whole(self.losses)
        return Whole(self.losses if isinstance(self.losses, Partial) else Partial(self.losses))

    @cached_property
    def block_size(self) -> int:
        """B, with the default of this machine's backend filled in."""
        if self.block or jax.default_backend() == "cpu":
            return self.block or 1
        return block_that_fits(self.staged, self.base)

    def utility(self, coalitions: np.ndarray) -> np.ndarray:
        """Worth of each coalition.

        Args:
          coalitions: bool [C, N].

        Returns:
          float64 [C], nats.

        Raises:
          ConfigError: `coalitions` has the wrong shape or dtype.
          DataError: the loss of a coalition is not finite.
        """
        return np.concatenate([rows.mean(axis=1, dtype=np.float64) for rows in self._evaluate(coalitions)])

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        """Worth of each coalition on each validation example: as `utility`, but float32 [C, E]."""
        return np.concatenate(list(self._evaluate(coalitions)))

    def _sizes(self, losses: LinearFirst) -> tuple[int, ...] | None:
        """Groups of participants whose tables fit."""
        return group_sizes(self.participants, parts_bytes(losses, self.base), self.table_bytes)

    @cached_property
    def _row_of_devices(self) -> Mesh | None:
        """The devices as coalitions are dealt out to them, whatever the axes of the mesh mean elsewhere."""
        if self.mesh is None:
            return None
        devices = list(self.mesh.devices.flat)
        return jax.make_mesh((len(devices),), ("coalitions",), (AxisType.Auto,), devices=devices)

    @cached_property
    def _placed(self) -> tuple[LinearFirst, Sums]:
        """Losses and what composes coalitions for them, on every device; made when first needed."""
        everything = self.staged, (self.base, self.deltas, self.weights)
        if self._row_of_devices is not None:
            everything = jax.device_put(everything, NamedSharding(self._row_of_devices, PartitionSpec()))
        staged, arrays = everything
        sizes = self._sizes(staged)
        return staged, subset_sums(staged, *arrays, sizes) if sizes else DirectSums(*arrays)

    def _evaluate(self, coalitions: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the per-example table in runs of rows, float32 [≤ rows per call, E]."""
        coalitions = checked(coalitions, self.participants)
        # The base is evaluated as the empty coalition, by the code that evaluates all others: compiled twice,
        # the same loss may differ in its last bit, and a delta of zero would be worth that bit.
        coalitions = np.concatenate([np.zeros((1, self.participants), bool), coalitions])
        staged, sums = self._placed
        # A small model's operations leave cores idle that several calls can share; a large one's do not.
        mesh = self._row_of_devices
        alone = isinstance(sums, DirectSums) or mesh is not None or jax.default_backend() != "cpu"
        threads = self.threads or (1 if alone else cores())
        before, seen = None, 0
        for rows in sweep(staged, sums, coalitions, block=self.block_size, mesh=mesh, threads=threads):
            diverged = ~np.isfinite(rows).all(axis=1)
            if diverged.any():
                members = np.flatnonzero(coalitions[seen + diverged.argmax()]).tolist()
                raise DataError(
                    f"composition: the loss of coalition {members} is not finite; "
                    "refuse deltas that diverge (by a trust region) or lower the weights"
                )
            seen += len(rows)
            if before is None:
                before, rows = rows[0], rows[1:]
            yield before - rows
