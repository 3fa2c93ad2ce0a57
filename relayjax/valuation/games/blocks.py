"""How many coalitions an accelerator evaluates at once: what fits, and what is fastest.

Shapes: B coalitions evaluated at once, E validation examples, N participants.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.games.linear_first import LinearFirst, parts_bytes

if TYPE_CHECKING:
    from relayjax.valuation.games.composition import Composition

BLOCK_BYTES = 1 << 30
LARGEST_BLOCK = 256


def block_that_fits(losses: LinearFirst, base: jax.Array, limit: int = BLOCK_BYTES) -> int:
    """The largest power of two up to 256 coalitions that fit into memory together.

    One is compiled, and the compiler says what it needs: its parts, what is computed on the way, its losses.

    Args:
      losses: in two steps.
      base: θ_b, float32 [P].
      limit: most bytes a block may take.

    Returns:
      B, at least 1.
    """
    parts = jax.eval_shape(losses.linear, base)
    compiled = jax.jit(lambda losses, parts: losses.after(parts)).lower(losses, parts).compile()
    needed = compiled.memory_analysis()
    each = parts_bytes(losses, base)
    if needed is not None:  # not every backend tells
        each += needed.temp_size_in_bytes + needed.output_size_in_bytes
    fitting = max(1, min(LARGEST_BLOCK, limit // each))
    return 1 << (fitting.bit_length() - 1)


def tune_block(
    game: Composition, candidates: Sequence[int] = (1, 4, 16, 64, 256), *, coalitions: int = 512
) -> int:
    """The number of coalitions at once that evaluates this game fastest on this device.

    Each candidate compiles once, runs to warm up, and counts with the best of three runs. On an accelerator,
    values of different B differ in their last bits: who is to reproduce a table must be told B, or
    compare with a tolerance. The relay's validators compare in whole micro-nats.

    Args:
      game: any composition; its own `block` is ignored.
      candidates: values of B to try; those that do not fit into the device's memory drop out.
      coalitions: how many are evaluated in a run.

    Returns:
      B, to be given as `dataclasses.replace(game, block=B)`.

    Raises:
      ConfigError: there are no candidates, or none fits.
    """
    sample = np.random.default_rng(0).random((coalitions, game.participants)) < 0.5
    seconds = {}
    for block in candidates:
        trial = dataclasses.replace(game, block=block)
        try:
            trial.utility(sample)
            seconds[block] = min(_seconds(trial, sample) for _ in range(3))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
    if not seconds:
        raise ConfigError(
            f"tune_block: none of the candidates {list(candidates)} fits into the device's memory; "
            "give smaller ones, 1 at the least, or evaluate on fewer examples"
        )
    return min(seconds, key=seconds.__getitem__)


def _seconds(game: Composition, coalitions: np.ndarray) -> float:
    started = time.perf_counter()
    game.utility(coalitions)
    return time.perf_counter() - started
