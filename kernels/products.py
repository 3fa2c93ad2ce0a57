"""Dot products of long float32 vectors in float64, in one order of additions on every machine.

Values are multiplied in float64, where the product of two float32 is exact. A tile of 512 products is added
up in 16 lanes, 32 rows one after another; the lanes are added in halves (lane i and i + 8, then i + 4, …),
and the sums of tiles one after another. What is left behind the last whole tile is added value by value.

`dot` has a twin of the same name and signature in `products_reference`, bit-identical on finite input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from relayjax.kernels import threads, vectors
from relayjax.kernels.vectors import F32, F64, Builder, Value, fill

LANES = 16
ROWS = 32
TILE = LANES * ROWS


def dots(rows: Sequence[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Returns the products of some vectors with one: float64 `[M]`.

    Args:
      rows: M times float32 `[P]`.
      x: float32 `[P]`.
    """
    found = np.zeros(len(rows))

    def some(first: int, last: int) -> None:
        for place in range(first, last):
            found[place] = dot(rows[place], x)

    large = len(rows) > 1 and len(rows) * x.size >= threads.PARALLEL_FROM
    threads.run_ranges(some, len(rows), threads.cores() if large else 1)
    return found


def _define_tile(_typing, a, b, start):
    """Sums the 512 products from `start` on."""

    def generate(context: Any, b: Builder, signature: Any, values: Any) -> Value:
        wide = ir.VectorType(F64, LANES)
        left, right = (
            vectors.Array(context, b, kind, value, values[2])
            for kind, value in zip(signature.args[:2], values[:2], strict=True)
        )
        total = fill(F64, 0.0, LANES)
        for row in range(ROWS):
            pair = (b.fpext(one.load(LANES * row, F32, LANES), wide) for one in (left, right))
            total = b.fadd(total, b.fmul(*pair))
        count = LANES
        while count > 1:
            count //= 2
            halves = (vectors.shuffle(b, total, total, list(range(i, i + count))) for i in (0, count))
            total = b.fadd(*halves)
        return b.extract_element(total, ir.Constant(vectors.I32, 0))

    return types.float64(a, b, start), generate


_tile: Any = intrinsic(_define_tile)


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the product of two vectors.

    Args:
      a: float32 `[P]`.
      b: float32 `[P]`.

    Raises:
      ValueError: they differ in length, or are something else.
    """
    if a.shape != b.shape or a.ndim != 1 or not a.dtype == b.dtype == np.float32:
        raise ValueError(f"dot: {a.dtype}{a.shape} and {b.dtype}{b.shape} are not two float32 vectors alike")
    return _dot(np.ascontiguousarray(a), np.ascontiguousarray(b))


@njit(cache=True, nogil=True)
def _dot(a: np.ndarray, b: np.ndarray) -> float:
    size = np.uint64(a.size)
    total, start = 0.0, np.uint64(0)
    while start + np.uint64(TILE) <= size:
        total += _tile(a, b, start)
        start += np.uint64(TILE)
    for i in range(start, size):
        total += np.float64(a[i]) * np.float64(b[i])
    return total
