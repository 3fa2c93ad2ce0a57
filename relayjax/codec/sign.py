"""Signs as deltas: 1.03 bits a value. What they leave out has to be added to the next leg.

The body is that of `blocks`: B = ceil(P / 256) scale codes, 0 for a block of zeros, then ceil(P / 8) bytes of
eight signs each, the first in the lowest bit.
"""

from __future__ import annotations

from relayjax.codec.blocks import BlockCodec
from relayjax.kernels import sign


class Sign(BlockCodec):
    """Blocks of 256 signs under a shared power-of-two scale."""

    name = "sign"
    code = 4
    needs_feedback = True
    kernel = sign
