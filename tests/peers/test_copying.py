"""A copy of a relay keeps nothing that it has not verified."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.town import Town, play

from relayjax import backend
from relayjax.errors import IntegrityError
from relayjax.peers.copying import copy
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.follower import Follower


class Flipped:
    """A folder's exchange that changes the last byte of a file."""

    def __init__(self, folder: Path, wrong: str):
        self._inner, self._wrong = FolderExchange(folder), wrong

    def fetch(self, path: str, limit: int) -> bytes | None:
        data = self._inner.fetch(path, limit)
        if data and path.startswith(self._wrong):
            data = data[:-1] + bytes([data[-1] ^ 1])
        return data

    def offer(self, path: str, data: bytes) -> None:
        raise AssertionError(path)


@pytest.fixture
def follower(town: Town) -> Follower:
    """Of a finished relay of one round, all of which it has read."""
    town.begin(rounds=1)
    orderer = town.orderer()
    play(town, orderer, list(town.members()))
    town.close()
    member = town.home("p0").membership()
    follower = Follower(town.exchange, member.origin, member.log_key)
    follower.poll()
    return follower


@pytest.mark.parametrize("wrong", ["ledger/tile/entries/", "store/", "seals/", "ledger/checkpoint"])
def test_what_is_damaged_on_the_way_is_not_kept_and_fetched_again(town: Town, follower: Follower, wrong: str):
    member, target = town.home("p0").membership(), town.base / "copy"
    relay = member.origin, member.log_key, target
    with pytest.raises(IntegrityError):
        copy(Flipped(town.folder, wrong), follower, *relay)
    assert not (target / "ledger" / "checkpoint").exists()
    for path in filter(Path.is_file, target.rglob("*")):
        assert path.read_bytes() == (town.folder / path.relative_to(target)).read_bytes()
    copy(town.exchange, follower, *relay)
    assert backend.verify(target, keys=town.home("v1").keys()).audit.root == follower.root.hex()


def test_tiles_of_hashes_are_made_and_not_fetched(town: Town, follower: Follower):
    member, target = town.home("p0").membership(), town.base / "copy"
    copy(Flipped(town.folder, "ledger/tile/0/"), follower, member.origin, member.log_key, target)
    assert backend.verify(target, keys=town.home("v1").keys()).audit.root == follower.root.hex()
