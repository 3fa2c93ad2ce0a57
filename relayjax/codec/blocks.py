"""What the block formats share: a body of scale codes and elements, worked on a chunk at a time.

Body, for P values in B blocks, E elements as the format packs them:

| offset | size | content                               |
|--------|------|---------------------------------------|
| 0      | B    | scale codes, E8M0, one byte a block   |
| B      | E    | elements                              |

Only canonical blocks are read (the kernel's `first_noncanonical`): there is exactly one payload for each
delta that the format can express, so the same work cannot be handed in again under another digest.

Beside what it is given and what it returns, no call holds more than one chunk a thread and one more copy of
the payload.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np

from relayjax.codec.base import HEADER, Codec, NonFiniteError, check_finite, check_vectors
from relayjax.errors import FormatError
from relayjax.kernels import bits, buffers
from relayjax.kernels.threads import run_ranges, workers

_CHUNK = 1 << 18  # values worked on at once, so that the second pass over them finds them in the cache

Chunk: TypeAlias = tuple[slice, slice, slice]  # of values, of their blocks, of their elements


class BlockCodec(Codec):
    """Blocks of elements under shared power-of-two scales.

    Attributes:
      kernel: the module that encodes them, one of `relayjax.kernels.mxint8`, `mxfp4`, `sign`.
    """

    kernel: ClassVar[Any]

    def encode_once(self, parent: np.ndarray, child: np.ndarray) -> bytes:
        size = check_vectors(parent=parent, child=child)
        body = np.empty(self.max_size(size) - HEADER.size, np.uint8)
        scales, elements = self._split(body, size)

        def work(chunks: list[Chunk]) -> None:
            delta = buffers.empty(min(size, _CHUNK), np.float32)
            for part, blocks, packed in chunks:
                piece = delta[: part.stop - part.start]
                with np.errstate(over="ignore", invalid="ignore"):  # reported below, with its index
                    np.subtract(child[part], parent[part], out=piece)
                self.kernel.encode(piece, scales[blocks], elements[packed])
                if scales[blocks].max() == self.kernel.NAN_CODE:
                    raise NonFiniteError("child - parent", part.start + bits.first_nonfinite(piece))

        self._share(work, size)
        return b"".join((self._header(size, body.size), body.data))

    def wrap(self, body: np.ndarray, size: int) -> bytes:
        """Makes a payload of a body that was encoded elsewhere, as by `relayjax.on_device`.

        Where the codec needs feedback, the caller has to see to it, as `feedback.encode` would.

        Args:
          body: uint8, scale codes and elements of `size` values.
          size: P.

        Raises:
          NonFiniteError: a block held NaN or infinity; the index is that of the block's first value.
          FormatError: the body is not one of `size` values.
        """
        wrong = np.flatnonzero(self._parts(body, size)[0] == self.kernel.NAN_CODE)
        if wrong.size:
            raise NonFiniteError("delta", int(wrong[0]) * self.kernel.BLOCK)
        return b"".join((self._header(size, body.size), np.ascontiguousarray(body).data))

    def apply(self, payload: bytes, parent: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(parent) if out is None else out
        size = check_vectors(parent=parent, out=out)
        scales, elements = self._parts(np.frombuffer(self._body(payload, size), np.uint8), size)

        def work(chunks: list[Chunk]) -> None:
            for part, blocks, packed in chunks:
                self._check(scales[blocks], elements[packed], part, blocks.start)
                self.kernel.add(scales[blocks], elements[packed], parent[part], out[part])
                check_finite("child", out[part], part.start)

        self._share(work, size)
        return out

    def decode(self, payload: bytes, parent: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(parent) if out is None else out
        size = check_vectors(parent=parent, out=out)
        scales, elements = self._parts(np.frombuffer(self._body(payload, size), np.uint8), size)

        def work(chunks: list[Chunk]) -> None:
            for part, blocks, packed in chunks:
                self._check(scales[blocks], elements[packed], part, blocks.start)
                self.kernel.decode(scales[blocks], elements[packed], out[part])

        self._share(work, size)
        return out

    def max_size(self, size: int) -> int:
        return HEADER.size + self.kernel.block_count(size) + self.kernel.element_count(size)

    def _check(self, scales: np.ndarray, elements: np.ndarray, part: slice, first: int) -> None:
        """Refuses blocks that are not canonical; the first of them is number `first` of the payload."""
        block = self.kernel.first_noncanonical(scales, elements, part.stop - part.start)
        if block >= 0:
            raise FormatError(
                f"delta: block {first + block} is not one that {self.name} writes; refuse the delta"
            )

    def _parts(self, body: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        if body.size != self.max_size(size) - HEADER.size:
            raise FormatError(
                f"delta: a body of {body.size} bytes cannot hold {size} values in {self.name}; fetch it again"
            )
        return self._split(body, size)

    def _split(self, body: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Views a body's scale codes, uint8 `[B]`, and elements, `[E]`."""
        count = self.kernel.block_count(size)
        return body[:count], body[count:].view(self.kernel.ELEMENT)

    def _share(self, work: Callable[[list[Chunk]], None], size: int) -> None:
        """Works on all chunks of `size` values, on several threads where that pays; the first error wins."""
        chunks = [self._chunk(start, min(start + _CHUNK, size)) for start in range(0, size, _CHUNK)]
        run_ranges(lambda first, last: work(chunks[first:last]), len(chunks), workers(size))

    def _chunk(self, start: int, stop: int) -> Chunk:
        blocks = slice(start // self.kernel.BLOCK, self.kernel.block_count(stop))
        packed = slice(self.kernel.element_count(start), self.kernel.element_count(stop))
        return slice(start, stop), blocks, packed
