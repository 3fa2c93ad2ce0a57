"""One bit a value: the signs of a block of 256 float32 values under one shared power-of-two scale.

A vector `[P]` is cut into `B = ceil(P / 256)` blocks; the last one may be short. A value's bit is 1 if its
sign bit is set, and it is read back as +s or -s. Of all powers of two, `s` is the one with the smallest sum
of `(|x| - s)^2` over the block, up to rounding: it replaces a mean between 0.75 s and 1.5 s. To be the same
everywhere it comes from integers. With `n` values in the block, `E` the largest biased exponent in it (at
least 1), `f` a value's significand (24 bits, the hidden one included) and `e` its biased exponent (at least
1),

    t = sum of floor(f / 2^(2 + E - e))             the mean is t / n · 2^(E - 148), rounded down
    k = floor(log2 max(floor(4 t / 3 n), 1))
    c = min(k + E - 21, 254), or 0 if that is below 1        s = 2^(c - 127)

The scale code `c` is E8M0, except that 0 stands for a block of zeros: what is too small for a code becomes
+0, and so do its bits. `4 t` needs 32 bits, so every step is exact.

Values of a block whose magnitudes differ much come back far from themselves, zeros among them as ±s: this
format is for whoever adds what was lost to the next vector.

Every function here has a twin of the same name and signature in `sign_reference`, bit-identical on finite
input.

References:
  Seide et al., *1-Bit Stochastic Gradient Descent*, Interspeech 2014; Karimireddy et al., *Error Feedback
  Fixes SignSGD*, ICML 2019. OCP Microscaling Formats (MX) Specification v1.0, section 5.4.1 (E8M0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from relayjax.kernels import vectors
from relayjax.kernels.rows import ROW, adder, decoder
from relayjax.kernels.threads import over_blocks, streams
from relayjax.kernels.vectors import F32, I32, Builder, Value, fill

BLOCK = 256  # values that share a scale
NAN_CODE = 255  # E8M0's NaN: marks a block that held NaN or infinity
ELEMENT = np.uint8  # how elements are stored: eight of them in one, the first in the lowest bit

_SCALES = np.where(
    np.arange(256) > 0, np.ldexp(np.float32(1), np.minimum(np.arange(256), 254) - 127), 0
).astype(np.float32)
_MAGNITUDE, _MANTISSA, _HIDDEN = np.int32(0x7FFFFFFF), np.int32(0x7FFFFF), np.int32(0x800000)
_ROWS, _BYTES = np.uint64(BLOCK // ROW), ROW // 8  # rows in a block, bytes in a row


def block_count(size: int) -> int:
    """Returns B, the number of blocks (and of scale codes) of a vector of `size` values."""
    return -(-size // BLOCK)


def element_count(size: int) -> int:
    """Returns how many `ELEMENT`s hold `size` values."""
    return -(-size // 8)


def encode(x: np.ndarray, scales: np.ndarray, elements: np.ndarray) -> None:
    """Encodes a vector. A block that holds NaN or infinity gets `NAN_CODE` and zero bits.

    Args:
      x: float32 `[P]`, contiguous.
      scales: uint8 `[B]`, overwritten with the scale codes.
      elements: uint8 `[ceil(P / 8)]`, overwritten with the bits.
    """
    over_blocks(_encode, x.size, BLOCK, x, scales, elements)


def decode(scales: np.ndarray, elements: np.ndarray, out: np.ndarray) -> None:
    """Decodes a vector.

    Args:
      scales: uint8 `[B]`, none of them `NAN_CODE`.
      elements: uint8 `[ceil(P / 8)]`, zero where the code is 0.
      out: float32 `[P]`, overwritten with the values.
    """
    over_blocks(_decode, out.size, BLOCK, scales, elements, out, streams(out, out.size))


def add(scales: np.ndarray, elements: np.ndarray, base: np.ndarray, out: np.ndarray) -> None:
    """Writes `base + decode(scales, elements)` in one pass; a block of zeros leaves the bits of `base`.

    Args:
      scales: uint8 `[B]`, none of them `NAN_CODE`.
      elements: uint8 `[ceil(P / 8)]`, zero where the code is 0.
      base: float32 `[P]`.
      out: float32 `[P]`, overwritten with the sum; may be `base` itself.
    """
    apart = base.ctypes.data != out.ctypes.data  # in place, the line is in the cache and may stay there
    stream = apart and streams(out, out.size)
    over_blocks(_add, out.size, BLOCK, scales, elements, base, out, stream)


@njit(cache=True, nogil=True)
def first_noncanonical(scales: np.ndarray, elements: np.ndarray, size: int) -> int:
    """Finds the first block that `encode` never writes for finite input.

    A block is canonical when its code is not `NAN_CODE` and no bit is set that stands for no value or, if the
    code is 0, for zero. Over canonical blocks `decode` is one to one.

    Args:
      scales: uint8 `[B]`.
      elements: uint8 `[ceil(P / 8)]`.
      size: P.

    Returns:
      The index of the block, or -1 when all are canonical.
    """
    for block in range(scales.size):
        code = scales[block]
        if code == NAN_CODE:
            return block
        if code == 0:
            start = block * (BLOCK // 8)
            for i in range(start, min(start + BLOCK // 8, elements.size)):
                if elements[i] != 0:
                    return block
    if size % 8 > 0 and elements[size // 8] >> np.uint8(size % 8) != 0:
        return scales.size - 1
    return -1


def _define_pack_row(_typing, x, start, elements, place):
    """Packs the sign bits of 32 values."""

    def generate(context: Any, b: Builder, signature: Any, values: Any) -> Value:
        kinds = signature.args
        row = vectors.Array(context, b, kinds[0], values[0], values[1]).load(0, I32, ROW)
        packed = b.bitcast(b.icmp_signed("<", row, fill(I32, 0, ROW)), ir.VectorType(vectors.I8, _BYTES))
        vectors.Array(context, b, kinds[2], values[2], values[3]).store(0, packed)
        return context.get_dummy_value()

    return types.void(x, start, elements, place), generate


_pack_row: Any = intrinsic(_define_pack_row)


def _numbers(b: Builder, packed: vectors.Array) -> Value:
    """Returns a row's elements as 1 and -1."""
    bits = b.bitcast(packed.load(0, vectors.I8, _BYTES), ir.VectorType(ir.IntType(1), ROW))
    return b.select(bits, fill(F32, -1.0, ROW), fill(F32, 1.0, ROW))


