"""MXINT8 deltas: 8.25 bits a value, with an error of at most about 1 % of the largest of 32 neighbours.

The body is that of `blocks`: B = ceil(P / 32) scale codes, then P elements, int8, one byte a value.
"""

from __future__ import annotations

from relayjax.codec.blocks import BlockCodec
from relayjax.kernels import mxint8


class MxInt8(BlockCodec):
    """Blocks of 32 int8 elements under a shared power-of-two scale."""

    name = "mxint8"
    code = 1
    kernel = mxint8
