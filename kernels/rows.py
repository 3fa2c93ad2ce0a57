"""Rows of 32 packed values: written out as float32, or added to a vector.

What the block formats share. A format brings `unpack`, which turns a row's packed bits into 32 numbers in
units of a step; the step, a power of two, is chosen so that every product with a number is a float32 exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from relayjax.kernels.vectors import F32, Array, Builder, Value, fill, spread

ROW = 32  # values
Unpack = Callable[[Builder, Array], Value]


def decoder(unpack: Unpack, stride: int, stream: bool) -> Any:
    """Makes the intrinsic `(packed, row, step, out)` that writes a row: number · step.

    Args:
      unpack: gives the row's numbers, float32 `<32>`.
      stride: elements of the packed array in a row.
      stream: write past the caches; the row must then start at an address that 16 divides.
    """

    @intrinsic
    def decode_row(_typing, packed, row, step, out):
        def generate(context: Any, b: Builder, signature: Any, values: Any) -> Value:
            kinds = signature.args
            numbers = unpack(b, Array(context, b, kinds[0], values[0], _times(b, values[1], stride)))
            target = Array(context, b, kinds[3], values[3], _times(b, values[1], ROW))
            target.store(0, b.fmul(numbers, spread(b, values[2], ROW)), 16 * stream)
            return context.get_dummy_value()

        return types.void(packed, row, step, out), generate

    return decode_row


def adder(unpack: Unpack, stride: int, stream: bool) -> Any:
    """Makes the intrinsic `(packed, row, step, base, out)` that writes base + number · step.

    Where the product is zero, the bits of the base stay: -0 + 0 would be +0. `base` may be `out`.
    """

    @intrinsic
    def add_row(_typing, packed, row, step, base, out):
        def generate(context: Any, b: Builder, signature: Any, values: Any) -> Value:
            kinds, start = signature.args, _times(b, values[1], ROW)
            numbers = unpack(b, Array(context, b, kinds[0], values[0], _times(b, values[1], stride)))
            step = b.fmul(numbers, spread(b, values[2], ROW))
            old = Array(context, b, kinds[3], values[3], start).load(0, F32, ROW)
            unchanged = b.fcmp_ordered("==", step, fill(F32, 0.0, ROW))
            new = b.select(unchanged, old, b.fadd(old, step))
            Array(context, b, kinds[4], values[4], start).store(0, new, 16 * stream)
            return context.get_dummy_value()

        return types.void(packed, row, step, base, out), generate

    return add_row


def _times(builder: Builder, index: Value, factor: int) -> Value:
    return builder.mul(index, ir.Constant(index.type, factor))
