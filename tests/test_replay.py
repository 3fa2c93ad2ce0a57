"""Replay and history: a log is believed entry by entry, and the first wrong one is named."""

from __future__ import annotations

import dataclasses

import pytest

from relayjax import history, records
from relayjax.errors import IntegrityError
from relayjax.identity import Keys, sign
from relayjax.ledger.entry import Entry, chain, digest
from relayjax.mechanism.state import Topology
from relayjax.records import Bid, Record, Settle
from relayjax.relay.members import Members
from relayjax.replay import replay


def said(entries: list[bytes]) -> list[Record]:
    return [records.decode(Entry.decode(entry).envelope.payload) for entry in entries]


def first_wrong(entries: list[bytes]) -> str:
    with pytest.raises(IntegrityError) as caught:
        list(replay(entries))
    return caught.value.where


def spoken(entries: list[bytes], index: int, record: Record, keys: Keys) -> list[bytes]:
    """The log with another record at an index, signed and chained, and nothing after it."""
    envelope = sign(records.encode(record), keys)
    return entries[:index] + chain([envelope], index, digest(entries[index - 1]))


def test_replay_gives_every_record_with_the_state_after_it(played_entries):
    steps = list(replay(played_entries))
    assert [step.index for step in steps] == list(range(len(played_entries)))
    assert [step.record for step in steps] == said(played_entries)
    assert steps[-1].state.finished


def test_a_flipped_bit_is_found_at_its_entry(played_entries):
    for index in range(0, len(played_entries), 7):
        damaged = bytearray(played_entries[index])
        damaged[len(damaged) // 3] ^= 4
        where = first_wrong([*played_entries[:index], bytes(damaged), *played_entries[index + 1 :]])
        assert f"entry {index}" in where or f"entry {index + 1}" in where


@pytest.mark.parametrize("index", [0, 1, 5, 20])
def test_a_missing_or_repeated_entry_is_found(played_entries, index):
    assert f"entry {index}" in first_wrong(played_entries[:index] + played_entries[index + 1 :])
    assert f"entry {index + 1}" in first_wrong(played_entries[: index + 1] + played_entries[index:])


def test_nobody_speaks_in_the_name_of_another(played_entries):
    index, bid = next((i, r) for i, r in enumerate(said(played_entries)) if isinstance(r, Bid))
    thief = Keys.derive(bid.author, b"another seed")
    assert first_wrong(spoken(played_entries, index, bid, thief)) == f"entry {index}"
    stranger = dataclasses.replace(bid, author="stranger")
    keys = Keys.derive("stranger", b"x")
    assert first_wrong(spoken(played_entries, index, stranger, keys)) == f"entry {index}"


def test_a_record_against_the_rules_is_found_though_it_is_signed(played_entries):
    genesis, *_ = said(played_entries)
    orderer = Members.derive(next(replay(played_entries)).state.schedule, 7).orderer
    assert orderer.name == genesis.author
    index, settle = next((i, r) for i, r in enumerate(said(played_entries)) if isinstance(r, Settle))
    richer = dataclasses.replace(settle, transfers=(*settle.transfers, ("mint", "p0", 1, "gift")))
    assert first_wrong(spoken(played_entries, index, richer, orderer)) == f"entry {index}"


def test_a_log_starts_with_its_genesis(played_entries):
    join = Entry.decode(played_entries[1]).envelope
    assert first_wrong(chain([join])) == "entry 0"
    with pytest.raises(IntegrityError, match="no entries"):
        history.read([])


def test_history_tells_every_settled_round(played_entries):
    past = history.read(played_entries)
    assert past.records == tuple(said(played_entries))
    assert [settled.number for settled in past.rounds] == list(range(1, past.state.round.number))
    for settled in past.rounds:
        braid = settled.number in past.state.schedule.braid_rounds
        assert settled.topology is (Topology.BRAID if braid else Topology.CHAIN)
        assert {*settled.settle.accepted, *settled.settle.refused} == set(settled.facts.pairs)


def test_a_run_cut_short_is_read_to_its_last_record(played_entries):
    last = next(i for i, r in enumerate(said(played_entries)) if isinstance(r, Settle))
    past = history.read(played_entries[: last + 3])
    assert len(past.rounds) == 1 and past.state.round.number == 2
