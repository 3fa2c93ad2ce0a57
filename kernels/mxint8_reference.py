"""MXINT8 in plain NumPy: what `mxint8` must compute, written for reading rather than speed.

Same names, signatures and, for finite input, bits. Quotients are taken in float64, where nothing here over-
or underflows, so that each line can be checked against the equations in `mxint8`.
"""

from __future__ import annotations

import numpy as np

from relayjax.kernels.mxint8 import BLOCK, NAN_CODE, block_count


def encode(x: np.ndarray, scales: np.ndarray, elements: np.ndarray) -> None:
    """Encodes a vector; see `mxint8.encode`."""
    blocks = _pad(x.astype(np.float64))
    peaks = np.abs(blocks).max(axis=1)
    finite = np.isfinite(peaks)
    _, exponents = np.frexp(np.where(finite, peaks, 0))  # peak = fraction · 2^exponent, fraction in [0.5, 1)
    codes = np.where(peaks == 0, 0, np.clip(exponents - 1, -127, 127) + 127)
    scales[:] = np.where(finite, codes, NAN_CODE)
    quotients = np.ldexp(np.where(finite[:, None], blocks, 0), 133 - codes[:, None])
    elements[:] = np.clip(np.rint(quotients), -127, 127).ravel()[: x.size]


def decode(scales: np.ndarray, elements: np.ndarray, out: np.ndarray) -> None:
    """Decodes a vector; see `mxint8.decode`."""
    exponents = scales.astype(np.int32)[:, None] - 133
    out[:] = np.ldexp(_pad(elements.astype(np.float64)), exponents).ravel()[: out.size]


def add(scales: np.ndarray, elements: np.ndarray, base: np.ndarray, out: np.ndarray) -> None:
    """Writes `base + decode(scales, elements)`; see `mxint8.add`."""
    delta = np.empty_like(base)
    decode(scales, elements, delta)
    with np.errstate(over="ignore"):
        out[:] = np.where(elements == 0, base, base + delta)


def first_noncanonical(scales: np.ndarray, elements: np.ndarray, size: int) -> int:
    """Finds the first block that `encode` never writes; see `mxint8.first_noncanonical`."""
    peaks = np.abs(_pad(elements[:size].astype(np.int32))).max(axis=1)
    wrong = (scales == NAN_CODE) | (peaks > 127) | ((scales > 0) & (peaks < 64))
    return int(np.argmax(wrong)) if wrong.any() else -1


def _pad(values: np.ndarray) -> np.ndarray:
    """Returns the values as rows of one block each, the last filled up with zeros: `[B, 32]`."""
    padded = np.zeros(block_count(values.size) * BLOCK, values.dtype)
    padded[: values.size] = values
    return padded.reshape(-1, BLOCK)
