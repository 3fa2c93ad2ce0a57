"""Changes to valid bytes as an attacker would make them, out of a stream of random choices."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

from relayjax import canonical
from relayjax.errors import FormatError

_NUMBER = re.compile(rb"\d+")
_NUMBERS = (b"0", b"-1", b"1e9", b"00", b"65536", b"4294967295", b"9007199254740993", b"18446744073709551616")
_SIZES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
_VALUES = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**53 - 1,
    2**53,
    "",
    "é",
    "\ud800",
    [],
    {},
    "p0",
    "v0",
    "a" * 200,
)
_PIECES = (
    b"\n",
    b"\n\n",
    b" ",
    b"\0",
    b"\xff",
    b"../",
    b"/etc/passwd",
    b"=",
    b"+",
    b"\xe2\x80\x94 ",
    b"\r\n",
    b":",
)


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Changes bytes once to four times.

    Args:
      data: valid ones, or such as have been changed already.
      other: valid ones of the same kind, to take parts from.
      rng: the choices.
    """
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(CHANGES)(data, other, rng)
    return data


def _flip(data: bytes, other: bytes, rng: random.Random) -> bytes:
    if not data:
        return rng.randbytes(rng.randint(0, 40))
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return rng.choice([data[:start], data[end:], data[:start] + data[end:]])


def _splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    (start, end), (first, last) = _range(data, rng), _range(other, rng)
    return data[:start] + other[first:last] + data[end:]


def _double(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + data[start:end] * rng.choice([2, 2, 3, 50]) + data[end:]


def _lines(data: bytes, other: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    if rng.random() < 0.5:
        lines.insert(first, rng.choice(other.split(b"\n")))
    return b"\n".join(lines)


def _number(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A number in text, or in bytes, becomes another, as huge as it can be said."""
    found = list(_NUMBER.finditer(data))
    if found and rng.random() < 0.6:
        start, end = rng.choice(found).span()
        return data[:start] + rng.choice([*_NUMBERS, b"9" * rng.choice([18, 19, 400, 5_000])]) + data[end:]
    start, width = rng.randint(0, len(data)), rng.choice([1, 2, 4, 8])
    value = rng.choice(_SIZES) & ((1 << 8 * width) - 1)
    return data[:start] + value.to_bytes(width, rng.choice(["big", "little"])) + data[start + width :]


def _piece(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + rng.choice([*_PIECES, rng.randbytes(8)]) + data[rng.choice([start, start, end]) :]


def _nest(data: bytes, other: bytes, rng: random.Random) -> bytes:
    depth = rng.choice([3, 50, 900, 1_100, 20_000])
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    start, end = _range(data, rng)
    return data[:start] + opening * depth + data[start:end] + closing * rng.choice([depth, 0]) + data[end:]


def _value(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A value somewhere in canonical JSON becomes another; the text stays canonical."""
    lines = data.split(b"\n")
    which = rng.randrange(len(lines))
    try:
        obj = json.loads(lines[which])
        lines[which] = canonical.encode(_changed(obj, rng))
    except (ValueError, RecursionError, FormatError):
        return _flip(data, other, rng)
    return b"\n".join(lines)


def _changed(obj: Any, rng: random.Random) -> Any:
    if isinstance(obj, dict) and obj and rng.random() < 0.9:
        key = rng.choice(sorted(obj))
        match rng.randrange(8):
            case 0:
                return {name: value for name, value in obj.items() if name != key}
            case 1:
                return obj | {rng.choice([key + "x", "é", ""]): obj[key]}
            case 2:
                return obj | {key: obj[rng.choice(sorted(obj))]}
        return obj | {key: _changed(obj[key], rng)}
    if isinstance(obj, list) and obj and rng.random() < 0.9:
        where = rng.randrange(len(obj))
        match rng.randrange(6):
            case 0:
                return obj[:where] + obj[where + 1 :]
            case 1:
                return obj + [obj[where]] * rng.choice([1, 1, 300])
            case 2:
                return obj[::-1]
        return [*obj[:where], _changed(obj[where], rng), *obj[where + 1 :]]
    if isinstance(obj, str) and rng.random() < 0.7:
        return _flip(obj.encode("utf-8", "replace"), b"", rng).decode("utf-8", "replace")
    if type(obj) is int and rng.random() < 0.5:
        return obj + rng.choice([-1, 1])
    return rng.choice(_VALUES)


def _range(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice([1, 2, 4, 16, 64, 400]))


CHANGES: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    _flip,
    _cut,
    _splice,
    _double,
    _lines,
    _number,
    _piece,
    _nest,
    _value,
    _value,
)
