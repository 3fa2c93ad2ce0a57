"""What a coalition's members add up to, quickly: sums of all subsets of small groups, made once.

The participants are cut into groups of up to g. For every group the sums of all 2^g subsets of its members'
terms are tabulated, and a coalition is one row of each group:

    base + Σ_{i∈S} a_i = t_1[S ∩ G_1] + t_2[S ∩ G_2] + …      (the base is in every row of t_1)

Which order terms are added in depends on the groups alone, so a coalition's sum is the same to the last bit
whatever is summed beside it, and a term of zeros changes nothing.

Shapes: N participants, C coalitions, G groups, R rows of all tables, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import register_dataclass

from relayjax.valuation.games.linear_first import LinearFirst, Parts

# Larger tables would save an addition and lose more to memory: the rows have to stay in a processor's cache.
LARGEST_GROUP = 5
TABLE_BYTES = 256 << 20


@register_dataclass
@dataclass(frozen=True, eq=False)
class SubsetSums:
    """The tables of all groups behind one another.

    Attributes:
      table: parts with a leading axis, [R, …].
      sizes: participants of each group; groups of consecutive participants.
    """

    table: Parts
    sizes: tuple[int, ...] = field(metadata={"static": True})

    def picks(self, coalitions: np.ndarray) -> np.ndarray:
        """Which row of each group's table a coalition takes.

        Args:
          coalitions: bool [C, N].

        Returns:
          int32 [C, G].
        """
        ends, rows = list(accumulate(self.sizes)), [2**size for size in self.sizes]
        # What a participant moves the row by: bit i of a group's row is its member i.
        steps = np.concatenate([2 ** np.arange(size) for size in self.sizes])
        of_group = np.add.reduceat(coalitions * steps, [0, *ends[:-1]], axis=1)
        return (of_group + np.cumsum([0, *rows[:-1]])).astype(np.int32)

    def compose(self, picks: jax.Array) -> Parts:
        """The parts of one coalition.

        Args:
          picks: a row of `picks`, int32 [G].
        """

        def add_up(table: jax.Array) -> jax.Array:
            total = lax.dynamic_index_in_dim(table, picks[0], keepdims=False)
            for group in range(1, len(self.sizes)):
                total = total + lax.dynamic_index_in_dim(table, picks[group], keepdims=False)
            return total

        return jax.tree.map(add_up, self.table)


@register_dataclass
@dataclass(frozen=True, eq=False)
class DirectSums:
    """Without tables: the same by a product with the deltas, for models of which no table would fit.

    Attributes:
      base: θ_b, float32 [P].
      deltas: float32 [N, P].
      weights: float32 [N].
    """

    base: jax.Array
    deltas: jax.Array
    weights: jax.Array

    def picks(self, coalitions: np.ndarray) -> np.ndarray:
        """The coalitions, bool [C, N]."""
        return coalitions

    def compose(self, picks: jax.Array) -> jax.Array:
        """The parameters of one coalition, float32 [P].

        Args:
          picks: its members, bool [N].
        """
        # Accelerators may multiply float32 in fewer bits by default, too few for values this close.
        return self.base + jnp.dot(picks * self.weights, self.deltas, precision=lax.Precision.HIGHEST)


def group_sizes(participants: int, row_bytes: int, limit: int) -> tuple[int, ...] | None:
    """The largest groups whose tables fit, as even as can be.

    Groups have at most 5 members: larger tables take longer to make and to read than they save.

    Args:
      participants: N.
      row_bytes: of one participant's parts.
      limit: most bytes for all tables together.

    Returns:
      How many participants are in each group; None if not even groups of one fit, 2 N rows.
    """
    for groups in range(-(-participants // LARGEST_GROUP), participants + 1):
        small, larger = divmod(participants, groups)
        sizes = (small + 1,) * larger + (small,) * (groups - larger)
        if sum(2**size for size in sizes) * row_bytes <= limit:
            return sizes
    return None


@partial(jax.jit, static_argnames="sizes")
def subset_sums(
    losses: LinearFirst,
    base: jax.Array,
    deltas: jax.Array,
    weights: jax.Array,
    sizes: tuple[int, ...],
) -> SubsetSums:
    """Makes the tables.

    Args:
      losses: whose linear step the parts come from.
      base: θ_b, float32 [P].
      deltas: float32 [N, P].
      weights: float32 [N].
      sizes: of the groups, which sum to N.
    """
    terms = shares(losses, deltas, weights)
    rows, parents, members = (jnp.asarray(column) for column in _steps(sizes))

    def tabulate(at_base: jax.Array, terms: jax.Array) -> jax.Array:
        def add_row(step: jax.Array, table: jax.Array) -> jax.Array:
            sums = table[parents[step]] + terms[members[step]]
            return lax.dynamic_update_index_in_dim(table, sums, rows[step], axis=0)

        empty = jnp.zeros((sum(2**size for size in sizes), *at_base.shape), at_base.dtype)
        return lax.fori_loop(0, len(rows), add_row, empty.at[0].set(at_base))

    return SubsetSums(jax.tree.map(tabulate, losses.linear(base), terms), sizes)


def _steps(sizes: tuple[int, ...]) -> np.ndarray:
    """How the tables grow: a row is an earlier one, without its last member, plus that member's term.

    Returns:
      int32 [3, R − G]: row, the earlier row, member.
    """
    steps, first_row, first_member = [], 0, 0
    for size in sizes:
        for subset in range(1, 2**size):
            last = subset.bit_length() - 1
            steps.append((first_row + subset, first_row + subset - 2**last, first_member + last))
        first_row, first_member = first_row + 2**size, first_member + size
    return np.array(steps, np.int32).T


def shares(losses: LinearFirst, deltas: jax.Array, weights: jax.Array) -> Parts:
    """What each participant adds to the parts, linear(w_i δ_i): parts with a leading axis N."""
    return lax.map(lambda one: losses.linear(one[0] * one[1]), (weights, deltas))
