"""Signs under a power-of-two scale in plain NumPy: what `sign` must compute, written for reading.

Same names, signatures and, for finite input, bits.
"""

from __future__ import annotations

import numpy as np

from relayjax.kernels.sign import BLOCK, NAN_CODE, block_count


def encode(x: np.ndarray, scales: np.ndarray, elements: np.ndarray) -> None:
    """Encodes a vector; see `sign.encode`."""
    negative = np.signbit(x)
    for block in range(block_count(x.size)):
        part = slice(block * BLOCK, (block + 1) * BLOCK)
        scales[block] = _scale_code(x[part])
        if scales[block] in (0, NAN_CODE):
            negative[part] = False
    elements[:] = np.packbits(negative, bitorder="little")


def decode(scales: np.ndarray, elements: np.ndarray, out: np.ndarray) -> None:
    """Decodes a vector; see `sign.decode`."""
    negative = np.unpackbits(elements, count=out.size, bitorder="little")
    magnitudes = np.where(scales == 0, 0, np.ldexp(1.0, scales.astype(int) - 127))
    out[:] = np.repeat(magnitudes, BLOCK)[: out.size] * np.where(negative, -1, 1)


def add(scales: np.ndarray, elements: np.ndarray, base: np.ndarray, out: np.ndarray) -> None:
    """Writes `base + decode(scales, elements)`; see `sign.add`."""
    delta = np.empty_like(base)
    decode(scales, elements, delta)
    with np.errstate(over="ignore"):
        out[:] = np.where(delta == 0, base, base + delta)


def first_noncanonical(scales: np.ndarray, elements: np.ndarray, size: int) -> int:
    """Finds the first block that `encode` never writes; see `sign.first_noncanonical`."""
    bits = np.zeros(scales.size * BLOCK, bool)
    bits[: 8 * elements.size] = np.unpackbits(elements, bitorder="little")
    wrong = (scales == NAN_CODE) | ((scales == 0) & bits.reshape(-1, BLOCK).any(axis=1))
    if not wrong.any():
        return scales.size - 1 if bits[size:].any() else -1
    return int(np.argmax(wrong))


def _scale_code(block: np.ndarray) -> int:
    """The equations of `sign`, with Python's integers. `n` values, largest exponent E."""
    if not np.isfinite(block).all():
        return NAN_CODE
    bits = [int(pattern) & 0x7FFFFFFF for pattern in block.view(np.uint32)]
    exponents = [max(pattern >> 23, 1) for pattern in bits]
    significands = [pattern & 0x7FFFFF | (pattern >> 23 > 0) << 23 for pattern in bits]
    n, largest = len(bits), max(exponents)
    t = sum(f >> (2 + largest - e) for f, e in zip(significands, exponents, strict=True))
    k = max(4 * t // (3 * n), 1).bit_length() - 1
    code = min(k + largest - 21, 254)
    return code if code >= 1 else 0
