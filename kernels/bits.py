"""Float32 vectors as bit patterns: finding what is not finite, and differences that compress without loss.

Neighbouring versions of a parameter differ in few low bits of their pattern. The difference of the two
patterns as integers, folded so that small negative numbers stay small (zigzag: 0, -1, 1, -2 … become 0, 1,
2, 3 …), has mostly zero upper bytes; storing all lowest bytes first, then all second ones and so on (four
*planes*) puts those zeros side by side, where a general compressor finds them.

Every function here has a twin of the same name and signature in `bits_reference`, bit-identical on all input.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_MAGNITUDE = np.int32(0x7FFFFFFF)  # all bits of a float32 but its sign
_INFINITY = np.int32(0x7F800000)  # the smallest magnitude, as bits, that is not finite
_CHUNK = np.uint64(4096)  # values tested at once, without a branch for each


@njit(cache=True, nogil=True)
def first_nonfinite(x: np.ndarray) -> int:
    """Finds the first NaN or infinity.

    Args:
      x: float32 `[P]`, contiguous.

    Returns:
      Its index, or -1 when all values are finite.
    """
    bits = x.view(np.int32)
    size = np.uint64(bits.size)  # unsigned indices: Numba tests signed ones for wraparound, and is slower
    for start in range(np.uint64(0), size, _CHUNK):
        peak = np.int32(0)
        for i in range(start, min(start + _CHUNK, size)):
            peak = max(peak, np.int32(bits[i] & _MAGNITUDE))
        if peak >= _INFINITY:
            for i in range(start, size):
                if bits[i] & _MAGNITUDE >= _INFINITY:
                    return int(np.int64(i))  # of an unsigned i, int() alone stays unsigned
    return -1


@njit(cache=True, nogil=True)
def split_difference(old: np.ndarray, new: np.ndarray, planes: np.ndarray) -> None:
    """Writes the zigzag difference of two vectors' bit patterns, modulo 2^32, as byte planes.

    Args:
      old: float32 `[P]`, contiguous.
      new: float32 `[P]`, contiguous.
      planes: uint8 `[4, P]`, overwritten; plane k holds bits 8k to 8k + 7.
    """
    old_bits, new_bits = old.view(np.int32), new.view(np.int32)
    low, second, third, high = planes[0], planes[1], planes[2], planes[3]
    for i in range(np.uint64(new_bits.size)):
        difference = np.int32(new_bits[i] - old_bits[i])
        folded = np.uint32(np.int32(difference << np.int32(1)) ^ np.int32(difference >> np.int32(31)))
        low[i] = np.uint8(folded)
        second[i] = np.uint8(folded >> np.uint32(8))
        third[i] = np.uint8(folded >> np.uint32(16))
        high[i] = np.uint8(folded >> np.uint32(24))


@njit(cache=True, nogil=True)
def join_difference(planes: np.ndarray, old: np.ndarray, new: np.ndarray) -> None:
    """Undoes `split_difference`: finds `new` again, bit for bit.

    Args:
      planes: uint8 `[4, P]`.
      old: float32 `[P]`, contiguous.
      new: float32 `[P]`, contiguous, overwritten; may be `old` itself.
    """
    old_bits, new_bits = old.view(np.int32), new.view(np.int32)
    low, second, third, high = planes[0], planes[1], planes[2], planes[3]
    for i in range(np.uint64(new_bits.size)):
        folded = np.uint32(
            np.uint32(low[i])
            | np.uint32(np.uint32(second[i]) << np.uint32(8))
            | np.uint32(np.uint32(third[i]) << np.uint32(16))
            | np.uint32(np.uint32(high[i]) << np.uint32(24))
        )
        difference = np.int32(folded >> np.uint32(1)) ^ np.int32(-np.int32(folded & np.uint32(1)))
        new_bits[i] = np.int32(old_bits[i] + np.int32(difference))
