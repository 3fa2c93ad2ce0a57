"""Payloads that nobody honest sends: refused with a typed error and in little memory, or well-formed."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax import codec
from relayjax.codec.base import HEADER, Codec
from relayjax.errors import FormatError

SIZE = 601  # odd, several blocks of every format, the last one short
PARENT = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
CHILD = PARENT + (0.01 * np.random.default_rng(1).standard_normal(SIZE)).astype(np.float32)
ZEROS = np.zeros(SIZE, np.float32)

CANONICAL = [name for name in codec.NAMES if name != "lossless"]
every_codec = pytest.mark.parametrize("c", [codec.get(name) for name in codec.NAMES], ids=codec.NAMES)
canonical_codec = pytest.mark.parametrize("c", [codec.get(name) for name in CANONICAL], ids=CANONICAL)


def forged(c: Codec, body: bytes, size: int = SIZE) -> bytes:
    """An honest header before a body that may not be."""
    return HEADER.pack(b"RJXD", 1, c.code, 0, size, len(body)) + body


def body_of(c: Codec) -> bytearray:
    return bytearray(c.encode_once(PARENT, CHILD)[HEADER.size :])


@every_codec
def test_every_truncation_is_refused_with_and_without_an_honest_length(c):
    payload = c.encode_once(PARENT, CHILD)
    for length in range(len(payload)):
        with pytest.raises(FormatError):
            c.apply(payload[:length], PARENT)
    body = payload[HEADER.size :]
    for length in range(len(body)):
        with pytest.raises(FormatError):
            c.apply(forged(c, body[:length]), PARENT)
    with pytest.raises(FormatError):
        c.apply(forged(c, body + b"\0"), PARENT)


@canonical_codec
@settings(deadline=None)
@given(st.data())
def test_a_changed_body_is_refused_or_another_deltas_only_payload(c, data):
    body = body_of(c)
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    payload = forged(c, bytes(body))
    try:
        delta = c.decode(payload, ZEROS)
    except FormatError:
        return
    assert np.isfinite(delta).all()
    assert c.encode_once(ZEROS, delta) == payload


@every_codec
@settings(deadline=None)
@given(body=st.binary(max_size=200), size=st.integers(1, 64))
def test_any_bytes_are_refused_or_give_finite_values(c, body, size):
    parent = np.zeros(size, np.float32)
    try:
        child = c.apply(forged(c, body, size), parent)
    except FormatError:
        return
    assert np.isfinite(child).all()


@every_codec
def test_absurd_sizes_cost_no_memory(c):
    body = bytes(body_of(c))
    tracemalloc.start()
    for size in (0, 1, SIZE - 1, 1 << 40, (1 << 64) - 1):
        with pytest.raises(FormatError, match="another model"):
            c.apply(forged(c, body, size), PARENT)
    with pytest.raises(FormatError):
        c.apply(HEADER.pack(b"RJXD", 1, c.code, 0, SIZE, (1 << 64) - 1) + body, PARENT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("name", "offset", "byte"),
    [
        ("mxint8", 0, 255),
        ("mxint8", 19, 0x80),
        ("mxint8", 0, 200),
        ("mxfp4", 0, 253),
        ("mxfp4", 19, 0x08),
        ("mxfp4", 19, 0x80),
        ("mxfp4", 0, 200),
        ("mxfp4", -1, 0x10),
        ("sign", 0, 255),
        ("sign", 3, 1),
        ("sign", -1, 2),
    ],
)
def test_blocks_that_are_never_written_are_refused(name, offset, byte):
    c = codec.get(name)
    body = bytearray(c.encode_once(PARENT, PARENT)[HEADER.size :])
    c.apply(forged(c, bytes(body)), PARENT)
    body[offset] = byte
    with pytest.raises(FormatError, match="block"):
        c.apply(forged(c, bytes(body)), PARENT)


def sparse(count: int, scales: bytes, elements: bytes, gaps: bytes) -> bytes:
    return struct.pack("<Q", count) + scales + elements + gaps


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (sparse(7, b"\x7f", bytes([64] * 7), bytes(7)), None),  # 7 of 601 is the most
        (sparse(0, b"", b"", b""), None),
        (sparse(8, b"\x7f", bytes([64] * 8), bytes(8)), "8 values"),
        (sparse(1 << 63, b"\x7f", b"\x40", b"\0"), "values"),
        (sparse(2, b"\x7f", b"\x40", b""), "cannot hold"),
        (sparse(1, b"\x7f", b"\x00", b"\0"), "its values"),
        (sparse(1, b"\x7f", b"\x3f", b"\0"), "its values"),
        (sparse(1, b"\xff", b"\x40", b"\0"), "its values"),
        (sparse(1, b"\x7f", b"\x80", b"\0"), "its values"),
        (sparse(1, b"\x7f", b"\x40", b"\xd8\x04"), None),  # 600, the last place
        (sparse(1, b"\x7f", b"\x40", b"\xd9\x04"), "place 0"),  # 601
        (sparse(2, b"\x7f", b"\x40\x40", b"\xd8\x04\0"), "place 1"),
        (sparse(1, b"\x7f", b"\x40", b"\x80\x00"), "place 0"),  # a zero that needs no second byte
        (sparse(1, b"\x7f", b"\x40", b"\x80"), "place 0"),
        (sparse(1, b"\x7f", b"\x40", b"\xff" * 20 + b"\x01"), "place 0"),
        (sparse(1, b"\x7f", b"\x40", b"\0\0"), "place 1"),
        (b"\0" * 7, "a body of 7 bytes"),
    ],
)
def test_sparse_bodies(body, match):
    c = codec.get("top_percent")
    if match is None:
        c.apply(forged(c, body), ZEROS)
        return
    with pytest.raises(FormatError, match=match):
        c.apply(forged(c, body), ZEROS)
