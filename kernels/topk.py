"""The k largest magnitudes of a vector, exactly, and their places as bytes.

`select` takes the k values of largest magnitude; between equal ones the lower index goes first, zeros are
never taken. The result depends on the vector alone; how it is found does not show:

1. a sample of the vector gives a magnitude that a few more than k values should reach;
2. one pass collects those, comparing 64 values at once;
3. a partition of these few finds the k-th magnitude.

If the sample misled (fewer than k were found, or too many for their buffer), two histograms over the whole
vector, of the upper and the lower 16 bits, find the k-th magnitude in its place.

Places are stored as gaps: the first index, then each index minus the one before minus 1. A gap is written as
a varint (unsigned LEB128): seven bits a byte, lowest first, the top bit set on all bytes but the last, and no
byte more than needed. At one value in a hundred that is 1.3 bytes a value.

Every public function here has a twin of the same name and signature in `topk_reference`, with the same
results.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from relayjax.kernels import vectors
from relayjax.kernels.threads import run_ranges, workers
from relayjax.kernels.vectors import I32, Builder, Value, fill

SAMPLE_FROM = 1 << 14  # values; fewer are counted as they are
_RUNS, _RUN = 1 << 14, 16  # places to sample at most, and values at each: one cache line
_MAGNITUDE = np.int32(0x7FFFFFFF)  # all bits of a float32 but its sign
_GROUP = 64  # values compared at once
_AHEAD = 4096  # values from the ones compared to the ones asked of memory
_MORE, _PAYLOAD = np.uint8(0x80), np.uint8(0x7F)  # of a varint's byte


def select(x: np.ndarray, k: int, indices: np.ndarray, values: np.ndarray) -> int:
    """Finds the k values of largest magnitude. NaN counts as larger than infinity, so any is among them.

    Args:
      x: float32 `[P]`, contiguous.
      k: how many, 1 to P.
      indices: int64 `[k]`, its first `count` overwritten with ascending indices into `x`.
      values: float32 `[k]`, its first `count` overwritten with the values there.

    Returns:
      `count`: k, or the number of values that are not zero if that is smaller.
    """
    if x.size >= SAMPLE_FROM:
        found = _candidates(x, k)
        if found is not None and found[0].size >= k:
            places, patterns = found
            magnitudes = patterns & _MAGNITUDE
            bound = np.partition(magnitudes, magnitudes.size - k)[magnitudes.size - k]
            return _take(places, patterns, bound, k, indices, values)
    bound = _kth_magnitude(x, k)
    return _take_from_all(x, bound, k, indices, values)


@njit(cache=True, nogil=True)
def write_gaps(indices: np.ndarray, out: np.ndarray) -> int:
    """Writes ascending indices as varints of their gaps.

    Args:
      indices: int64 `[K]`, ascending, not negative.
      out: uint8, at least `gaps_bound(K, P)` long for indices below P.

    Returns:
      The number of bytes written.
    """
    length = np.uint64(0)
    expected = np.int64(0)
    for j in range(np.uint64(indices.size)):
        gap = np.uint64(indices[j] - expected)
        while gap >= np.uint64(_MORE):
            out[length] = np.uint8(gap & np.uint64(_PAYLOAD)) | _MORE
            gap >>= np.uint64(7)
            length += np.uint64(1)
        out[length] = np.uint8(gap)
        length += np.uint64(1)
        expected = indices[j] + 1
    return int(np.int64(length))


def gaps_bound(count: int, size: int) -> int:
    """Returns the most bytes that the gaps of `count` indices below `size` can take.

    Gaps add up to less than `size`, so at most size / 2^7 of them need a second byte, size / 2^14 a third …
    """
    return count + sum(min(count, size >> bits) for bits in range(7, 64, 7))


@njit(cache=True, nogil=True)
def first_malformed(gaps: np.ndarray, count: int, size: int) -> int:
    """Finds the first index that `write_gaps` would not have written so.

    Args:
      gaps: uint8, whatever a peer sent.
      count: K, how many indices it should hold.
      size: P, what every index must be below.

    Returns:
      Its number, `count` if all are right but bytes follow, or -1 when the bytes are right.
    """
    place, length = np.uint64(0), np.uint64(gaps.size)
    left = np.uint64(size)  # values that further indices could point to
    for j in range(count):
        gap, shift = np.uint64(0), np.uint64(0)
        while True:
            if place == length or shift > 56:
                return j
            byte = gaps[place]
            place += np.uint64(1)
            gap |= np.uint64(byte & _PAYLOAD) << shift
            shift += np.uint64(7)
            if byte < _MORE:
                break
        if (byte == 0 and shift > 7) or gap >= left:
            return j
        left -= gap + np.uint64(1)
    return -1 if place == length else count


@njit(cache=True, nogil=True)
def scatter_add(gaps: np.ndarray, values: np.ndarray, out: np.ndarray) -> int:
    """Adds values at the places that gaps give.

    Args:
      gaps: uint8, in which `first_malformed` found nothing wrong for K indices below P.
      values: float32 `[K]`.
      out: float32 `[P]`, changed in place.

    Returns:
      The first place where the sum is not finite, or -1.
    """
    bits = out.view(np.int32)
    place, index = np.uint64(0), np.uint64(0)
    wrong = np.int64(-1)
    for j in range(np.uint64(values.size)):
        byte = gaps[place]
        place += np.uint64(1)
        gap = np.uint64(byte & _PAYLOAD)
        shift = np.uint64(7)
        while byte >= _MORE:
            byte = gaps[place]
            place += np.uint64(1)
            gap |= np.uint64(byte & _PAYLOAD) << shift
            shift += np.uint64(7)
        index += gap
        out[index] += values[j]
        if wrong < 0 and bits[index] & _MAGNITUDE >= np.int32(0x7F800000):
            wrong = np.int64(index)
        index += np.uint64(1)
    return int(wrong)


def _define_reaches(_typing, bits, start, bound):
    """Returns 64 bits, one a value: does its magnitude reach the bound?"""

    def generate(context: Any, b: Builder, signature: Any, values: Any) -> Value:
        source = vectors.Array(context, b, signature.args[0], values[0], values[1])
        for line in range(0, _GROUP, 16):
            source.prefetch(_AHEAD + line, 2)
        magnitudes = b.and_(source.load(0, I32, _GROUP), fill(I32, vectors.MAGNITUDE, _GROUP))
        reached = b.icmp_signed(">=", magnitudes, vectors.spread(b, values[2], _GROUP))
        return b.bitcast(reached, vectors.I64)

    return types.uint64(bits, start, bound), generate


def _define_lowest(_typing, mask):
    """Returns the position of the lowest set bit."""

    def generate(_context: Any, b: Builder, _signature: Any, values: Any) -> Value:
        return b.cttz(values[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


_reaches: Any = intrinsic(_define_reaches)
_lowest: Any = intrinsic(_define_lowest)


def _candidates(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns indices, int64, and bit patterns, int32, of all values that reach a sampled magnitude, in
    order.

    None if there are too many of them.
    """
    sample = np.empty(min(_RUNS, x.size // (4 * _RUN)) * _RUN, np.int32)
    _sample(x.view(np.int32), sample)
    expected = k / x.size * sample.size
    # Neighbours are alike, so the number in the sample varies more than that of independent draws.
    wanted = math.ceil(expected + 8 * math.sqrt(expected) + 8)
    if wanted > sample.size // 2:
        return None
    bound = max(np.partition(sample, sample.size - wanted)[sample.size - wanted], np.int32(1))
    room = 2 * math.ceil(wanted / sample.size * x.size) + _GROUP
    bits = x.view(np.int32)

    def collect(first: int, last: int) -> tuple[np.ndarray, np.ndarray] | None:
        places, patterns = np.empty(room, np.int64), np.empty(room, np.int32)
        count = _collect(bits, bound, first, last, places, patterns)
        return None if count < 0 else (places[:count], patterns[:count])

    parts = [part for part in run_ranges(collect, x.size, workers(x.size)) if part is not None]
    if len(parts) < workers(x.size):
        return None
    places, patterns = zip(*parts, strict=True)
    return np.concatenate(places), np.concatenate(patterns)


@njit(cache=True, nogil=True)
def _sample(bits: np.ndarray, sample: np.ndarray) -> None:
    """Fills `sample` with magnitudes of short runs, spread so that no period of the vector is met again."""
    turn = np.uint64(0)
    last = np.float64(bits.size - _RUN)
    for run in range(sample.size // _RUN):
        turn += np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio; sums wrap around
        start = np.int64(np.float64(turn >> np.uint64(11)) * 2.0**-53 * last)
        for i in range(_RUN):
            sample[run * _RUN + i] = bits[start + i] & _MAGNITUDE


@njit(cache=True, nogil=True)
def _collect(
    bits: np.ndarray, bound: int, first: int, last: int, places: np.ndarray, patterns: np.ndarray
) -> int:
    """Collects all values from `first` to `last` whose magnitude reaches `bound`; -1 if there is no room."""
    count, room = np.uint64(0), np.uint64(places.size)
    start, stop = np.uint64(first), np.uint64(last)
    while start + np.uint64(_GROUP) <= stop:
        mask = _reaches(bits, start, np.int32(bound))
        if count + np.uint64(_GROUP) > room:
            return -1
        while mask != 0:
            i = start + _lowest(mask)
            places[count] = i
            patterns[count] = bits[i]
            count += np.uint64(1)
            mask &= mask - np.uint64(1)
        start += np.uint64(_GROUP)
    if count + np.uint64(_GROUP) > room:
        return -1
    for i in range(start, stop):
        if bits[i] & _MAGNITUDE >= bound:
            places[count] = i
            patterns[count] = bits[i]
            count += np.uint64(1)
    return int(np.int64(count))


@njit(cache=True, nogil=True)
def _take(
    places: np.ndarray, patterns: np.ndarray, bound: int, k: int, indices: np.ndarray, values: np.ndarray
) -> int:
    """Copies the candidates above `bound`, and as many at `bound`, from the front, as make k."""
    above = 0
    for pattern in patterns:
        above += np.int64(pattern & _MAGNITUDE > bound)
    ties, count = k - above, np.uint64(0)
    bits = values.view(np.int32)
    for j in range(np.uint64(places.size)):
        magnitude = patterns[j] & _MAGNITUDE
        if magnitude > bound or (magnitude == bound and ties > 0):
            ties -= np.int64(magnitude == bound)
            indices[count] = places[j]
            bits[count] = patterns[j]
            count += np.uint64(1)
    return int(np.int64(count))


@njit(cache=True, nogil=True)
def _kth_magnitude(x: np.ndarray, k: int) -> int:
    """Returns the k-th largest magnitude as a bit pattern, from histograms of its two halves."""
    bits = x.view(np.int32)
    upper = np.zeros(1 << 15, np.int64)
    for i in range(np.uint64(bits.size)):
        upper[(bits[i] & _MAGNITUDE) >> np.int32(16)] += 1
    high, left = _bin_of(upper, k)
    lower = np.zeros(1 << 16, np.int64)
    for i in range(np.uint64(bits.size)):
        if (bits[i] & _MAGNITUDE) >> np.int32(16) == high:
            lower[bits[i] & np.int32(0xFFFF)] += 1
    low, _ = _bin_of(lower, left)
    return (high << 16) + low


@njit(cache=True, nogil=True)
def _bin_of(histogram: np.ndarray, k: int) -> tuple[int, int]:
    """Returns the bin that holds the k-th largest, and which one from above it is in there."""
    for place in range(histogram.size - 1, 0, -1):
        if histogram[place] >= k:
            return place, k
        k -= histogram[place]
    return 0, k


@njit(cache=True, nogil=True)
def _take_from_all(x: np.ndarray, bound: int, k: int, indices: np.ndarray, values: np.ndarray) -> int:
    """As `_take`, with the whole vector as candidates and without zeros."""
    bits = x.view(np.int32)
    above = 0
    for i in range(np.uint64(bits.size)):
        above += np.int64(bits[i] & _MAGNITUDE > bound)
    ties, count = k - above if bound > 0 else 0, np.uint64(0)
    for i in range(np.uint64(bits.size)):
        magnitude = bits[i] & _MAGNITUDE
        if magnitude > bound or (magnitude == bound and ties > 0):
            ties -= np.int64(magnitude == bound)
            indices[count] = i
            values[count] = x[i]
            count += np.uint64(1)
    return int(np.int64(count))
