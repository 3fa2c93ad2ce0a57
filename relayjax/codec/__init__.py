"""Deltas to bytes and back: `get(name)` gives a codec; `base.Codec` says what it promises."""

from __future__ import annotations

from relayjax.codec.base import Codec, NonFiniteError
from relayjax.codec.lossless import Lossless
from relayjax.codec.mxfp4 import MxFp4
from relayjax.codec.mxint8 import MxInt8
from relayjax.codec.sign import Sign
from relayjax.codec.topk import TopPercent, TopPermille
from relayjax.errors import ConfigError

__all__ = ["NAMES", "Codec", "NonFiniteError", "get"]

_CODECS: dict[str, Codec] = {
    codec.name: codec for codec in (MxInt8(), Lossless(), MxFp4(), Sign(), TopPercent(), TopPermille())
}
NAMES = tuple(_CODECS)


def get(name: str) -> Codec:
    """Returns the codec of a name.

    Raises:
      ConfigError: there is none of that name.
    """
    if name not in _CODECS:
        raise ConfigError(f"codec {name!r} is unknown; choose one of {', '.join(NAMES)}")
    return _CODECS[name]
