"""Plain NumPy twins of the functions in `bits`: same names, signatures and bits, written for reading."""

from __future__ import annotations

import numpy as np


def first_nonfinite(x: np.ndarray) -> int:
    """Finds the first NaN or infinity; see `bits.first_nonfinite`."""
    wrong = ~np.isfinite(x)
    return int(np.argmax(wrong)) if wrong.any() else -1


def split_difference(old: np.ndarray, new: np.ndarray, planes: np.ndarray) -> None:
    """Writes the zigzag difference of bit patterns as byte planes; see `bits.split_difference`."""
    difference = new.view(np.int32) - old.view(np.int32)
    folded = ((difference << 1) ^ (difference >> 31)).view(np.uint32)
    for k in range(4):
        planes[k] = folded >> (8 * k) & 0xFF


def join_difference(planes: np.ndarray, old: np.ndarray, new: np.ndarray) -> None:
    """Undoes `split_difference`; see `bits.join_difference`."""
    folded = sum(planes[k].astype(np.uint32) << 8 * k for k in range(4))
    difference = (folded >> 1) ^ -(folded & 1)
    new[:] = (old.view(np.uint32) + difference).view(np.float32)
