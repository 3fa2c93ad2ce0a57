"""A relay whose maintainers each keep a copy of their own and serve it; nobody sees another's folder."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from peers.town import Tools, Town

from relayjax import backend
from relayjax.errors import ExchangeError
from relayjax.history import History
from relayjax.mechanism.state import Phase, State
from relayjax.mechanism.succession import successor
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import serving
from relayjax.peers.mirror import Mirror
from relayjax.peers.office import Office, Waiting
from relayjax.peers.participant import Participant
from relayjax.peers.several import Place, Several

MAINTAINERS, PARTICIPANTS = ("v0", "v1", "v2"), ("p0", "p1", "p2")


class _Server(RelayServer):
    """A server that is gone with its connections when it is gone, as one of a process of its own is."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.lines = [*getattr(self, "lines", []), request]
        super().process_request(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        for line in getattr(self, "lines", []):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


class Person:
    """Any member: a town of its own, of which only the home and the exchange count."""

    def __init__(self, union: Union, name: str):
        self.union, self.name = union, name
        self.town = Town(union.base, union.tools)
        self.home = self.town.home(name)
        self.stack = ExitStack()
        self.start()

    def start(self) -> None:
        """A new process."""
        several = Several(self.union.places(self.name))
        self.town.exchange = several  # pyright: ignore[reportAttributeAccessIssue]
        if not self.home.exists:
            assert self.town.join(self.name) is None
        self.worker: Participant | Office | None = None
        self.follower = self.town.follower(self.name)

    def vanish(self) -> None:
        """A kill for good."""
        self.stack.close()
        self.worker = None

    @property
    def state(self) -> State:
        state = self.follower.chronicle.state
        assert state is not None
        return state

    @property
    def finished(self) -> bool:
        state = self.follower.chronicle.state
        return state is not None and state.finished

    def step(self) -> str | None:
        self.follower.poll()
        if self.follower.chronicle.state is None:
            return None
        if self.name not in self.state.members:
            return self.town.join(self.name)
        if self.worker is None:
            self.worker = self.town.participant(self.name)
        assert isinstance(self.worker, Participant)
        return self.worker.act(self.state)


class Visitor(Person):
    """A maintainer without a copy of its own, who cannot be reached."""

    def step(self) -> str | None:
        self.follower.poll()
        if self.follower.chronicle.state is None or self.name not in self.state.members:
            return None
        if self.worker is None:
            tools, clock = self.town.tools, lambda: self.union.now
            waiting = Waiting(self.union.patience, 5 * self.union.patience, clock)
            codec = tools.workshop.codec
            office = Office(self.home, self.town.exchange, tools.validator, codec, waiting)
            self.worker = self.stack.enter_context(office)
        assert isinstance(self.worker, Office)
        return self.worker.act(self.follower.chronicle.history)[1]


class Keeper(Person):
    """A maintainer with its copy, which it serves."""

    @property
    def folder(self) -> Path:
        return self.union.folder(self.name)

    @property
    def office(self) -> Office:
        assert isinstance(self.worker, Office)
        return self.worker

    def start(self) -> None:
        super().start()
        union, name = self.union, self.name
        self.town.exchange = FolderExchange(self.folder)
        self.follower = self.town.follower(name)
        tell = lambda line: union.told.append(f"{name}: {line}")  # noqa: E731
        clock = lambda: union.now  # noqa: E731
        waiting = Waiting(union.patience, 5 * union.patience, clock)
        tools, keys = self.town.tools, self.home.keys()
        places = union.places(name)
        self.mirror = Mirror(self.home, keys, self.folder, places, waiting.takeover, clock, tell)
        codec = tools.workshop.codec
        office = Office(self.home, self.town.exchange, tools.validator, codec, waiting, tell, self.mirror)
        self.worker = self.stack.enter_context(office)
        union.show(self)
        self.mirror.step()

    def serve(self) -> None:
        """Shows its copy over HTTP."""
        union, name = self.union, self.name
        tell = lambda line: union.told.append(f"{name}: {line}")  # noqa: E731
        server = _Server(("127.0.0.1", union.ports.get(name, 0)), self.folder, self.awaited, report=tell)
        union.ports[name] = self.stack.enter_context(serving(server)).server_address[1]

    def awaited(self) -> Awaited:
        limit = self.town.tools.workshop.codec.max_size(self.town.tools.trainer.leg.baton.size)
        if not isinstance(self.worker, Office) or (state := self.office.newest) is None:
            return Awaited({}, limit)
        found = Awaited.of(state, limit)
        return found if self.office.orderer else replace(found, paths={})

    def step(self) -> str | None:
        self.mirror.step()
        self.follower.poll()
        if self.follower.chronicle.state is None:
            return None
        if self.name not in self.state.members:
            return self.town.join(self.name)
        return self.office.act(self.follower.chronicle.history)[1]


class Union:
    """All who are there, stepped in turn."""

    def __init__(self, base: Path, tools: Tools, rounds: int, visitors: tuple[str, ...] = ()):
        self.base, self.tools, self.keepers = base, tools, tuple(n for n in MAINTAINERS if n not in visitors)
        self.now, self.patience, self.told = 0.0, 100.0, list[str]()
        self.ports: dict[str, int] = {}
        founder = Town(base, tools)
        founder.maintainers = MAINTAINERS[1:]
        founder.begin(rounds=rounds, join_all=False)
        self.people: dict[str, Person] = {}
        for name in self.keepers:
            self.people[name] = Keeper(self, name)
        for name in self.keepers:  # now that all addresses are known
            self.people[name].vanish()
            self.people[name].start()
        for name in visitors:
            self.people[name] = Visitor(self, name)
        for name in PARTICIPANTS:
            self.people[name] = Person(self, name)
        self.here = [*MAINTAINERS, *PARTICIPANTS]

    def show(self, keeper: Keeper) -> None:
        """Has a maintainer show its copy to others."""
        keeper.serve()

    def folder(self, name: str) -> Path:
        return self.base / ("relay" if name == "v0" else f"{name}-copy")

    def places(self, but: str = "") -> list[Place]:
        """All addresses that somebody uses."""
        urls = {name: f"http://127.0.0.1:{port}" for name, port in self.ports.items() if name != but}
        return [self.place(name, url) for name, url in sorted(urls.items())]

    def place(self, name: str, url: str) -> Place:
        return Place(name, HttpExchange(url, timeout=5.0, attempts=1), lambda: self.now)

    def keeper(self, name: str) -> Keeper:
        person = self.people[name]
        assert isinstance(person, Keeper)
        return person

    def newest(self, name: str) -> State | None:
        """What a maintainer knows, before others do where it orders."""
        return self.keeper(name).office.newest

    @property
    def orderers(self) -> list[str]:
        return [name for name in self.here if name in self.keepers and self.keeper(name).office.orderer]

    def turn(self, until: Callable[[], bool] = lambda: False) -> None:
        for name in list(self.here):
            if until():
                return
            try:
                line = self.people[name].step()
            except ExchangeError as error:
                line = str(error)
            if line:
                self.told.append(f"{name}: {line}")

    def play(self, until: Callable[[], bool], turns: int = 80) -> None:
        """Turns until something holds; time passes only where nothing happens."""
        idle, size = 0, 0
        for _ in range(turns):
            if until():
                return
            self.turn(until)
            grown = sum(self.people[name].follower.size for name in self.here)
            idle, size = (0 if grown > size else idle + 1), grown
            if idle > 3:
                self.now += self.patience + 1
        where = {name: person.follower.size for name, person in self.people.items()}
        raise AssertionError(f"stuck at {where}: {self.told[-20:]}")

    def line(self) -> tuple[str, str]:
        """Who orders after the founder, and who after that."""
        state = self.people["p0"].state
        return successor(state, 1), successor(state, 2)

    def lose(self, *names: str) -> None:
        for name in names:
            self.people[name].vanish()
            self.here.remove(name)

    def return_(self, name: str) -> None:
        self.people[name].start()
        self.here.append(name)

    def finish(self) -> None:
        self.play(lambda: all(self.people[name].finished for name in self.here), turns=400)

    def at(self, round: int, phase: Phase, name: str = "p0") -> Callable[[], bool]:
        """Whether somebody has seen the log come to a phase."""

        def reached() -> bool:
            state = self.people[name].follower.chronicle.state
            return state is not None and (state.round.number, state.round.phase) >= (round, phase)

        return reached

    def check(self, rounds: int) -> History:
        """Every copy that is left is right and whole, and everybody has the same root."""
        kept = [name for name in self.here if name in self.keepers]
        for name in kept:
            self.keeper(name).mirror.step()
        for name in self.here:
            self.people[name].follower.poll()
        roots = {self.people[name].follower.root.hex() for name in self.here}
        key = self.people["p0"].home.membership().log_key
        for name in self.here:
            self.people[name].vanish()
        for name in kept:
            found = backend.verify(self.folder(name), keys=self.people[name].home.keys(), log_key=key)
            assert {found.audit.root} == roots, name
            assert len(found.audit.history.rounds) == rounds and found.audit.weights > 1
        return found.audit.history  # pyright: ignore[reportPossiblyUnboundVariable]

    def close(self) -> None:
        for person in self.people.values():
            person.vanish()


def aside(folder: Path, target: Path) -> Path:
    """A copy of a folder as it is now."""
    return Path(shutil.copytree(folder, target))
