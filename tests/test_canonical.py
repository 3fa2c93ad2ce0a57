"""Canonical JSON and base64: one spelling, everything else refused."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from relayjax.canonical import SIZE_LIMIT, decode, decode_base64, encode, encode_base64
from relayjax.errors import FormatError

SAFE = 2**53 - 1
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(VALUES)
def test_every_value_survives_the_round_trip(value: Any) -> None:
    assert decode(encode(value)) == value


@given(VALUES)
def test_every_value_is_written_as_the_reference_writes_it(value: Any) -> None:
    assert encode(value) == rfc8785.dumps(value)


def test_escapes_are_those_of_the_reference() -> None:
    text = "".join(map(chr, [*range(0x100), 0x2028, 0x2029, 0xD7FF, 0xE000, 0xFFFD, 0x1F600]))
    assert encode({text[0x20:0x7F]: [text]}) == rfc8785.dumps({text[0x20:0x7F]: [text]})


@given(st.binary(max_size=60))
def test_whatever_is_read_is_written_the_same(data: bytes) -> None:
    try:
        value = decode(data)
    except FormatError:
        return
    assert encode(value) == data


def test_keys_are_sorted_by_utf16_as_the_rfc_says() -> None:
    # A character beyond U+FFFF is a surrogate pair there, so it sorts before U+FB33.
    keys = ["1", "\u20ac", "\U0001f600", "\ufb33"]
    text = encode(dict.fromkeys(reversed(keys), 0)).decode()
    assert text == "{" + ",".join(f'"{key}":0' for key in keys) + "}"


@pytest.mark.parametrize(
    "value", [1.0, [0.5], {"a": (float("nan"),)}, SAFE + 1, -SAFE - 1, {1: 2}, "\ud800", b"x", {"\ud800": 1}]
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(FormatError):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" 1",
        b"1 ",
        b"01",
        b"-0",
        b"1.0",
        b"1e3",
        b"NaN",
        b"Infinity",
        b"9007199254740992",
        b"9" * 5000,
        b'{"a":1,"a":1}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'"\\u0061"',
        b'"\\ud800"',
        b'"\xff"',
        b"\xef\xbb\xbf1",
        '"a"'.encode("utf-16"),
        b"[" * 60_000,
        b'"' + b"a" * SIZE_LIMIT + b'"',
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode(data)


def test_nesting_without_end_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(FormatError):
        encode(nested)


@given(st.binary(max_size=40))
def test_base64_survives_the_round_trip(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data


@pytest.mark.parametrize("text", ["QQ", "QR==", "QQ==\n", "Q Q==", "-_==", "QQ===", "Q", "é==="])
def test_other_spellings_of_base64_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        decode_base64(text)
