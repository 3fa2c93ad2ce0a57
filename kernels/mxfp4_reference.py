"""MXFP4 in plain NumPy: what `mxfp4` must compute, written for reading rather than speed.

Same names, signatures and, for finite input, bits. Quotients are taken in float64, where nothing here over-
or underflows, and compared with every value that an element can have.
"""

from __future__ import annotations

import numpy as np

from relayjax.kernels.mxfp4 import BLOCK, HIGHEST_CODE, NAN_CODE, block_count

_MAGNITUDES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
_MIDPOINTS = (_MAGNITUDES[1:] + _MAGNITUDES[:-1]) / 2


def encode(x: np.ndarray, scales: np.ndarray, elements: np.ndarray) -> None:
    """Encodes a vector; see `mxfp4.encode`."""
    blocks = _pad(x.astype(np.float64))
    peaks = np.abs(blocks).max(axis=1)
    finite = np.isfinite(peaks)
    _, exponents = np.frexp(np.where(finite, peaks, 0))  # peak = fraction · 2^exponent, fraction in [0.5, 1)
    codes = np.where(peaks == 0, 0, np.maximum(exponents - 3, -127) + 127)
    scales[:] = np.where(finite, codes, NAN_CODE)
    quotients = np.ldexp(np.where(finite[:, None], blocks, 0), 127 - codes[:, None])
    magnitudes = np.abs(quotients)
    # Codes whose lower midpoint a quotient lies above, or on it where the code above is even.
    below = np.searchsorted(_MIDPOINTS, magnitudes, "left")
    even_above = np.isin(magnitudes, _MIDPOINTS[1::2])
    codes = below + even_above
    signed = np.where((quotients < 0) & (codes > 0), codes + 8, codes).astype(np.uint8).ravel()
    elements[:] = (signed[0::2] | signed[1::2] << 4)[: elements.size]


def decode(scales: np.ndarray, elements: np.ndarray, out: np.ndarray) -> None:
    """Decodes a vector; see `mxfp4.decode`."""
    codes = _unpack(elements, out.size)
    values = np.where(codes & 8, -1, 1) * _MAGNITUDES[codes & 7]
    out[:] = np.ldexp(values, scales.astype(np.int32)[:, None] - 127).ravel()[: out.size]


def add(scales: np.ndarray, elements: np.ndarray, base: np.ndarray, out: np.ndarray) -> None:
    """Writes `base + decode(scales, elements)`; see `mxfp4.add`."""
    delta = np.empty_like(base)
    decode(scales, elements, delta)
    with np.errstate(over="ignore"):
        out[:] = np.where(delta == 0, base, base + delta)


def first_noncanonical(scales: np.ndarray, elements: np.ndarray, size: int) -> int:
    """Finds the first block that `encode` never writes; see `mxfp4.first_noncanonical`."""
    codes = _unpack(elements, 2 * elements.size)
    too_large = (scales > 0) & ((codes & 7).max(axis=1) < 6)
    wrong = (scales > HIGHEST_CODE) | (codes == 8).any(axis=1) | too_large
    if not wrong.any():
        return scales.size - 1 if size % 2 and elements[-1] >> 4 else -1
    return int(np.argmax(wrong))


def _pad(values: np.ndarray) -> np.ndarray:
    """Returns the values as rows of one block each, the last filled up with zeros: `[B, 32]`."""
    padded = np.zeros(block_count(values.size) * BLOCK, values.dtype)
    padded[: values.size] = values
    return padded.reshape(-1, BLOCK)


def _unpack(elements: np.ndarray, size: int) -> np.ndarray:
    """Returns the 4-bit codes of `size` values, uint8 `[B, 32]`."""
    codes = np.stack([elements & 15, elements >> 4], axis=1).ravel()
    return _pad(codes)
