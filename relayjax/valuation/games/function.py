"""Any utility written in JAX, as a game: for those who run no relay.

Shapes: N participants, C coalitions, E validation examples, B coalitions evaluated at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial

from relayjax.errors import ConfigError, DataError
from relayjax.valuation.games.base import checked

# As in `composition.py`: enough to hide the cost of a call; constant, so that it is compiled once.
_ROWS_PER_CALL = 128


@dataclass(frozen=True, eq=False)
class Function:
    """What a function makes of the participants that are present.

        v(S) = mean_e [ u_e(1_S) − u_e(0) ],   1_S the indicator of S

    What the participants are is the function's affair: shards it trains on, features it keeps, models it
    averages. `u` is the higher the better: a metric, or a negated loss.

    A function of one number has no examples whose draw could err. Its worth is then handed on as two examples
    that agree: their variance is 0, and a standard error comes from an estimator's sampling alone.

    Attributes:
      function: maps presence, float32 [N] of zeros and ones, to u: float [E], or float [] without examples.
        Traced by JAX. Give it as `jax.tree_util.Partial(function, *arrays)` with its data among the arrays:
        it is then compiled once for every `function` and set of shapes. A bare function works, but what it
        closes over is compiled in.
      participants: N.
      block: B, coalitions evaluated at once by `vmap`; memory grows with it. By default 1: values do not
        depend then, to the last bit, on which coalitions are evaluated together. On an accelerator more is
        faster.

    Raises:
      ConfigError: no participants, a `block` that is not positive, or a function of another shape.
    """

    function: Callable[[jax.Array], jax.Array]
    participants: int
    block: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("participants", self.participants), ("block", self.block)):
            if value is not None and value < 1:
                raise ConfigError(f"function: {name} is {value}; give 1 or more")
        of_each = jax.eval_shape(self._partial, jax.ShapeDtypeStruct((self.participants,), jnp.float32))
        shape, dtype = getattr(of_each, "shape", None), getattr(of_each, "dtype", None)
        if dtype is None or shape is None or len(shape) > 1 or not jnp.issubdtype(dtype, jnp.floating):
            raise ConfigError(
                f"function: it returns {of_each}; return one float an example, [E], or a single float"
            )

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        """Worth of each coalition on each example.

        Args:
          coalitions: bool [C, N].

        Returns:
          [C, E] in the function's dtype, in its unit; E is 2 for a function of one number.

        Raises:
          ConfigError: `coalitions` has the wrong shape or dtype.
          DataError: the function is not finite for a coalition.
        """
        return self._evaluate(checked(coalitions, self.participants)) - self._nobody

    @cached_property
    def _nobody(self) -> np.ndarray:
        """u of the empty coalition, [1, E], by the code that evaluates all others."""
        return self._evaluate(np.zeros((1, self.participants), bool))

    @property
    def _partial(self) -> Partial:
        return self.function if isinstance(self.function, Partial) else Partial(self.function)

    def _evaluate(self, coalitions: np.ndarray) -> np.ndarray:
        """u of each coalition, [C, E]."""
        block = self.block or 1
        blocks = -(-_ROWS_PER_CALL // block)
        rows, tables = blocks * block, []
        for start in range(0, len(coalitions), rows):
            asked = coalitions[start : start + rows]
            masks = np.zeros((rows, self.participants), np.float32)
            masks[: len(asked)] = asked
            masks = masks.reshape(blocks, block, self.participants)
            table = np.asarray(_evaluated(self._partial, masks, len(asked)))[: len(asked)]
            table = table if table.ndim == 2 else np.stack([table, table], axis=1)
            wrong = ~np.isfinite(table).all(axis=1)
            if wrong.any():
                members = np.flatnonzero(asked[wrong.argmax()]).tolist()
                raise DataError(
                    f"function: it is not finite for coalition {members}; "
                    "let it return a finite worth for every coalition, the empty one included"
                )
            tables.append(table)
        return np.concatenate(tables)


@jax.jit
def _evaluated(function: Partial, masks: jax.Array, count: jax.Array | int) -> jax.Array:
    """The function for the first `count` of masks [blocks, B, N]: [blocks × B, E] or [blocks × B].

    Blocks past them are skipped and hold zeros.
    """
    of_each = jax.eval_shape(function, masks[0, 0])

    def evaluate(numbered: tuple[jax.Array, jax.Array]) -> jax.Array:
        number, block = numbered
        nothing = jnp.zeros((len(block), *of_each.shape), of_each.dtype)
        return lax.cond(number * len(block) < count, jax.vmap(function), lambda _: nothing, block)

    table = lax.map(evaluate, (jnp.arange(len(masks)), masks))
    return table.reshape(-1, *of_each.shape)
