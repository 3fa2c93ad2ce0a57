"""A relay of separate members over one folder, to its end, whoever is killed when."""

from __future__ import annotations

import errno
from pathlib import Path

from peers.town import Town, play

from relayjax import backend, files
from relayjax.errors import DiskError
from relayjax.filesystem import Filesystem
from relayjax.history import History
from relayjax.peers.exchange import FolderExchange


def check(town: Town, rounds: int, rescored: bool = False) -> History:
    """The finished relay is right, and everybody has followed it to the same root."""
    members = town.members()
    for member in members:
        member.step()
    found = backend.verify(town.folder, keys=town.home("v1").keys(), rescored=rescored)
    assert {member.follower.root.hex() for member in members} == {found.audit.root}
    assert len(found.audit.history.rounds) == rounds and found.audit.weights > 1
    assert not rescored or (found.rescore and found.rescore.scores > 0 and found.rescore.values > 0)
    return found.audit.history


def nobody_lost(history: History) -> bool:
    """Whether all who were matched have deposited, committed and revealed, and all maintainers reported."""
    facts = [settled.facts for settled in history.rounds]
    trained = all(set(f.pairs) == set(f.deposits) == set(f.commitments) == set(f.submissions) for f in facts)
    return trained and all(set(f.scores) == {"v0", "v1"} for f in facts)


def test_everybody_ends_with_the_same_root(town: Town):
    town.begin()
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members)
    town.close()
    history = check(town, rounds=4, rescored=True)
    assert nobody_lost(history) and len(history.state.versions) > 2
    assert not list((town.folder / "handover").iterdir()) and not list((town.folder / "inbox").iterdir())
    licensed = [name for name in history.state.licences if name.startswith("p")]
    assert backend.open_head(town.folder, town.home(licensed[0]).keys())
    assert not any("keys" in path.parts or "scratch" in path.parts for path in town.folder.rglob("*"))


def test_everybody_is_killed_after_everything_it_does(town: Town):
    town.begin(rounds=2)
    steps = 0
    finished = False
    while not finished:
        orderer = town.orderer()
        orderer.act()
        finished = orderer.state.finished
        town.close()
        for member in town.members():
            member.step()
        steps += 1
        assert steps < 100
    assert nobody_lost(check(town, rounds=2))


class Refusing(FolderExchange):
    """Lets nobody write a file that was not tried to be written before: a kill just before each hand-in."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.tried: set[str] = set()

    def offer(self, path: str, data: bytes) -> None:
        kind = path if path.startswith("inbox") else path.rpartition("/")[2]
        if kind not in self.tried:
            self.tried.add(kind)
            raise DiskError(path, "killed", "start again")
        super().offer(path, data)


def test_members_killed_before_each_hand_in_say_the_same_again(town: Town):
    town.begin(rounds=2)
    orderer, members = town.orderer(), town.members()
    town.exchange = Refusing(town.folder)
    kills = 0
    for _ in range(100):
        if orderer.state.finished:
            break
        orderer.act()
        for member in members:
            try:
                member.step()
            except DiskError:
                member.restart()
                kills += 1
    town.close()
    assert kills > 15
    assert nobody_lost(check(town, rounds=2))


class Failing(Filesystem):
    """Refuses the n-th rename, as a disk that is full just then."""

    def __init__(self, n: int):
        self.left = n

    def rename(self, source: Path, target: Path) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.ENOSPC, "full")
        super().rename(source, target)


def test_the_orderer_is_killed_in_the_middle_of_what_it_writes(town: Town):
    town.begin(rounds=2)
    orderer, members = town.orderer(), town.members()
    kills, n = 0, 1
    while not orderer.state.finished:
        assert kills < 500 and n < 100
        try:
            with files.using(failing := Failing(n)):
                orderer.act()
        except DiskError:
            kills, n = kills + 1, n + 1
            town.close()
            orderer = town.orderer()
            continue
        n = n + 1 if failing.left <= 0 else 1  # what is handed over is tried again by itself, later
        town.now += town.patience / 5 if n > 1 else 0
        for member in members:
            member.step()
    town.close()
    assert kills > 25
    assert nobody_lost(check(town, rounds=2))
