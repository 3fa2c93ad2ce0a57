"""Records: equal records and equal bytes are the same thing, and nothing else is read."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax import canonical, records
from relayjax.errors import FormatError
from relayjax.identity import Keys, sign
from relayjax.ledger.entry import Entry
from relayjax.records import (
    KINDS,
    SIZE_LIMIT,
    Bid,
    Genesis,
    Match,
    Record,
    Score,
    Settle,
    commitment,
    report_commitment,
)

SAFE = 2**53 - 1
TEXT = st.text(max_size=8)
JSON = st.recursive(TEXT | st.integers(-SAFE, SAFE), lambda inner: st.lists(inner, max_size=3), max_leaves=4)


def strategy(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's annotation."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(strategy(args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(strategy, args))
    if origin is dict:
        return st.dictionaries(TEXT, JSON, max_size=3)
    if origin is list:
        return st.lists(JSON, max_size=3)
    return TEXT if kind is str else st.integers(-SAFE, SAFE)


def made(cls: type[Record]) -> st.SearchStrategy[Record]:
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{f.name: strategy(hints[f.name]) for f in dataclasses.fields(cls)})


RECORDS = st.one_of([made(cls) for cls in KINDS.values()])


@settings(max_examples=300)
@given(RECORDS)
def test_every_kind_survives_the_round_trip(record: Record) -> None:
    assert records.decode(records.encode(record)) == record


@settings(max_examples=300)
@given(RECORDS, st.data())
def test_changed_bytes_are_refused_or_say_something_else(record: Record, data: st.DataObject) -> None:
    payload = bytearray(records.encode(record))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] ^= data.draw(st.integers(1, 255))
    try:
        other = records.decode(bytes(payload))
    except FormatError:
        return
    assert other != record and records.encode(other) == payload


@pytest.mark.parametrize(
    "text",
    [
        b'{"amount":1,"author":"a","kind":"bid","round":1} ',
        b'{"amount":1, "author":"a","kind":"bid","round":1}',
        b'{"author":"a","amount":1,"kind":"bid","round":1}',
        b'{"amount":1,"amount":1,"author":"a","kind":"bid","round":1}',
        b'{"amount":1.0,"author":"a","kind":"bid","round":1}',
        b'{"amount":1e0,"author":"a","kind":"bid","round":1}',
        b'{"amount":-0,"author":"a","kind":"bid","round":1}',
        b'{"amount":NaN,"author":"a","kind":"bid","round":1}',
        b'{"amount":9007199254740992,"author":"a","kind":"bid","round":1}',
        b'{"amount":1' + b"0" * 5000 + b',"author":"a","kind":"bid","round":1}',
        b'{"amount":1,"author":"\\u0061","kind":"bid","round":1}',
        b'{"amount":true,"author":"a","kind":"bid","round":1}',
        b'{"amount":"1","author":"a","kind":"bid","round":1}',
        b'{"amount":null,"author":"a","kind":"bid","round":1}',
        b'{"amount":[1],"author":"a","kind":"bid","round":1}',
        b'{"amount":1,"author":7,"kind":"bid","round":1}',
        b'{"amount":1,"author":"a","kind":"bid"}',
        b'{"amount":1,"author":"a","extra":1,"kind":"bid","round":1}',
        b'{"amount":1,"author":"a","kind":"bit","round":1}',
        b'{"amount":1,"author":"a","kind":["bid"],"round":1}',
        b'{"amount":1,"author":"a","kind":{},"round":1}',
        b'{"amount":1,"author":"a","round":1}',
        b'{"author":"a","kind":"match","pairs":{"a":1},"round":1}',
        b'{"author":"a","kind":"match","pairs":[["a",1,2]],"round":1}',
        b'{"author":"a","kind":"match","pairs":[["a"]],"round":1}',
        b'{"author":"a","kind":"match","pairs":[["a",true]],"round":1}',
        b'{"author":"a","kind":"match","pairs":"a","round":1}',
        b"[]",
        b"null",
        b"",
        b"\xff",
        b"[" * 40_000,
    ],
)
def test_any_other_spelling_shape_or_type_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        records.decode(text)


@pytest.mark.parametrize("amount", [1.0, 2**53, -(2**53)])
def test_what_has_no_canonical_form_is_not_written(amount: Any) -> None:
    with pytest.raises(FormatError):
        records.encode(Bid("a", 1, amount))


def match_of(size: int) -> Match:
    """A match whose bytes number exactly `size`."""
    empty = len(records.encode(Match("a", 1, (("", 1),))))
    return Match("a", 1, (("n" * (size - empty), 1),))


def test_the_longest_record_fits_into_a_log_entry_and_no_longer_one_is_made() -> None:
    keys = Keys.derive("n" * 32, b"tests")
    payload = records.encode(match_of(SIZE_LIMIT))
    entry = Entry(2**53 - 1, "f" * 64, sign(payload, keys)).encode()
    assert len(entry) <= canonical.SIZE_LIMIT
    assert Entry.decode(entry).envelope.payload == payload
    with pytest.raises(FormatError, match="48001 bytes, at most 48000"):
        records.encode(match_of(SIZE_LIMIT + 1))
    with pytest.raises(FormatError):
        records.decode(payload + b" ")


def test_bytes_of_a_record_are_pinned() -> None:
    settle = Settle("v0", 1, ("p0",), (), (("mint", "pot", 5, "emission"),), ((1, "ab", 0),), (1,), ())
    assert records.encode(settle) == (
        b'{"accepted":["p0"],"author":"v0","heads":[1],"kind":"settle","licences":[],"refused":[],'
        b'"round":1,"transfers":[["mint","pot",5,"emission"]],"versions":[[1,"ab",0]]}'
    )


def test_a_commitment_binds_every_part_of_it() -> None:
    parts: list[Any] = [b"\0" * 16, "aa" * 32, "bb" * 32, 1, "p0"]
    others: list[Any] = [b"\1" * 16, "bb" * 32, "aa" * 32, 2, "p1"]
    seen = {commitment(*parts)}
    for place, other in enumerate(others):
        seen.add(commitment(*[*parts[:place], other, *parts[place + 1 :]]))
    assert len(seen) == 6


def test_a_pledge_binds_every_field_of_the_report() -> None:
    score = Score("v0", 1, "00" * 16, (("0", 1),), (("p0", 2),), (("p0", -4),), (("p0", 1),), (("p0", 3),))
    others: list[Any] = [
        "v1",
        2,
        "11" * 16,
        (("0", 2),),
        (("p0", 3),),
        (("p0", 1),),
        (("p0", 2),),
        (("p0", 4),),
    ]
    seen = {report_commitment(score)}
    for field, other in zip(dataclasses.fields(score), others, strict=True):
        seen.add(report_commitment(dataclasses.replace(score, **{field.name: other})))
    assert len(seen) == 9
    assert blake3(records.encode(score)).hexdigest() not in seen  # it has a context of its own


def test_the_genesis_keeps_nested_json() -> None:
    genesis = Genesis("v0", {"relay": {"n": [1, 2]}}, [{"shape": [3]}], "00", "11", "22", "33")
    assert records.decode(records.encode(genesis)) == genesis
