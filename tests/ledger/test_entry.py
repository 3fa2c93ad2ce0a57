"""Log entries and their chain."""

from __future__ import annotations

import pytest

from relayjax import canonical
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys, sign
from relayjax.ledger.entry import FIRST_PREV, Entry, chain, digest, verify_chain

KEYS = Keys.derive("ada", b"test")
ENVELOPES = [sign(b"record %d" % i, KEYS) for i in range(4)]
ENTRIES = chain(ENVELOPES)


def test_a_chain_verifies_from_any_point() -> None:
    decoded = verify_chain(ENTRIES)
    assert [entry.envelope for entry in decoded] == ENVELOPES
    assert decoded[0].prev == FIRST_PREV
    assert verify_chain(ENTRIES[2:], 2, digest(ENTRIES[1])) == decoded[2:]
    assert chain(ENVELOPES[2:], 2, digest(ENTRIES[1])) == ENTRIES[2:]
    assert [Entry.decode(data).encode() for data in ENTRIES] == ENTRIES


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        (ENTRIES[1:], 0),
        ([ENTRIES[0], *ENTRIES[2:]], 1),
        ([ENTRIES[0], ENTRIES[2], ENTRIES[1]], 1),
        ([*ENTRIES[:2], ENTRIES[2][:-1], ENTRIES[3]], 2),
        ([ENTRIES[0], Entry(1, digest(ENTRIES[0]), ENVELOPES[3]).encode(), ENTRIES[2]], 2),
        ([ENTRIES[0], Entry(1, FIRST_PREV, ENVELOPES[1]).encode()], 1),
    ],
)
def test_a_broken_chain_names_the_entry(entries: list[bytes], named: int) -> None:
    with pytest.raises(IntegrityError, match=f"^relay.log, entry {named}:"):
        verify_chain(entries, where="relay.log")


@pytest.mark.parametrize(
    "change",
    [
        {"index": -1},
        {"index": True},
        {"index": "0"},
        {"prev": "0" * 63},
        {"prev": "A" * 64},
        {"envelope": None},
        {"more": 1},
    ],
)
def test_a_malformed_entry_is_refused(change: dict[str, object]) -> None:
    good = canonical.decode(ENTRIES[0])
    with pytest.raises(FormatError):
        Entry.decode(canonical.encode({**good, **change}))
