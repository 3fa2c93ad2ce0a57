"""What a codec is, and the header that every encoded delta starts with.

A codec turns the step from a parent's parameters to a child's into bytes and back. Parameters are one flat
float32 vector `[P]`; which part of it is which array is of no concern here. The delta is child − parent.
**The child is what `apply` gives**: trainer and validators all derive it from parent and payload, and so
hold the same bits.

An encoded delta (*payload*), integers little-endian:

| offset | size | content                                    |
|--------|------|--------------------------------------------|
| 0      | 4    | magic: `RJXD`                              |
| 4      | 1    | format version: 1                          |
| 5      | 1    | codec: its `code`                          |
| 6      | 2    | zero                                       |
| 8      | 8    | P, the number of values, at least 1        |
| 16     | 8    | L, the length of the body                  |
| 24     | L    | body; what it holds is the codec's affair  |
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from relayjax.errors import ConfigError, FormatError
from relayjax.kernels import bits

MAGIC = b"RJXD"
VERSION = 1
HEADER = struct.Struct("<4sBBHQQ")


class NonFiniteError(FormatError):
    """A value that has to be finite is NaN or infinite.

    Attributes:
      index: where in the flat vector the first such value stands.
    """

    def __init__(self, what: str, index: int):
        super().__init__(
            f"{what} is not finite at flat index {index}; lower the learning rate or refuse the delta"
        )
        self.index = index


class Codec(ABC):
    """Encodes deltas. Without state: one instance serves any number of threads.

    Attributes:
      name: what settings call it.
      code: what the header calls it: 1 mxint8, 2 lossless, 3 mxfp4, 4 sign, 5 top-k of any fraction.
      needs_feedback: whether a payload leaves out so much that it has to be made up for later. Such a codec
        encodes through `relayjax.codec.feedback` only, and its deltas need not be zero where parent and child
        agree.
    """

    name: ClassVar[str]
    code: ClassVar[int]
    needs_feedback: ClassVar[bool] = False

    def encode(self, parent: np.ndarray, child: np.ndarray) -> bytes:
        """Encodes the step from parent to child; arguments, result and errors are those of `encode_once`.

        Raises:
          ConfigError: the codec needs feedback.
        """
        if self.needs_feedback:
            raise ConfigError(
                f"codec {self.name!r} leaves out most of a delta; encode with relayjax.codec.feedback, "
                "which adds what was left out to the next leg"
            )
        return self.encode_once(parent, child)

    @abstractmethod
    def encode_once(self, parent: np.ndarray, child: np.ndarray) -> bytes:
        """Encodes the step from parent to child and forgets what the payload leaves out.

        The same vectors always give the same bytes.

        Args:
          parent: float32 `[P]`, contiguous.
          child: float32 `[P]`, contiguous.

        Returns:
          The payload, of at most `max_size(P)` bytes.

        Raises:
          NonFiniteError: the parent, the child or their difference holds NaN or infinity.
          FormatError: the vectors are not float32 `[P]` of one size.
        """

    @abstractmethod
    def apply(self, payload: bytes, parent: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Computes the child.

        Args:
          payload: from anybody; it is checked.
          parent: float32 `[P]`, contiguous.
          out: float32 `[P]` to write the child to, a fresh vector by default; may be `parent` itself. What
            it holds after an error is undefined.

        Returns:
          The child, float32 `[P]`, every value finite.

        Raises:
          NonFiniteError: the child would hold NaN or infinity.
          FormatError: the payload is not one that this codec writes for P values.
        """

    @abstractmethod
    def decode(self, payload: bytes, parent: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Computes the delta; arguments and errors are those of `apply`.

        Returns:
          The delta, float32 `[P]`, every value finite, exactly zero where parent and child agree.
        """

    @abstractmethod
    def max_size(self, size: int) -> int:
        """Returns the most bytes that a payload for `size` values can have: a cap for whoever fetches one."""

    def _header(self, size: int, body_length: int) -> bytes:
        return HEADER.pack(MAGIC, VERSION, self.code, 0, size, body_length)

    def _body(self, payload: bytes, size: int) -> memoryview:
        """Checks the header against this codec and a parent of `size` values; returns the body."""
        if len(payload) < HEADER.size:
            raise FormatError(
                f"delta: {len(payload)} bytes, its header alone has {HEADER.size}; fetch it again"
            )
        magic, version, code, reserved, count, body_length = HEADER.unpack_from(payload)
        if magic != MAGIC or reserved != 0:
            raise FormatError("delta: not an encoded delta, its first bytes are wrong; fetch it again")
        if version != VERSION:
            raise FormatError(
                f"delta: format version {version}, this program reads {VERSION}; update the older side"
            )
        if code != self.code:
            raise FormatError(
                f"delta: codec number {code}, expected {self.code} ({self.name}); see the run's settings"
            )
        if count != size:
            raise FormatError(
                f"delta: for {count} values, the parent has {size}; it belongs to another model"
            )
        if body_length != len(payload) - HEADER.size:
            raise FormatError(
                f"delta: {len(payload) - HEADER.size} bytes follow the header, "
                f"which announces {body_length}; fetch it again"
            )
        return memoryview(payload)[HEADER.size :]


def check_vectors(**vectors: np.ndarray) -> int:
    """Refuses vectors that are not contiguous float32 `[P]` of one size P ≥ 1; returns P.

    Raises:
      FormatError: naming the first vector that is not.
    """
    size = next(iter(vectors.values())).size
    for name, vector in vectors.items():
        if (
            vector.dtype != np.float32
            or vector.shape != (size,)
            or size == 0
            or not vector.flags.c_contiguous
        ):
            raise FormatError(
                f"{name}: {vector.dtype} of shape {vector.shape}; expected contiguous float32 of shape "
                f"({max(size, 1)},): flatten the parameters first"
            )
    return size


def check_finite(name: str, vector: np.ndarray, offset: int = 0) -> None:
    """Refuses NaN and infinity.

    Args:
      name: what to call the vector in the error.
      vector: float32 `[P]`.
      offset: flat index of its first value.

    Raises:
      NonFiniteError: naming the first value that is not finite.
    """
    index = bits.first_nonfinite(vector)
    if index >= 0:
        raise NonFiniteError(name, offset + index)
