"""MXINT8: blocks of 32 float32 values as int8 elements under one shared power-of-two scale.

A vector `[P]` is cut into `B = ceil(P / 32)` blocks; the last one is read as if padded with zeros, but no
padding is stored. For a block with the largest magnitude `m`, its scale code `c` (E8M0: a biased exponent)
and elements `q` are

    c = clamp(floor(log2 m), -127, 127) + 127        c = 0 for a block of zeros
    q = clamp(round_half_even(x / step(c)), -127, 127)
    x ≈ q · step(c),    step(c) = 2^(c - 127) · 2^-6 = 2^(c - 133)

Dividing by a power of two is exact wherever the quotient does not round to zero anyway. The product
`q · step(c)` has at most seven significant bits and a magnitude in [2^-133, 127 · 2^121] or zero: it is a
float32 exactly, normal or subnormal. So `base + q · step(c)` rounds once, fused or not, and every IEEE 754
machine that keeps subnormals gets the same bits.

`|x - q · step|` is at most `step / 2`, and less than `step` where `|x| > 127.5 · step` was clamped.

Every function here has a twin of the same name and signature in `mxint8_reference`, bit-identical on finite
input.

References:
  OCP Microscaling Formats (MX) Specification v1.0: sections 5.3.4 (INT8, implied scale 2^-6), 5.4.1 (E8M0)
  and 6.3 (conversion from a vector of scalars).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit

BLOCK = 32  # values that share a scale
NAN_CODE = 255  # E8M0's NaN: marks a block that held NaN or infinity
PARALLEL_FROM = 1 << 21  # values; below this, starting threads costs more than they save
MAX_THREADS = 4  # a few cores saturate the memory bus

_STEPS = np.ldexp(np.float32(1), np.arange(256) - 133)  # float32[256]: one unit of an element, by scale code
_MAGNITUDE = np.int32(0x7FFFFFFF)  # all bits of a float32 but its sign
_LOWEST, _HIGHEST = np.int32(-127), np.int32(127)


def block_count(size: int) -> int:
    """Returns B, the number of blocks (and of scale codes) of a vector of `size` values."""
    return -(-size // BLOCK)


def encode(x: np.ndarray, scales: np.ndarray, elements: np.ndarray) -> None:
    """Encodes a vector. A block that holds NaN or infinity gets `NAN_CODE` and zero elements.

    Args:
      x: float32 `[P]`, contiguous.
      scales: uint8 `[B]`, overwritten with the scale codes.
      elements: int8 `[P]`, overwritten with the elements.
    """
    _over_blocks(_encode, x.size, x, scales, elements)


def decode(scales: np.ndarray, elements: np.ndarray, out: np.ndarray) -> None:
    """Decodes a vector. A zero element gives +0.

    Args:
      scales: uint8 `[B]`, none of them `NAN_CODE`.
      elements: int8 `[P]`.
      out: float32 `[P]`, overwritten with the values.
    """
    _over_blocks(_decode, out.size, scales, elements, out)


def add(scales: np.ndarray, elements: np.ndarray, base: np.ndarray, out: np.ndarray) -> None:
    """Writes `base + decode(scales, elements)` in one pass; a zero element leaves the bits of `base`.

    Args:
      scales: uint8 `[B]`, none of them `NAN_CODE`.
      elements: int8 `[P]`.
      base: float32 `[P]`.
      out: float32 `[P]`, overwritten with the sum; may be `base` itself.
    """
    if base.ctypes.data == out.ctypes.data:  # told apart here, or the compiler must expect any overlap
        _over_blocks(_add_in_place, out.size, scales, elements, out)
    else:
        _over_blocks(_add, out.size, scales, elements, base, out)


@njit(cache=True, nogil=True)
def first_noncanonical(scales: np.ndarray, elements: np.ndarray) -> int:
    """Finds the first block that `encode` never writes for finite input.

    A block is canonical when its code is not `NAN_CODE`, no element is -128, and, unless the code is 0, some
    element's magnitude is at least 64 (otherwise a smaller scale would have been chosen). Over canonical
    blocks `decode` is one to one: a delta has one encoding, and nobody can show it under a second digest.

    Args:
      scales: uint8 `[B]`.
      elements: int8 `[P]`.

    Returns:
      The index of the block, or -1 when all are canonical.
    """
    for block in range(scales.size):
        start, stop = _bounds(block, elements.size)
        peak = np.int32(0)
        for i in range(start, stop):
            peak = max(peak, np.int32(abs(np.int32(elements[i]))))
        code = scales[block]
        if code == NAN_CODE or peak > _HIGHEST or (code > 0 and peak < 64):
            return block
    return -1


@njit(inline="always")
def _bounds(block: int, size: int) -> tuple[np.uint64, np.uint64]:
    """Returns where a block starts and stops; the last may be short.

    Unsigned, as all loop indices here: Numba tests signed ones for wraparound and then vectorizes nothing.
    """
    start = np.uint64(block) * np.uint64(BLOCK)
    return start, min(start + np.uint64(BLOCK), np.uint64(size))


@njit(cache=True, nogil=True, error_model="numpy")
def _encode(x: np.ndarray, scales: np.ndarray, elements: np.ndarray, first: int, last: int) -> None:
    bits = x.view(np.int32)  # magnitudes order like their bit patterns, and an integer maximum is associative
    for block in range(first, last):
        start, stop = _bounds(block, x.size)
        peak = np.int32(0)
        for i in range(start, stop):
            peak = max(peak, np.int32(bits[i] & _MAGNITUDE))
        code = peak >> np.int32(23)  # the biased exponent; 0 for subnormals, as E8M0 goes no lower
        scales[block] = code
        step = _STEPS[code]
        for i in range(start, stop):
            rounded = np.int32(np.rint(x[i] / step))
            elements[i] = np.int8(max(min(rounded, _HIGHEST), _LOWEST))
        if code == NAN_CODE:
            elements[start:stop] = 0


@njit(cache=True, nogil=True)
def _decode(scales: np.ndarray, elements: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    for block in range(first, last):
        start, stop = _bounds(block, out.size)
        step = _STEPS[scales[block]]
        for i in range(start, stop):
            out[i] = np.float32(elements[i]) * step


@njit(cache=True, nogil=True)
def _add(
    scales: np.ndarray, elements: np.ndarray, base: np.ndarray, out: np.ndarray, first: int, last: int
) -> None:
    for block in range(first, last):
        _add_block(scales, elements, base, out, block)


@njit(cache=True, nogil=True)
def _add_in_place(scales: np.ndarray, elements: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    for block in range(first, last):
        _add_block(scales, elements, out, out, block)


@njit(inline="always")
def _add_block(
    scales: np.ndarray, elements: np.ndarray, base: np.ndarray, out: np.ndarray, block: int
) -> None:
    start, stop = _bounds(block, out.size)
    step = _STEPS[scales[block]]
    for i in range(start, stop):
        total = base[i] + np.float32(elements[i]) * step
        out[i] = base[i] if elements[i] == 0 else total


def _over_blocks(kernel: Callable[..., None], size: int, *arrays: np.ndarray) -> None:
    """Runs `kernel` over all blocks of `size` values, on several threads where that pays.

    Threads that last for one call, not OpenMP's: those spin while they wait, which on a busy host costs more
    than the work itself, and they do not survive a fork.
    """
    blocks = block_count(size)
    if size < PARALLEL_FROM:
        kernel(*arrays, 0, blocks)
        return
    workers = min(os.cpu_count() or 1, MAX_THREADS)
    bounds = [blocks * i // workers for i in range(workers + 1)]
    with ThreadPoolExecutor(workers) as pool:
        parts = [pool.submit(kernel, *arrays, first, last) for first, last in pairwise(bounds)]
    for part in parts:
        part.result()
