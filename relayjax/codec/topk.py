"""Sparse deltas: the largest values exactly chosen, 8 bits each, and 1.3 bytes for the place of one in a
hundred.

Body, for K values in B = ceil(K / 32) blocks, integers little-endian:

| offset    | size | content                                                              |
|-----------|------|----------------------------------------------------------------------|
| 0         | 8    | K, at most the codec's share of P, rounded up                        |
| 8         | B    | scale codes of the chosen values in the order of their places: E8M0  |
| 8 + B     | K    | their elements, int8, none of them 0                                 |
| 8 + B + K | rest | the gaps between their places as varints (`kernels.topk`)            |

Values are those of `kernels.mxint8`, but what would round to zero becomes the smallest element of its sign: a
place without a value would give one delta many payloads. As with the other formats there is exactly one
payload for each delta that the format can express, and only that is read.

The error a payload makes is most of the delta: it has to be added to the next leg.
"""

from __future__ import annotations

import struct
from typing import ClassVar

import numpy as np

from relayjax.codec.base import HEADER, Codec, NonFiniteError, check_vectors
from relayjax.errors import FormatError
from relayjax.kernels import bits, mxint8, threads, topk

_COUNT = struct.Struct("<Q")
_CHUNK = 1 << 18  # values copied and then checked while they are in the cache
_MILLION = 1_000_000


class TopK(Codec):
    """The values of largest magnitude.

    Attributes:
      per_million: how many of a million values are kept; of P values that share, rounded up.
    """

    code = 5
    needs_feedback = True
    per_million: ClassVar[int]

    def encode_once(self, parent: np.ndarray, child: np.ndarray) -> bytes:
        size = check_vectors(parent=parent, child=child)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below, with its index
            delta = np.subtract(child, parent)
        most = self.count(size)
        indices, values = np.empty(most, np.int64), np.empty(most, np.float32)
        count = topk.select(delta, most, indices, values)
        indices, values = indices[:count], values[:count]
        if not np.isfinite(values).all():  # NaN and infinity are the largest: if there are any, one is chosen
            raise NonFiniteError("child - parent", bits.first_nonfinite(delta))
        scales, elements = np.empty(mxint8.block_count(count), np.uint8), np.empty(count, np.int8)
        mxint8.encode(values, scales, elements)
        elements[elements == 0] = np.copysign(1, values[elements == 0])
        gaps = np.empty(topk.gaps_bound(count, size), np.uint8)
        gaps = gaps[: topk.write_gaps(indices, gaps)]
        length = _COUNT.size + scales.size + count + gaps.size
        return b"".join(
            (
                self._header(size, length),
                _COUNT.pack(count),
                *(part.data for part in (scales, elements, gaps)),
            )
        )

    def apply(self, payload: bytes, parent: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(parent) if out is None else out
        size = check_vectors(parent=parent, out=out)
        values, gaps = self._parse(payload, size)
        wrong = [_copy(parent, out), topk.scatter_add(gaps, values, out)]
        if max(wrong) >= 0:
            raise NonFiniteError("child", min(index for index in wrong if index >= 0))
        return out

    def decode(self, payload: bytes, parent: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        size = check_vectors(parent=parent, out=parent if out is None else out)
        values, gaps = self._parse(payload, size)
        if out is None:
            out = np.zeros_like(parent)
        else:
            out.fill(0)
        topk.scatter_add(gaps, values, out)
        return out

    def count(self, size: int) -> int:
        """Returns the most values that are kept of `size`."""
        return -(-size * self.per_million // _MILLION)

    def max_size(self, size: int) -> int:
        count = self.count(size)
        body = _COUNT.size + mxint8.block_count(count) + count + topk.gaps_bound(count, size)
        return HEADER.size + body

    def _parse(self, payload: bytes, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the checked values, float32 `[K]`, and gaps, uint8."""
        body = np.frombuffer(self._body(payload, size), np.uint8)
        if body.size < _COUNT.size:
            raise FormatError(f"delta: a body of {body.size} bytes is none of {self.name}; fetch it again")
        (count,) = _COUNT.unpack_from(body.data)
        if count > self.count(size):  # before anything of that size is made
            raise FormatError(
                f"delta: {count} values, {self.name} keeps {self.count(size)} of {size}; refuse the delta"
            )
        start = _COUNT.size + mxint8.block_count(count)
        if body.size < start + count:
            raise FormatError(
                f"delta: a body of {body.size} bytes cannot hold {count} values; fetch it again"
            )
        scales, elements = body[_COUNT.size : start], body[start : start + count].view(np.int8)
        gaps = body[start + count :]
        block = mxint8.first_noncanonical(scales, elements, count)
        if block >= 0 or not elements.all():
            raise FormatError(f"delta: its values are none that {self.name} writes; refuse the delta")
        place = topk.first_malformed(gaps, count, size)
        if place >= 0:
            raise FormatError(f"delta: place {place} is not written as {self.name} does; refuse the delta")
        values = np.empty(count, np.float32)
        mxint8.decode(scales, elements, values)
        return values, gaps


class TopPercent(TopK):
    """The largest of a hundred values."""

    name = "top_percent"
    per_million = 10_000


class TopPermille(TopK):
    """The largest of a thousand values."""

    name = "top_permille"
    per_million = 1_000


def _copy(parent: np.ndarray, out: np.ndarray) -> int:
    """Copies the parent unless it is there already; returns the index of its first NaN or infinity, or -1."""
    apart = parent.ctypes.data != out.ctypes.data

    def copy(first: int, last: int) -> int:
        for start in range(first, last, _CHUNK):
            part = slice(start, min(start + _CHUNK, last))
            if apart:
                np.copyto(out[part], parent[part])
            index = bits.first_nonfinite(out[part])
            if index >= 0:
                return start + index
        return -1

    found = threads.run_ranges(copy, parent.size, threads.workers(parent.size))
    return next((index for index in found if index >= 0), -1)
