"""MXFP4: blocks of 32 float32 values as 4-bit floats (E2M1) under one shared power-of-two scale.

A vector `[P]` is cut into `B = ceil(P / 32)` blocks; the last one is read as if padded with zeros. For a
block with the largest magnitude `m`, its scale code `c` (E8M0: a biased exponent) and elements `v` are

    c = max(floor(log2 m) - 2, -127) + 127          c = 0 for a block of zeros
    v = the value of {0, 0.5, 1, 1.5, 2, 3, 4, 6}, with a sign, nearest to x / 2^(c - 127)
    x ≈ v · 2^(c - 127)

A quotient halfway between two values goes to the one whose last bit is 0; above 5 it becomes 6, the largest.
An element is stored as sign · 8 + the position of its magnitude in the list above; what rounds to zero is
stored as +0, code 0, and code 8 is never written. Two elements share a byte, the first in its lower half; if
P is odd, the upper half of the last byte is 0.

`v · 2^(c - 127)` has two significant bits and a magnitude of at least 2^-128 or zero: a float32 exactly.

Every function here has a twin of the same name and signature in `mxfp4_reference`, bit-identical on finite
input.

References:
  OCP Microscaling Formats (MX) Specification v1.0: sections 5.3.3 (FP4 E2M1), 5.4.1 (E8M0) and 6.3
  (conversion from a vector of scalars).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from relayjax.kernels import vectors
from relayjax.kernels.buffers import LINE
from relayjax.kernels.rows import adder, decoder
from relayjax.kernels.threads import over_blocks, streams
from relayjax.kernels.vectors import F32, I8, I16, I32, I64, Builder, Value, fill

BLOCK = 32  # values that share a scale
NAN_CODE = 255  # E8M0's NaN: marks a block that held NaN or infinity
HIGHEST_CODE = 252  # of a finite block: 2^127 has the exponent 127, and 127 - 2 + 127 = 252
ELEMENT = np.uint8  # how elements are stored: two of them in one

_HALVES = np.ldexp(
    np.float32(1), np.arange(256) - 128
)  # float32[256]: what half a unit is worth, by scale code
_TILE = vectors.TILE
_WIDTH = _TILE * BLOCK  # values in a tile
_FAR, _NEAR = 4096, 1024  # values from the one worked on to those asked of memory, and of the level 2 cache


def block_count(size: int) -> int:
    """Returns B, the number of blocks (and of scale codes) of a vector of `size` values."""
    return -(-size // BLOCK)


def element_count(size: int) -> int:
    """Returns how many `ELEMENT`s hold `size` values."""
    return -(-size // 2)


def encode(x: np.ndarray, scales: np.ndarray, elements: np.ndarray) -> None:
    """Encodes a vector. A block that holds NaN or infinity gets `NAN_CODE` and zero elements.

    Args:
      x: float32 `[P]`, contiguous.
      scales: uint8 `[B]`, overwritten with the scale codes.
      elements: uint8 `[ceil(P / 2)]`, overwritten with the elements.
    """
    over_blocks(_encode, x.size, BLOCK, x, scales, elements, streams(elements, x.size, LINE))


def decode(scales: np.ndarray, elements: np.ndarray, out: np.ndarray) -> None:
    """Decodes a vector. A zero element gives +0.

    Args:
      scales: uint8 `[B]`, none of them above `HIGHEST_CODE`.
      elements: uint8 `[ceil(P / 2)]`.
      out: float32 `[P]`, overwritten with the values.
    """
    over_blocks(_decode, out.size, BLOCK, scales, elements, out, streams(out, out.size))


def add(scales: np.ndarray, elements: np.ndarray, base: np.ndarray, out: np.ndarray) -> None:
    """Writes `base + decode(scales, elements)` in one pass; a zero element leaves the bits of `base`.

    Args:
      scales: uint8 `[B]`, none of them above `HIGHEST_CODE`.
      elements: uint8 `[ceil(P / 2)]`.
      base: float32 `[P]`.
      out: float32 `[P]`, overwritten with the sum; may be `base` itself.
    """
    apart = base.ctypes.data != out.ctypes.data  # in place, the line is in the cache and may stay there
    stream = apart and streams(out, out.size)
    over_blocks(_add, out.size, BLOCK, scales, elements, base, out, stream)


@njit(cache=True, nogil=True)
def first_noncanonical(scales: np.ndarray, elements: np.ndarray, size: int) -> int:
    """Finds the first block that `encode` never writes for finite input.

    A block is canonical when its code is at most `HIGHEST_CODE`, no element is -0, the unused half of the
    last byte is 0, and, unless the code is 0, some element's magnitude is at least 4 (otherwise a smaller
    scale would have been chosen). Over canonical blocks `decode` is one to one.

    Args:
      scales: uint8 `[B]`.
      elements: uint8 `[ceil(P / 2)]`.
      size: P.

    Returns:
      The index of the block, or -1 when all are canonical.
    """
    for block in range(scales.size):
        start = np.uint64(block) * np.uint64(BLOCK // 2)
        stop = min(start + np.uint64(BLOCK // 2), np.uint64(elements.size))
        peak, negative_zeros = np.uint8(0), np.uint8(0)
        for i in range(start, stop):
            low, high = np.uint8(elements[i] & np.uint8(15)), np.uint8(elements[i] >> np.uint8(4))
            peak = max(peak, max(np.uint8(low & np.uint8(7)), np.uint8(high & np.uint8(7))))
            negative_zeros |= np.uint8(low == 8) | np.uint8(high == 8)
        code = scales[block]
        if code > HIGHEST_CODE or negative_zeros != 0 or (code > 0 and peak < 6):
            return block
    if size % 2 == 1 and elements[size // 2] >> np.uint8(4) != 0:
        return scales.size - 1
    return -1


def _vector(kind: Any, count: int) -> Any:
    return ir.VectorType(kind, count)


def _tile_encoder(stream: bool) -> Any:
    """Makes the intrinsic `(x, start, scales, block, elements, place)` that encodes 16 whole blocks.

    It returns the blocks that hold NaN or infinity as bits of a mask; their codes and elements mean nothing
    yet.

    Args:
      stream: write elements past the caches; their array must then start on a cache line.
    """

    def generate(context: Any, b: Builder, signature: Any, values: Any) -> Value:
        kinds = signature.args
        source = vectors.Array(context, b, kinds[0], values[0], values[1])
        peaks = vectors.tile_peaks(b, source)
        codes = b.sub(b.lshr(peaks, fill(I32, 23, _TILE)), fill(I32, 2, _TILE))
        codes = vectors.at_least(b, codes, fill(I32, 0, _TILE))
        vectors.Array(context, b, kinds[2], values[2], values[3]).store(0, b.trunc(codes, _vector(I8, _TILE)))
        inverses = b.shl(b.sub(fill(I32, 254, _TILE), codes), fill(I32, 23, _TILE))
        kept = vectors.keep(b, b.bitcast(inverses, _vector(F32, _TILE)))
        target = vectors.Array(context, b, kinds[4], values[4], values[5])
        halves: list[tuple[Value, Value]] = []
        for row in range(_TILE):
            inverse = vectors.lane(b, kept, row, 16)
            for offset in (BLOCK * row, BLOCK * row + 16):
                source.prefetch(offset + _FAR, 2)
                source.prefetch(offset + _NEAR, 1)
                halves.append(_nearest(b, source.load(offset, F32, 16), inverse))
            if row % 4 == 3:  # a whole cache line: what is streamed in parts waits for its other parts
                target.store(BLOCK // 2 * (row - 3), _line(b, halves[-8:]), LINE * stream)
        wrong = b.icmp_unsigned(">=", peaks, fill(I32, 0x7F800000, _TILE))
        return b.zext(b.bitcast(wrong, ir.IntType(_TILE)), I32)

    @intrinsic
    def encode_tile(_typing, x, start, scales, block, elements, place):
        return types.uint32(x, start, scales, block, elements, place), generate

    return encode_tile


def _nearest(b: Builder, x: Value, inverse: Value) -> tuple[Value, Value]:
    """Rounds x · inverse, magnitudes below 8, to elements.

    Between 2^e and 2^(e+1), e ≥ 0, elements are 2^(e-1) apart, below 1 as from 1 to 2. Adding 1.5 · 2^(e+22),
    whose last bit is worth just that, leaves the number of such units in the last bits, rounded half to even.

    Returns:
      Two int32 `<16>`: the lowest byte of the first is the number of units, -4 to 4; the second is the biased
      exponent, 127 + e, where a float32 has it.
    """
    y = b.fmul(x, inverse)
    exponent = b.and_(b.bitcast(y, _vector(I32, 16)), fill(I32, 0x7F800000, 16))
    exponent = vectors.at_least(b, exponent, fill(I32, 127 << 23, 16))
    shift = b.add(exponent, fill(I32, (22 << 23) + (1 << 22), 16))
    return b.bitcast(b.fadd(y, b.bitcast(shift, _vector(F32, 16))), _vector(I32, 16)), exponent


def _line(b: Builder, halves: list[tuple[Value, Value]]) -> Value:
    """Packs what `_nearest` gives of 8 × 16 values into bytes `<64>`."""
    first, second = (b.bitcast(_codes(b, halves[i : i + 4]), _vector(I64, 8)) for i in (0, 4))
    # Neighbours are the halves of a 64-bit lane: four bytes of two codes each are left in the lower one.
    first, second = (b.or_(codes, b.lshr(codes, fill(I64, 28, 8))) for codes in (first, second))
    both = b.or_(b.and_(first, fill(I64, 0xFFFFFFFF, 8)), b.shl(second, fill(I64, 32, 8)))
    line = b.bitcast(both, _vector(I8, 64))
    return vectors.shuffle(
        b, line, line, [8 * lane + byte for byte in (0, 2, 1, 3, 4, 6, 5, 7) for lane in range(8)]
    )


def _codes(b: Builder, halves: list[tuple[Value, Value]]) -> Value:
    """Returns the codes of 4 × 16 values, int32 `<16>`: the bytes of lane i are those of value i of each."""
    pairs = [vectors.woven(b, halves[i][0], halves[i + 1][0]) for i in (0, 2)]
    signed = b.bitcast(
        vectors.woven(b, *(b.bitcast(pair, _vector(I16, 32)) for pair in pairs)), _vector(I32, 16)
    )
    exponents = b.shl(halves[3][1], fill(I32, 1, 16))
    for (_, exponent), right in zip(halves, (23, 7, 15), strict=False):
        exponents = b.or_(exponents, b.lshr(exponent, fill(I32, right, 16)))
    units, exponents = (b.bitcast(each, _vector(I8, 64)) for each in (signed, exponents))
    # Two codes an exponent. What rounds to 8 becomes 6, the largest.
    e = b.sub(exponents, fill(I8, 127, 64))
    magnitude = vectors.at_least(b, units, b.sub(fill(I8, 0, 64), units))
    magnitude = vectors.at_most(b, b.add(magnitude, b.add(e, e)), fill(I8, 7, 64))
    sign = b.and_(b.lshr(signed, fill(I32, 4, 16)), fill(I32, 0x08080808, 16))
    return b.or_(b.bitcast(magnitude, _vector(I32, 16)), sign)


def _numbers(b: Builder, packed: vectors.Array) -> Value:
    """Returns a block's elements in halves of a unit: 0, 1, 2, 3, 4, 6, 8, 12 and their negatives."""
    both = packed.load(0, I8, BLOCK // 2)
    low, high = b.and_(both, fill(I8, 15, BLOCK // 2)), b.lshr(both, fill(I8, 4, BLOCK // 2))
    order = [lane for i in range(BLOCK // 2) for lane in (i, BLOCK // 2 + i)]
    codes = vectors.shuffle(b, low, high, order)
    number = magnitude = b.and_(codes, fill(I8, 7, BLOCK))
    for above, more in ((4, 1), (5, 1), (6, 3)):
        larger = b.icmp_unsigned(">", magnitude, fill(I8, above, BLOCK))
        number = b.select(larger, b.add(number, fill(I8, more, BLOCK)), number)
    negative = b.icmp_unsigned(">", codes, fill(I8, 7, BLOCK))
    number = b.select(negative, b.sub(fill(I8, 0, BLOCK), number), number)
    return b.sitofp(b.sext(number, _vector(I32, BLOCK)), _vector(F32, BLOCK))


_encode_kept, _encode_streamed = (_tile_encoder(stream) for stream in (False, True))
_decode_kept, _decode_streamed = (decoder(_numbers, BLOCK // 2, stream) for stream in (False, True))
_add_kept, _add_streamed = (adder(_numbers, BLOCK // 2, stream) for stream in (False, True))


@njit(cache=True, nogil=True)
def _encode(
    x: np.ndarray, scales: np.ndarray, elements: np.ndarray, stream: bool, first: int, last: int
) -> None:
    block, whole = np.uint64(first), np.uint64(min(last, x.size // BLOCK))
    while block + np.uint64(_TILE) <= whole:
        start, place = block * np.uint64(BLOCK), block * np.uint64(BLOCK // 2)
        if stream:
            wrong = _encode_streamed(x, start, scales, block, elements, place)
        else:
            wrong = _encode_kept(x, start, scales, block, elements, place)
        if wrong != 0:
            _mark(wrong, scales[block:], elements[place:])
        block += np.uint64(_TILE)
    if block < last:  # fewer than 16 blocks, the last one perhaps short: padded with zeros beside the vector
        zero, start, place = np.uint64(0), block * np.uint64(BLOCK), block * np.uint64(BLOCK // 2)
        values, codes = np.zeros(_WIDTH, np.float32), np.zeros(_TILE, np.uint8)
        packed = np.zeros(_WIDTH // 2, np.uint8)
        stop = min(np.uint64(last) * np.uint64(BLOCK), np.uint64(x.size))
        values[: stop - start] = x[start:stop]
        wrong = _encode_kept(values, zero, codes, zero, packed, zero)
        if wrong != 0:
            _mark(wrong, codes, packed)
        scales[block:last] = codes[: np.uint64(last) - block]
        end = (stop + np.uint64(1)) >> np.uint64(1)
        elements[place:end] = packed[: end - place]


@njit(cache=True, nogil=True)
def _mark(wrong: int, scales: np.ndarray, elements: np.ndarray) -> None:
    """Marks the blocks of a tile whose bits are set in `wrong` as not finite."""
    for row in range(_TILE):
        if wrong >> np.uint32(row) & np.uint32(1):
            scales[row] = NAN_CODE
            elements[BLOCK // 2 * row : BLOCK // 2 * (row + 1)] = 0


@njit(cache=True, nogil=True)
def _decode(
    scales: np.ndarray, elements: np.ndarray, out: np.ndarray, stream: bool, first: int, last: int
) -> None:
    whole = np.uint64(min(last, out.size // BLOCK))
    for block in range(np.uint64(first), whole):
        if stream:
            _decode_streamed(elements, block, _HALVES[scales[block]], out)
        else:
            _decode_kept(elements, block, _HALVES[scales[block]], out)
    if whole < last:
        start, packed, values = _short_block(elements, out.size)
        _decode_kept(packed, np.uint64(0), _HALVES[scales[whole]], values)
        out[start:] = values[: np.uint64(out.size) - start]


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
        if stream:
            _add_streamed(elements, block, _HALVES[scales[block]], base, out)
        else:
            _add_kept(elements, block, _HALVES[scales[block]], base, out)
    if whole < last:
        start, packed, values = _short_block(elements, out.size)
        values[: np.uint64(out.size) - start] = base[start:]
        _add_kept(packed, np.uint64(0), _HALVES[scales[whole]], values, values)
        out[start:] = values[: np.uint64(out.size) - start]


@njit(cache=True, nogil=True)
def _short_block(elements: np.ndarray, size: int) -> tuple[np.uint64, np.ndarray, np.ndarray]:
    """Returns where the last, short block starts, its elements padded with zeros, and room for its values."""
    block = np.uint64(size // BLOCK)
    packed, values = np.zeros(BLOCK // 2, np.uint8), np.zeros(BLOCK, np.float32)
    place = block * np.uint64(BLOCK // 2)
    packed[: np.uint64(elements.size) - place] = elements[place:]
    return block * np.uint64(BLOCK), packed, values
