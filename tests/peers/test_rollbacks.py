"""A log that shows less than before does not end a member's process, unless it goes on doing so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from peers.town import Town, play

from relayjax import peers
from relayjax.errors import RollbackError, SplitViewError
from relayjax.ledger.evidence import Evidence, verify_evidence
from relayjax.ledger.note import signer_key
from relayjax.mechanism.state import Phase
from relayjax.peers import places
from relayjax.peers.events import Event, Finished, Told
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.joining import follow
from relayjax.peers.rollbacks import Rollbacks


class Replaying(FolderExchange):
    """A folder that is an old copy of itself for some looks at its log."""

    def __init__(self, folder: Path, old: Path, looks: int):
        super().__init__(folder)
        self.old, self.looks = FolderExchange(old), looks

    def fetch(self, path: str, limit: int) -> bytes | None:
        self.looks -= path == CHECKPOINT
        return self.old.fetch(path, limit) if self.looks >= 0 else super().fetch(path, limit)


@pytest.fixture
def old(town: Town, tmp_path: Path) -> Path:
    """A finished relay of one round, which all have followed to its end, and a copy from before the end."""
    town.begin(rounds=1)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.REVEAL)
    shutil.copytree(town.folder, tmp_path / "old")
    play(town, orderer, members)
    for member in members:
        member.follower.poll()
    town.close()
    return tmp_path / "old"


def events(
    town: Town, exchange: FolderExchange, monkeypatch: pytest.MonkeyPatch, give_up: float
) -> list[Event]:
    """What p0 tells until it has run to its end."""
    monkeypatch.setattr(places, "exchange_at", lambda _: exchange)
    told: list[Event] = []
    with peers.open_participant("anywhere", town.home("p0").path, shard=0, warm=False) as p0:
        p0.subscribe(told.append)
        try:
            assert p0.run(0.01, give_up=give_up)
        finally:
            lines = [event.text for event in told if isinstance(event, Told)]
            assert any("and now shows" in line and "asking again" in line for line in lines)
    return told


def test_an_old_checkpoint_is_refused_and_asked_again_and_the_member_goes_on(
    town: Town, old: Path, monkeypatch: pytest.MonkeyPatch
):
    told = events(town, Replaying(town.folder, old, looks=3), monkeypatch, give_up=600.0)
    assert isinstance(told[-1], Finished)
    assert list(town.home("p0").path.glob("split-view-*.json"))


def test_a_log_that_goes_on_showing_less_is_given_up(town: Town, old: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RollbackError, match="and now shows"):
        events(town, Replaying(town.folder, old, looks=10**6), monkeypatch, give_up=0.05)


def test_a_smaller_log_of_another_history_convicts_and_an_old_one_does_not(town: Town, tmp_path: Path):
    town.begin(rounds=1)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.DEPOSIT)
    town.close()
    other = Town(tmp_path / "elsewhere", town.tools)
    shutil.copytree(town.base, other.base, ignore=shutil.ignore_patterns("elsewhere"))
    elsewhere, few = other.orderer(), other.members("p2", "v1")
    play(other, elsewhere, few, until=lambda: "p2" in elsewhere.state.round.deposits)
    other.close()
    orderer = town.orderer()
    play(town, orderer, town.members("p0", "v1"), until=lambda: "p0" in orderer.state.round.deposits)
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.REVEAL)
    home = town.home("p0")
    exchange = Replaying(town.folder, other.folder, looks=0)
    follower = follow(exchange, home)
    assert follower.poll()
    exchange.looks = 1
    with pytest.raises(SplitViewError, match="another history") as caught:
        follower.poll()
    assert not isinstance(caught.value, RollbackError)
    member = home.membership()
    key = signer_key(member.origin, member.log_key)
    assert "has rewritten its first" in verify_evidence(Evidence.decode(caught.value.evidence), key)


def test_the_time_counts_from_when_less_was_shown_first_until_all_is_shown_again():
    now, error = [0.0], RollbackError("log", "it had 3 entries and now shows 2", b"")
    rollbacks = Rollbacks(10.0, lambda: now[0])
    for now[0] in (0.0, 5.0, 9.9):
        assert "asking again for 10 s" in rollbacks.outlast(error)
    rollbacks.end()
    for now[0] in (12.0, 21.9):
        rollbacks.outlast(error)
    now[0] = 22.0
    with pytest.raises(RollbackError):
        rollbacks.outlast(error)
