"""A relay whose maintainers take over from one another, played in this process."""

from __future__ import annotations

from collections.abc import Callable

from peers.town import Member, Town

from relayjax import backend
from relayjax.history import History
from relayjax.mechanism.state import Phase, State
from relayjax.mechanism.succession import successor
from relayjax.peers.office import Office
from relayjax.peers.orderer import Orderer

PEOPLE = ("p0", "p1", "p2", "v0", "v1", "v2")
"""Participants and maintainers, the founder first among these."""


class Citizen(Member):
    """A member of any kind; `vanish` is a kill for good, `restart` a new process."""

    def maintaining(self) -> Office:
        return self.town.office(self.name)

    def vanish(self) -> None:
        if isinstance(self.worker, Office):
            self.worker.__exit__()
        self.worker = None

    @property
    def orderer(self) -> Orderer | None:
        return self.worker.orderer if isinstance(self.worker, Office) else None


class Republic:
    """All who are there, stepped in turn."""

    def __init__(self, town: Town, rounds: int):
        self.town = town
        town.maintainers = ("v1", "v2")
        town.begin(rounds=rounds)
        self.people = {name: Citizen(town, name) for name in PEOPLE}
        self.here = list(PEOPLE)

    @property
    def state(self) -> State:
        """The newest that anybody here has followed."""
        return max((self.people[name] for name in self.here), key=lambda one: one.follower.size).state

    @property
    def orderers(self) -> list[str]:
        return [name for name in self.here if self.people[name].orderer]

    def turn(self, until: Callable[[], bool] = lambda: False) -> None:
        for name in list(self.here):
            if until():
                return
            line = self.people[name].step()
            if line:
                self.town.told.append(f"{name}: {line}")

    def play(self, until: Callable[[], bool], turns: int = 60) -> None:
        """Turns until something holds; time passes only where nothing happens."""
        idle, size = 0, 0
        for _ in range(turns):
            if until():
                return
            self.turn(until)
            grown = max(self.people[name].follower.size for name in self.here)
            idle, size = (0 if grown > size else idle + 1), grown
            if idle > 2:
                self.town.now += self.town.patience + 1
        raise AssertionError(f"stuck in {self.state.round}: {self.town.told[-20:]}")

    def line(self) -> tuple[str, str]:
        """Who orders after the founder, and who after that."""
        return successor(self.state, 1), successor(self.state, 2)

    def lose(self, *names: str) -> None:
        for name in names:
            self.people[name].vanish()
            self.here.remove(name)

    def return_(self, name: str) -> None:
        self.people[name].restart()
        self.here.append(name)

    def finish(self) -> None:
        self.play(lambda: all(self.people[name].state.finished for name in self.here), turns=300)

    def check(self, rounds: int, rescored: bool = False) -> History:
        """Everything at rest is right, for everybody the same, and the log's key is still the founder's."""
        for name in self.here:
            self.people[name].vanish()
            self.people[name].follower.poll()
        key = self.town.home("p0").membership().log_key
        found = backend.verify(
            self.town.folder, keys=self.town.home("v2").keys(), log_key=key, rescored=rescored
        )
        assert {self.people[name].follower.root.hex() for name in self.here} == {found.audit.root}
        assert len(found.audit.history.rounds) == rounds and found.audit.weights > 1
        return found.audit.history

    def at(self, round: int, phase: Phase) -> Callable[[], bool]:
        """Whether the log has come to a phase."""

        def reached() -> bool:
            person = self.people[self.here[0]]
            person.follower.poll()
            return (person.state.round.number, person.state.round.phase) >= (round, phase)

        return reached

    def handed(self, stage: str, name: str = "*") -> list[str]:
        """Votes or complaints that lie there."""
        return sorted(path.name for path in (self.town.folder / "handover").glob(f"*-{stage}-*-{name}.json"))
