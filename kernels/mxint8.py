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

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from relayjax.kernels import vectors
from relayjax.kernels.buffers import LINE
from relayjax.kernels.rows import adder, decoder
from relayjax.kernels.threads import over_blocks, streams
from relayjax.kernels.vectors import F32, I8, I16, I32, Builder, Value, fill

BLOCK = 32  # values that share a scale
NAN_CODE = 255  # E8M0's NaN: marks a block that held NaN or infinity
ELEMENT = np.int8  # how elements are stored

_STEPS = np.ldexp(np.float32(1), np.arange(256) - 133)  # float32[256]: one unit of an element, by scale code
_MAGNITUDE = np.int32(0x7FFFFFFF)  # all bits of a float32 but its sign
_LOWEST, _HIGHEST = np.int32(-127), np.int32(127)
_TILE = vectors.TILE
_FAR, _NEAR = 4096, 1024  # values from the one worked on to those asked of memory, and of the level 2 cache


def block_count(size: int) -> int:
    """Returns B, the number of blocks (and of scale codes) of a vector of `size` values."""
    return -(-size // BLOCK)


def element_count(size: int) -> int:
    """Returns how many `ELEMENT`s hold `size` values."""
    return size


def encode(x: np.ndarray, scales: np.ndarray, elements: np.ndarray) -> None:
    """Encodes a vector. A block that holds NaN or infinity gets `NAN_CODE` and zero elements.

    Args:
      x: float32 `[P]`, contiguous.
      scales: uint8 `[B]`, overwritten with the scale codes.
      elements: int8 `[P]`, overwritten with the elements.
    """
    over_blocks(_encode, x.size, BLOCK, x, scales, elements, streams(elements, x.size, LINE))


def decode(scales: np.ndarray, elements: np.ndarray, out: np.ndarray) -> None:
    """Decodes a vector. A zero element gives +0.

    Args:
      scales: uint8 `[B]`, none of them `NAN_CODE`.
      elements: int8 `[P]`.
      out: float32 `[P]`, overwritten with the values.
    """
    over_blocks(_decode, out.size, BLOCK, scales, elements, out, streams(out, out.size))


def add(scales: np.ndarray, elements: np.ndarray, base: np.ndarray, out: np.ndarray) -> None:
    """Writes `base + decode(scales, elements)` in one pass; a zero element leaves the bits of `base`.

    Args:
      scales: uint8 `[B]`, none of them `NAN_CODE`.
      elements: int8 `[P]`.
      base: float32 `[P]`.
      out: float32 `[P]`, overwritten with the sum; may be `base` itself.
    """
    apart = base.ctypes.data != out.ctypes.data  # in place, the line is in the cache and may stay there
    stream = apart and streams(out, out.size)
    over_blocks(_add, out.size, BLOCK, scales, elements, base, out, stream)


@njit(cache=True, nogil=True)
def first_noncanonical(scales: np.ndarray, elements: np.ndarray, size: int) -> int:
    """Finds the first block that `encode` never writes for finite input.

    A block is canonical when its code is not `NAN_CODE`, no element is -128, and, unless the code is 0, some
    element's magnitude is at least 64 (otherwise a smaller scale would have been chosen). Over canonical
    blocks `decode` is one to one: a delta has one encoding, and nobody can show it under a second digest.

    Args:
      scales: uint8 `[B]`.
      elements: int8 `[P]`.
      size: P.

    Returns:
      The index of the block, or -1 when all are canonical.
    """
    for block in range(scales.size):
        start, stop = _bounds(block, size)
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


def _tile_encoder(stream: bool) -> Any:
    """Makes the intrinsic `(x, scales, elements, block)` that encodes 16 whole blocks.

    It multiplies by 1 / step where `_encode_block` divides, which is the same for every block whose 1 / step
    is a float32; the others it returns as bits of a mask: those have to be encoded again.

    Args:
      stream: write elements past the caches; their array must then start on a cache line.
    """

    def generate(context: Any, b: Builder, signature: Any, values: Any) -> Value:
        kinds, block = signature.args, values[3]
        start = b.mul(block, ir.Constant(block.type, BLOCK))
        source = vectors.Array(context, b, kinds[0], values[0], start)
        peaks = vectors.tile_peaks(b, source)
        codes = b.lshr(peaks, fill(I32, 23, _TILE))
        vectors.Array(context, b, kinds[1], values[1], block).store(0, b.trunc(codes, _vector(I8, _TILE)))
        exponents = vectors.at_most(b, b.sub(fill(I32, 260, _TILE), codes), fill(I32, 254, _TILE))
        inverses = b.bitcast(b.shl(exponents, fill(I32, 23, _TILE)), _vector(F32, _TILE))
        kept = vectors.keep(b, inverses)
        target = vectors.Array(context, b, kinds[2], values[2], start)
        numbers: list[Value] = []
        for row in range(_TILE):
            inverse = vectors.lane(b, kept, row, 16)
            for offset in (BLOCK * row, BLOCK * row + 16):
                source.prefetch(offset + _FAR, 2)
                source.prefetch(offset + _NEAR, 1)
                # Adding 1.5 · 2^23 leaves no bits for a fraction: the hardware rounds half to even, and the
                # lower 16 bits are the number.
                shifted = b.fadd(b.fmul(source.load(offset, F32, 16), inverse), fill(F32, 12582912.0, 16))
                numbers.append(b.bitcast(shifted, _vector(I32, 16)))
            if row % 2 == 1:  # a whole cache line: what is streamed in halves waits for its other half
                target.store(BLOCK * (row - 1), _line(b, numbers[-4:]), LINE * stream)
        # Not zero and below 2^6 times the smallest normal number; not finite.
        small = b.icmp_unsigned("<", b.sub(peaks, fill(I32, 1, _TILE)), fill(I32, (6 << 23) - 1, _TILE))
        wrong = b.icmp_unsigned(">=", peaks, fill(I32, 0x7F800000, _TILE))
        return b.zext(b.bitcast(b.or_(small, wrong), ir.IntType(_TILE)), I32)

    @intrinsic
    def encode_tile(_typing, x, scales, elements, block):
        return types.uint32(x, scales, elements, block), generate

    return encode_tile


def _line(b: Builder, numbers: list[Value]) -> Value:
    """Packs the lower 16 bits of 4 × 16 int32, -128 to 128, into elements, int8 `<64>`."""
    pairs = []
    for even, odd in (numbers[:2], numbers[2:]):
        pair = b.bitcast(vectors.woven(b, even, odd), _vector(I16, 32))
        pair = vectors.at_least(b, pair, fill(I16, -127, 32))
        pairs.append(vectors.at_most(b, pair, fill(I16, 127, 32)))
    line = b.bitcast(vectors.woven(b, *pairs), _vector(I8, 64))
    return vectors.shuffle(b, line, line, [4 * lane + byte for byte in (0, 2, 1, 3) for lane in range(16)])


def _numbers(b: Builder, packed: vectors.Array) -> Value:
    return b.sitofp(b.sext(packed.load(0, I8, BLOCK), _vector(I32, BLOCK)), _vector(F32, BLOCK))


def _vector(kind: Any, count: int) -> Any:
    return ir.VectorType(kind, count)


_encode_kept, _encode_streamed = (_tile_encoder(stream) for stream in (False, True))
_decode_kept, _decode_streamed = (decoder(_numbers, BLOCK, stream) for stream in (False, True))
_add_kept, _add_streamed = (adder(_numbers, BLOCK, stream) for stream in (False, True))


@njit(cache=True, nogil=True, error_model="numpy")
def _encode(
    x: np.ndarray, scales: np.ndarray, elements: np.ndarray, stream: bool, first: int, last: int
) -> None:
    block, whole = np.uint64(first), np.uint64(min(last, x.size // BLOCK))
    while block + np.uint64(_TILE) <= whole:
        if stream:
            again = _encode_streamed(x, scales, elements, block)
        else:
            again = _encode_kept(x, scales, elements, block)
        if again != 0:
            for row in range(_TILE):
                if again >> np.uint32(row) & np.uint32(1):
                    _encode_block(x, scales, elements, int(block + np.uint64(row)))
        block += np.uint64(_TILE)
    for rest in range(block, np.uint64(last)):
        _encode_block(x, scales, elements, int(rest))


@njit(cache=True, nogil=True, error_model="numpy")
def _encode_block(x: np.ndarray, scales: np.ndarray, elements: np.ndarray, block: int) -> None:
    bits = x.view(np.int32)  # magnitudes order like their bit patterns, and an integer maximum is associative
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
def _decode(
    scales: np.ndarray, elements: np.ndarray, out: np.ndarray, stream: bool, first: int, last: int
) -> None:
    whole = np.uint64(min(last, out.size // BLOCK))
    for block in range(np.uint64(first), whole):
        if stream:
            _decode_streamed(elements, block, _STEPS[scales[block]], out)
        else:
            _decode_kept(elements, block, _STEPS[scales[block]], out)
    for block in range(whole, np.uint64(last)):
        start, stop = _bounds(block, out.size)
        for i in range(start, stop):
            out[i] = np.float32(elements[i]) * _STEPS[scales[block]]


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
            _add_streamed(elements, block, _STEPS[scales[block]], base, out)
        else:
            _add_kept(elements, block, _STEPS[scales[block]], base, out)
    for block in range(whole, np.uint64(last)):
        start, stop = _bounds(block, out.size)
        for i in range(start, stop):
            total = base[i] + np.float32(elements[i]) * _STEPS[scales[block]]
            out[i] = base[i] if elements[i] == 0 else total
