"""Siblings of one base, composed with fixed weights: the game of a braid round and of federated averaging.

Shapes: N participants, C coalitions, P parameters, E validation examples, B coalitions evaluated at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial

from relayjax.errors import ConfigError, DataError
from relayjax.valuation.games.base import checked

# Coalitions handed to the device per call: enough to hide the cost of a call, few enough that the table of
# one call stays small. Its being constant is what keeps the number of coalitions out of the compiled code.
_ROWS_PER_CALL = 128

Losses = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True, eq=False)
class Composition:
    """Siblings of one base, composed with fixed weights.

        v(S) = mean_e [ ℓ_e(θ_b) − ℓ_e(θ_b + Σ_{i∈S} w_i δ_i) ]

    The weights belong to the participants and not to the coalition: renormalising them over S would change
    the ranking and make it pay to submit one delta twice.

    Attributes:
      losses: maps parameters float32 [P] to per-example losses float32 [E], in nats. Give it as
        `jax.tree_util.Partial(function, *arrays)` with the validation data among the arrays: they are then
        arguments of the compiled code, and it is compiled once for every `function` and set of shapes. A
        bare function works, but what it closes over is compiled in: each new closure compiles anew.
      base: θ_b, float32 [P].
      deltas: δ, child − base of each participant, float32 [N, P].
      weights: w, float32 [N].
      block: B, coalitions evaluated at once; memory grows with B × P and B times what `losses` needs. By
        default 1 on CPU, where batching weights gains little and values then do not depend, to the last
        bit, on which coalitions are evaluated together; 64 on accelerators.

    Raises:
      ConfigError: an array has the wrong shape or dtype, or `block` is not positive.
      DataError: a delta or a weight is not finite.
    """

    losses: Losses
    base: jax.Array
    deltas: jax.Array
    weights: jax.Array
    block: int | None = None

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
        if self.block is not None and self.block < 1:
            raise ConfigError(f"composition: block is {self.block}; give 1 or more, or None for the default")
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

    @property
    def block_size(self) -> int:
        """B, with the default of this machine's backend filled in."""
        return self.block or (1 if jax.default_backend() == "cpu" else 64)

    @property
    def arguments(self) -> tuple[Partial, jax.Array, jax.Array, jax.Array]:
        """Losses (as a pytree), base, deltas, weights: what compiled code takes as arguments."""
        losses = self.losses if isinstance(self.losses, Partial) else Partial(self.losses)
        return losses, self.base, self.deltas, self.weights

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

    def _evaluate(self, coalitions: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the per-example table in runs of rows, float32 [≤ rows per call, E]."""
        coalitions = checked(coalitions, self.participants)
        blocks = -(-_ROWS_PER_CALL // self.block_size)
        rows = blocks * self.block_size
        # The base is evaluated as the empty coalition, by the code that evaluates all others: compiled twice,
        # the same loss may differ in its last bit, and a delta of zero would be worth that bit.
        coalitions = np.concatenate([np.zeros((1, self.participants), bool), coalitions])
        before = None
        for start in range(0, len(coalitions), rows):
            asked = coalitions[start : start + rows]
            masks = np.zeros((rows, self.participants), dtype=bool)
            masks[: len(asked)] = asked
            masks = masks.reshape(blocks, self.block_size, self.participants)
            table = np.asarray(_composed_losses(*self.arguments, masks, len(asked)))[: len(asked)]
            diverged = ~np.isfinite(table).all(axis=1)
            if diverged.any():
                members = np.flatnonzero(asked[diverged.argmax()]).tolist()
                raise DataError(
                    f"composition: the loss of coalition {members} is not finite; "
                    "refuse deltas that diverge (by a trust region) or lower the weights"
                )
            if before is None:
                before, table = table[0], table[1:]
            yield before - table


@jax.jit
def _composed_losses(
    losses: Partial,
    base: jax.Array,
    deltas: jax.Array,
    weights: jax.Array,
    masks: jax.Array,
    count: jax.Array | int,
) -> jax.Array:
    """Every example's loss under the compositions of the first `count` coalitions.

    At module level and with every array an argument, so that the next game of these shapes finds it compiled.

    Args:
      losses, base, deltas, weights: as in `Composition`.
      masks: bool [blocks, B, N].
      count: how many of the blocks × B coalitions are asked for; blocks past them are skipped.

    Returns:
      float32 [blocks × B, E], nats; zeros in blocks that were skipped.
    """
    moves = weights[:, None] * deltas
    of_each = jax.eval_shape(losses, base)

    def composed(mask: jax.Array) -> jax.Array:
        # Accelerators may multiply float32 in fewer bits by default, too few for values this close.
        return losses(base + jnp.dot(mask.astype(jnp.float32), moves, precision=lax.Precision.HIGHEST))

    def evaluate(numbered: tuple[jax.Array, jax.Array]) -> jax.Array:
        number, block = numbered
        nothing = jnp.zeros((len(block), *of_each.shape), of_each.dtype)
        return lax.cond(number * len(block) < count, jax.vmap(composed), lambda _: nothing, block)

    table = lax.map(evaluate, (jnp.arange(len(masks)), masks))
    return table.reshape(-1, *of_each.shape)
