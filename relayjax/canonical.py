"""One value, one text: canonical JSON and canonical base64.

What is signed or hashed must have a single spelling, or two honest parties could disagree about the same fact
and a changed bit could go unnoticed. Whatever is read here is refused unless it is spelt exactly as it would
be written.
"""

from __future__ import annotations

import base64
import json
from typing import Any, NoReturn

import rfc8785

from relayjax.errors import FormatError

SIZE_LIMIT = 65_535
"""Bytes a record or log entry may have: what a 16-bit length can say."""

_LARGEST = 2**53 - 1
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def encode(obj: Any) -> bytes:
    """Encodes a JSON value in the one way RFC 8785 allows: UTF-8, keys sorted, no spaces.

    Args:
      obj: None, bool, int, str, or lists, tuples and dicts of these.

    Raises:
      FormatError: A float, an integer beyond ±(2⁵³ − 1), a key that is no string, a lone surrogate, or a type
        that JSON lacks. Larger integers and fractions are written as strings.

    References:
      RFC 8785 (JSON Canonicalization Scheme), section 3.2.
    """
    try:
        # Python's own encoder is many times faster and writes the same bytes for values checked like this.
        return _ENCODER.encode(obj).encode() if _is_simple(obj) else rfc8785.dumps(obj)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"canonical JSON: {error}; use strings, integers within ±(2**53 - 1) and flat objects"
        ) from error


def decode(data: bytes, limit: int = SIZE_LIMIT) -> Any:
    """Decodes canonical JSON; refuses every byte string that `encode` would not have written.

    Args:
      data: The whole text.
      limit: Bytes it may have at most; longer ones are refused before they are parsed.

    Raises:
      FormatError: Too long, not UTF-8, not JSON, a duplicate key, a float, or another spelling of the same
        value.
    """
    if len(data) > limit:
        raise FormatError(f"canonical JSON: {len(data)} bytes, at most {limit} are allowed")
    try:
        obj = _DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"canonical JSON: {error}; the bytes are damaged or come from another program"
        ) from error
    if encode(obj) != data:
        raise FormatError(
            "canonical JSON: the value is right but not its spelling; write it with canonical.encode"
        )
    return obj


def encode_base64(data: bytes) -> str:
    """Encodes bytes in standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decodes standard base64; refuses unused bits that are set, line breaks and missing padding.

    Raises:
      FormatError: The text is not what `encode_base64` would have written.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise FormatError(f"base64: {error} in {text[:40]!r}") from error
    if encode_base64(data) != text:
        raise FormatError(f"base64: {text[-40:]!r} is not the canonical spelling of its bytes")
    return data


def _is_simple(obj: Any) -> bool:
    """Whether JSON leaves no choice but the order of keys and spaces, and code points give that of RFC 8785.

    RFC 8785 sorts by UTF-16 units; for keys in ASCII that is the same.

    Raises:
      ValueError: The value has a float in it.
    """
    kind = type(obj)
    if kind is str or kind is bool or obj is None:
        return True
    if kind is int:
        return -_LARGEST <= obj <= _LARGEST
    if isinstance(obj, float):
        raise ValueError(f"{obj!r} is a float")
    if isinstance(obj, dict):
        values, simple = obj.values(), kind is dict and all(type(k) is str and k.isascii() for k in obj)
    elif isinstance(obj, list | tuple):
        values, simple = obj, kind is list or kind is tuple
    else:
        return False
    for value in values:  # to the end, for there may be a float
        leaf = type(value)
        if leaf is str or (leaf is int and -_LARGEST <= value <= _LARGEST):
            continue  # most are such, and a call for each would take most of the time
        simple = _is_simple(value) and simple
    return simple


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    obj = dict(pairs)
    if len(obj) != len(pairs):
        raise ValueError(f"an object with a duplicate key among {[key for key, _ in pairs][:8]}")
    return obj


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is not an integer")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_refuse_number, parse_constant=_refuse_number
)
