"""Lossless deltas: the child's very bits, at roughly two thirds of its size.

Body: one Zstandard frame (RFC 8878) that states its content size, 4 P bytes: the zigzag differences of the
bit patterns as uint32, stored as four byte planes, lowest bytes first (`kernels.bits.split_difference`).

For one version of the zstd library the bytes are a function of parent and child; another version may
compress differently, and both are read. A child can thus have several payloads; the one its trainer
committed to counts.
"""

from __future__ import annotations

import numpy as np
import zstandard

from relayjax.codec.base import HEADER, Codec, check_finite, check_vectors
from relayjax.errors import FormatError
from relayjax.kernels import bits

_LEVEL = 1  # higher ones gain about a hundredth: the low planes are noise to any compressor


class Lossless(Codec):
    """Differences of bit patterns, shuffled and compressed."""

    name = "lossless"
    code = 2

    def encode_once(self, parent: np.ndarray, child: np.ndarray) -> bytes:
        size = check_vectors(parent=parent, child=child)
        check_finite("parent", parent)
        check_finite("child", child)
        planes = np.empty((4, size), np.uint8)
        bits.split_difference(parent, child, planes)
        body = zstandard.ZstdCompressor(level=_LEVEL).compress(planes.data)
        return self._header(size, len(body)) + body

    def apply(self, payload: bytes, parent: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(parent) if out is None else out
        size = check_vectors(parent=parent, out=out)
        bits.join_difference(self._parse(payload, size), parent, out)
        check_finite("child", out)
        return out

    def decode(self, payload: bytes, parent: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        child = self.apply(payload, parent)
        out = child if out is None else out
        check_vectors(parent=parent, out=out)
        with np.errstate(over="ignore"):
            np.subtract(child, parent, out=out)
        check_finite("child - parent", out)
        return out

    def max_size(self, size: int) -> int:
        # The bound that zstd's own manual gives for one frame (ZSTD_COMPRESSBOUND).
        content = 4 * size
        return HEADER.size + content + (content >> 8) + (max(0, (128 << 10) - content) >> 11)

    def _parse(self, payload: bytes, size: int) -> np.ndarray:
        """Decompresses the planes, uint8 `[4, P]`.

        The announced size is checked first: that much the library allocates, and it writes no byte beyond.
        """
        body = self._body(payload, size)
        try:
            announced = zstandard.frame_content_size(body)
            if announced != 4 * size:
                raise FormatError(
                    f"delta: its frame announces {announced} bytes, expected {4 * size}; refuse the delta"
                )
            content = zstandard.ZstdDecompressor().decompress(body, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise FormatError(f"delta: not one Zstandard frame ({error}); fetch it again") from error
        return np.frombuffer(content, np.uint8).reshape(4, size)
