"""MXINT8 deltas: 8.25 bits a value, with an error of at most about 1 % of the largest of 32 neighbours.

Body, for P values in B = ceil(P / 32) blocks:

| offset | size | content                               |
|--------|------|---------------------------------------|
| 0      | B    | scale codes, E8M0, one byte a block   |
| B      | P    | elements, int8, one byte a value      |

Only canonical blocks are read (`kernels.mxint8.first_noncanonical`): there is exactly one payload for each
delta that the format can express, so the same work cannot be handed in again under another digest.
"""

from __future__ import annotations

import numpy as np

from relayjax.codec.base import HEADER, Codec, NonFiniteError, check_finite, check_vectors
from relayjax.errors import FormatError
from relayjax.kernels import bits, mxint8

_CHUNK = 1 << 18  # values worked on at once, so that the second pass over them finds them in the cache


class MxInt8(Codec):
    """Blocks of 32 int8 elements under a shared power-of-two scale."""

    name = "mxint8"
    code = 1

    def encode(self, parent: np.ndarray, child: np.ndarray) -> bytes:
        size = check_vectors(parent=parent, child=child)
        payload = np.empty(self.max_size(size), np.uint8)
        payload[: HEADER.size] = np.frombuffer(self._header(size, payload.size - HEADER.size), np.uint8)
        scales, elements = _split(payload[HEADER.size :], size)
        delta = np.empty(min(size, _CHUNK), np.float32)
        for part, blocks in _chunks(size):
            piece = delta[: part.stop - part.start]
            with np.errstate(over="ignore", invalid="ignore"):  # reported below, with its index
                np.subtract(child[part], parent[part], out=piece)
            mxint8.encode(piece, scales[blocks], elements[part])
            if scales[blocks].max() == mxint8.NAN_CODE:
                raise NonFiniteError("child - parent", part.start + bits.first_nonfinite(piece))
        return payload.tobytes()

    def apply(self, payload: bytes, parent: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(parent) if out is None else out
        size = check_vectors(parent=parent, out=out)
        scales, elements = self._parse(payload, size)
        for part, blocks in _chunks(size):
            mxint8.add(scales[blocks], elements[part], parent[part], out[part])
            check_finite("child", out[part], part.start)
        return out

    def decode(self, payload: bytes, parent: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(parent) if out is None else out
        size = check_vectors(parent=parent, out=out)
        scales, elements = self._parse(payload, size)
        mxint8.decode(scales, elements, out)
        return out

    def max_size(self, size: int) -> int:
        return HEADER.size + mxint8.block_count(size) + size

    def _parse(self, payload: bytes, size: int) -> tuple[np.ndarray, np.ndarray]:
        body = np.frombuffer(self._body(payload, size), np.uint8)
        if body.size != mxint8.block_count(size) + size:
            raise FormatError(
                f"delta: a body of {body.size} bytes cannot hold {size} values in mxint8; fetch it again"
            )
        scales, elements = _split(body, size)
        block = mxint8.first_noncanonical(scales, elements)
        if block >= 0:
            raise FormatError(f"delta: block {block} is not one that mxint8 writes; refuse the delta")
        return scales, elements


def _split(body: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Views a body's scale codes, uint8 `[B]`, and elements, int8 `[P]`."""
    count = mxint8.block_count(size)
    return body[:count], body[count:].view(np.int8)


def _chunks(size: int) -> list[tuple[slice, slice]]:
    """Cuts `size` values into chunks: for each the slice of its values and the slice of its blocks."""
    starts = range(0, size, _CHUNK)
    parts = [slice(start, min(start + _CHUNK, size)) for start in starts]
    return [(part, slice(part.start // mxint8.BLOCK, mxint8.block_count(part.stop))) for part in parts]
