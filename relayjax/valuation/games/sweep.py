"""Evaluates any number of coalitions by one compiled function, many a call and B at once.

A row is the losses of one coalition. Calls overlap on the threads of a CPU; on a mesh, its devices share the
rows of every call.

Shapes: N participants, C coalitions, E validation examples, B coalitions evaluated at once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from relayjax.valuation.games.linear_first import LinearFirst
from relayjax.valuation.games.subset_sums import DirectSums, SubsetSums

# Coalitions handed to a device per call: enough to hide the cost of a call, few enough that the rows of one
# call stay small. Its being constant is what keeps the number of coalitions out of the compiled code.
ROWS_PER_CALL = 128

Sums = SubsetSums | DirectSums


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sweep(
    losses: LinearFirst, sums: Sums, coalitions: np.ndarray, *, block: int, mesh: Mesh | None, threads: int
) -> Iterator[np.ndarray]:
    """Yields the losses of all coalitions in order, in runs of rows.

    Memory: the rows of `threads` calls, each of at most max(128, B) on every device.

    Args:
      losses: in two steps.
      sums: what the parts of a coalition are made by.
      coalitions: bool [C, N].
      block: B.
      mesh: of one axis, devices that share the rows of a call and hold all arrays; None for one.
      threads: calls under way at once.

    Yields:
      float32 [rows, E], nats.
    """
    devices = 1 if mesh is None else mesh.size
    blocks = devices * -(-ROWS_PER_CALL // block)
    rows = blocks * block
    # Dealt out in turns, so that a call that is not full keeps every device busy.
    dealt = np.arange(blocks, dtype=np.int32).reshape(-1, devices).T.reshape(-1)
    back = dealt.argsort()

    def evaluate(start: int) -> np.ndarray:
        picks = sums.picks(coalitions[start : start + rows])
        count = len(picks)
        picks = np.concatenate([picks, np.zeros((rows - count, picks.shape[1]), picks.dtype)])
        of_blocks = _losses_of(losses, sums, picks.reshape(blocks, block, -1)[dealt], dealt, count, mesh=mesh)
        return np.asarray(of_blocks)[back].reshape(rows, -1)[:count]

    starts = range(0, len(coalitions), rows)
    if threads == 1 or len(starts) == 1:
        yield from map(evaluate, starts)
        return
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[np.ndarray]] = deque()
        for start in starts:
            if len(under_way) == threads:
                yield under_way.popleft().result()
            under_way.append(pool.submit(evaluate, start))
        while under_way:
            yield under_way.popleft().result()


@partial(jax.jit, static_argnames="mesh")
def _losses_of(
    losses: LinearFirst,
    sums: Sums,
    picks: jax.Array,
    numbers: jax.Array,
    count: jax.Array | int,
    mesh: Mesh | None,
) -> jax.Array:
    """Every example's loss under the compositions of the first `count` coalitions.

    At module level and with every array an argument, so that the next game of these shapes finds it compiled.

    Args:
      losses, sums, mesh: as in `sweep`.
      picks: what the sums take for each coalition, [blocks, B, …].
      numbers: of the blocks, in the order they come in, int32 [blocks].
      count: how many of the blocks × B coalitions are asked for; blocks numbered past them are skipped.

    Returns:
      float32 [blocks, B, E], nats; zeros in blocks that were skipped.
    """

    def evaluate_all(
        losses: LinearFirst, sums: Sums, count: jax.Array, numbers: jax.Array, picks: jax.Array
    ) -> jax.Array:
        def composed(picks: jax.Array) -> jax.Array:
            return losses.after(sums.compose(picks))

        def evaluate(numbered: tuple[jax.Array, jax.Array]) -> jax.Array:
            number, block = numbered
            nothing = jnp.zeros((len(block), *of_each.shape), of_each.dtype)
            return lax.cond(number * len(block) < count, jax.vmap(composed), lambda _: nothing, block)

        of_each = jax.eval_shape(composed, picks[0, 0])
        return lax.map(evaluate, (numbers, picks))

    if mesh is not None:
        whole, shared = PartitionSpec(), PartitionSpec(mesh.axis_names)
        evaluate_all = jax.shard_map(
            evaluate_all,
            mesh=mesh,
            in_specs=(whole, whole, whole, shared, shared),
            out_specs=shared,
            check_vma=False,  # a block that is skipped is zeros that lie on no device in particular
        )
    return evaluate_all(losses, sums, jnp.asarray(count), numbers, picks)
