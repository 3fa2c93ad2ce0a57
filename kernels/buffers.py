"""Memory for kernels that start on a cache line.

A vector register holds a whole cache line where there is AVX-512: from an array that starts within one, each
load touches two lines, and no store can go past the caches. NumPy's large arrays start 16 bytes into a line;
those of JAX at its beginning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

LINE = 64  # bytes of a cache line, of most machines


def empty(size: int, dtype: DTypeLike = np.uint8) -> np.ndarray:
    """Returns an array `[size]` whose address `LINE` divides, uninitialised."""
    width = size * np.dtype(dtype).itemsize
    memory = np.empty(width + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + width].view(dtype)
