"""What lies in the inbox that should not: it is refused, and nobody loses anything by it."""

from __future__ import annotations

import os

import pytest
from peers.town import Town, play

from relayjax import canonical, hashing, records
from relayjax.errors import FormatError
from relayjax.identity import Keys, sign
from relayjax.mechanism.state import Phase
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.voice import encode
from relayjax.records import Bid, Close, Deposit, Join, Record


def put(town: Town, data: bytes, name: str | None = None) -> str:
    """Puts bytes into the inbox, under their digest unless another name is given; returns the name."""
    name = name or f"{hashing.digest(data)}.json"
    (town.folder / "inbox" / name).write_bytes(data)
    return name


def said(keys: Keys, record: Record) -> bytes:
    return encode(sign(records.encode(record), keys))


def test_what_is_no_letter_is_removed_and_told(town: Town):
    town.begin(rounds=2)
    orderer = town.orderer()
    inbox = town.folder / "inbox"
    honest = {path.name for path in inbox.iterdir()}
    junk = b"no letter"
    put(town, junk)
    put(town, junk, f"{'0' * 64}.json")
    put(town, junk, "note.txt")
    put(town, canonical.encode({"padding": "x" * 70_000}))
    (inbox / "folder").mkdir()
    (inbox / "folder" / "file").write_bytes(junk)
    (inbox / f"{'1' * 64}.json").symlink_to(town.home("v0").path / "member.json")
    os.mkfifo(inbox / f"{'2' * 64}.json")
    orderer.act()
    assert len(town.told) == 6 and any("more than" in line for line in town.told)
    assert (town.home("v0").path / "member.json").is_file()
    assert len(honest) == len(orderer.state.members) - 1
    assert [path.name for path in inbox.iterdir()] == ["folder"]


def test_forged_replayed_and_untimely_records_are_refused_with_reasons(town: Town):
    town.begin(rounds=2)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.number == 2)
    p0, stranger = town.home("p0").keys(), Keys.generate("stranger")
    impostor = Keys(name="p0", _signing=stranger._signing, receiving=stranger.receiving)
    other_type = sign(records.encode(Bid("p0", 2, 1)), p0, "application/other")
    assert orderer.state.round.phase is Phase.AUCTION and not list((town.folder / "inbox").iterdir())
    before, state = len(town.told), orderer.state
    unverified = [
        put(town, said(impostor, Bid("p0", 2, 1_000_000))),
        put(town, encode(other_type)),
        put(town, said(p0, Bid("p1", 2, 1_000_000))),
    ]
    refused = {
        put(town, said(p0, Bid("p0", 1, 2_000_000))): "round 1 is not open",
        put(town, said(p0, Deposit("p0", 2, 1_000_000))): "belongs to the deposit phase",
        put(town, said(p0, Bid("p0", 2, 10**15))): "exceeds the balance",
        put(town, said(p0, Close("p0", 2, "auction"))): "only the ordering maintainer",
        put(town, said(stranger, Bid("stranger", 2, 1))): "has not joined",
        put(town, said(impostor, Join("p0", "participant", *_keys(impostor)))): "taken",
        put(town, said(stranger, Join("stranger", "participant", *_keys(stranger)))): "every place",
    }
    orderer.act()
    assert orderer.state == state
    inbox = town.folder / "inbox"
    for name, reason in refused.items():
        assert reason in (inbox / name.replace(".json", ".why")).read_text(), name
    for name in unverified:
        assert not (inbox / name.replace(".json", ".why")).exists()
    assert not list(inbox.glob("*.json")) and len(town.told) == before + len(refused) + len(unverified)
    play(town, orderer, members)
    assert all(set(f.facts.pairs) == set(f.facts.submissions) for f in orderer._chronicle.history.rounds)


def _keys(keys: Keys) -> tuple[str, str]:
    return keys.public.signing, keys.public.receiving


def test_a_record_handed_in_again_after_it_was_logged_is_only_removed(town: Town):
    town.begin(rounds=2)
    orderer, members = town.orderer(), town.members()
    join = next((town.folder / "inbox").iterdir()).read_bytes()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is not Phase.AUCTION)
    before = list(town.told)
    name = put(town, join)
    orderer.act()
    assert not (town.folder / "inbox" / name).exists() and town.told == before and not town.why()


def test_who_was_refused_is_told(town: Town):
    town.begin(rounds=2)
    orderer = town.orderer()
    orderer.act()
    assert town.join("p3") is None
    orderer.act()
    assert "every place of a participant is taken" in str(town.join("p3"))


@pytest.mark.parametrize(
    "path", ["../out", "inbox/../../out", "/etc/passwd", "inbox//x", "", "inbox/.x", "a/b\0c"]
)
def test_no_path_leads_out_of_a_folder(town: Town, path: str):
    exchange = FolderExchange(town.folder)
    with pytest.raises(FormatError, match="parted by slashes"):
        exchange.fetch(path, 10)
    with pytest.raises(FormatError, match="parted by slashes"):
        exchange.offer(path, b"")


def test_a_link_in_the_way_is_not_followed_out_of_a_folder(town: Town):
    outside = town.base / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    town.folder.mkdir()
    (town.folder / "handover").symlink_to(outside)
    (town.folder / "secret").symlink_to(outside / "secret")
    exchange = FolderExchange(town.folder)
    with pytest.raises(FormatError, match="leads out"):
        exchange.fetch("handover/secret", 10)
    with pytest.raises(FormatError, match="leads out"):
        exchange.offer("handover/new", b"data")
    assert exchange.fetch("secret", 10) is None
    assert [path.name for path in outside.iterdir()] == ["secret"]