_decode_kept, _decode_streamed = (decoder(_numbers, _BYTES, stream) for stream in (False, True))
_add_kept, _add_streamed = (adder(_numbers, _BYTES, stream) for stream in (False, True))


@njit(cache=True, nogil=True)
def _scale_code(bits: np.ndarray) -> int:
    """Returns the scale code of one block's bit patterns, int32 `[n]`."""
    size = np.uint64(bits.size)  # unsigned indices: Numba tests signed ones for wraparound, and is slower
    peak = np.int32(0)
    for i in range(size):
        peak = max(peak, np.int32(bits[i] & _MAGNITUDE))
    largest = max(np.int32(peak >> np.int32(23)), np.int32(1))
    if largest == NAN_CODE:
        return NAN_CODE
    total = np.uint32(0)
    for i in range(size):
        exponent = np.int32((bits[i] & _MAGNITUDE) >> np.int32(23))
        hidden = _HIDDEN if exponent > 0 else np.int32(0)
        shift = min(np.int32(largest + np.int32(2) - max(exponent, np.int32(1))), np.int32(31))
        total = np.uint32(total + np.uint32(np.int32((bits[i] & _MANTISSA) | hidden) >> shift))
    quotient = np.int64(4) * np.int64(total) // (np.int64(3) * np.int64(size))
    code = np.int64(largest) - 21
    while quotient > 1:
        quotient >>= 1
        code += 1
    return int(min(code, 254)) if code >= 1 else 0


@njit(cache=True, nogil=True)
def _encode(x: np.ndarray, scales: np.ndarray, elements: np.ndarray, first: int, last: int) -> None:
    bits = x.view(np.int32)
    for block in range(first, last):
        start, stop = block * BLOCK, min((block + 1) * BLOCK, x.size)
        place, end = block * (BLOCK // 8), (stop + 7) // 8
        code = _scale_code(bits[start:stop])
        scales[block] = code
        if code in (0, NAN_CODE):
            elements[place:end] = 0
        elif stop - start == BLOCK:
            for row in range(_ROWS):
                values = np.uint64(start) + row * np.uint64(ROW)
                _pack_row(x, values, elements, np.uint64(place) + row * np.uint64(_BYTES))
        else:
            elements[place:end] = 0
            for i in range(start, stop):
                elements[i // 8] |= np.uint8(np.uint8(bits[i] < 0) << np.uint8(i % 8))


@njit(cache=True, nogil=True)
def _decode(
    scales: np.ndarray, elements: np.ndarray, out: np.ndarray, stream: bool, first: int, last: int
) -> None:
    whole = np.uint64(min(last, out.size // BLOCK))
    for block in range(np.uint64(first), whole):
        scale = _SCALES[scales[block]]
        for row in range(block * _ROWS, (block + np.uint64(1)) * _ROWS):
            if stream:
                _decode_streamed(elements, row, scale, out)
            else:
                _decode_kept(elements, row, scale, out)
    for block in range(whole, np.uint64(last)):
        for i in range(block * np.uint64(BLOCK), np.uint64(out.size)):
            out[i] = _value(scales, elements, np.uint64(i))


@njit(cache=True, nogil=True)
def _add(
    scales: np.ndarray,
    elements: np.ndarray,
    base: np.ndarray,
    out: np.ndarray,
    stream: bool,
    first: int,
    last: int,
) -> None:
    whole = np.uint64(min(last, out.size // BLOCK))
    for block in range(np.uint64(first), whole):
        scale = _SCALES[scales[block]]
        for row in range(block * _ROWS, (block + np.uint64(1)) * _ROWS):
            if stream:
                _add_streamed(elements, row, scale, base, out)
            else:
                _add_kept(elements, row, scale, base, out)
    for block in range(whole, np.uint64(last)):
        for i in range(block * np.uint64(BLOCK), np.uint64(out.size)):
            out[i] = base[i] if scales[block] == 0 else base[i] + _value(scales, elements, np.uint64(i))


@njit(inline="always")
def _value(scales: np.ndarray, elements: np.ndarray, i: np.uint64) -> np.float32:
    scale = np.float32(_SCALES[scales[i // np.uint64(BLOCK)]])
    negative = elements[i >> np.uint64(3)] >> np.uint8(i & np.uint64(7)) & np.uint8(1)
    return -scale if negative else scale
