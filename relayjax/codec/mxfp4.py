"""MXFP4 deltas: 4.25 bits a value, with an error of at most a quarter of the largest of 32 neighbours.

The body is that of `blocks`: B = ceil(P / 32) scale codes, then ceil(P / 2) bytes of two elements each, the
first in the lower half.
"""

from __future__ import annotations

from relayjax.codec.blocks import BlockCodec
from relayjax.kernels import mxfp4


class MxFp4(BlockCodec):
    """Blocks of 32 4-bit floats under a shared power-of-two scale."""

    name = "mxfp4"
    code = 3
    kernel = mxfp4
