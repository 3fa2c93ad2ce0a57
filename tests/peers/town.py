"""Several members over one folder in this process: each has its own directory, keys and follower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from relayjax import settings
from relayjax.config import Config
from relayjax.learning.placement import Shard
from relayjax.mechanism.state import State
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.follower import Follower
from relayjax.peers.founding import found
from relayjax.peers.home import Home
from relayjax.peers.joining import follow, join
from relayjax.peers.maintainer import Maintainer
from relayjax.peers.office import Office
from relayjax.peers.orderer import Orderer
from relayjax.peers.participant import Participant
from relayjax.peers.patience import Waiting
from relayjax.peers.workshop import Workshop
from relayjax.relay.testing import Validator
from relayjax.relay.training import Trainer
from relayjax.workdir import Workdir


@dataclass(frozen=True)
class Tools:
    """What is compiled once for all members of all tests."""

    config: Config
    workshop: Workshop
    trainer: Trainer
    shards: tuple[Shard, ...]
    validator: Validator


@dataclass
class Town:
    """A relay's folder and the homes of its members; v0 founds it and orders the records."""

    base: Path
    tools: Tools
    now: float = 0.0
    patience: float = 100.0
    told: list[str] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

    participants = ("p0", "p1", "p2")
    maintainers = ("v1",)

    @property
    def folder(self) -> Path:
        return self.base / "relay"

    def __post_init__(self) -> None:
        self.exchange = FolderExchange(self.folder)

    def home(self, name: str) -> Home:
        return Home(self.base / name)

    def begin(self, rounds: int = 4, join_all: bool = True) -> None:
        """Founds the relay, and has everybody hand in a registration."""
        sizes = {"relay.rounds": str(rounds), "relay.validators": str(1 + len(self.maintainers))}
        config = settings.override(self.tools.config, sizes)
        found(config, Workdir(self.folder), self.home("v0"), "v0")
        if join_all:
            for name in (*self.participants, *self.maintainers):
                self.join(name)

    def join(self, name: str) -> str | None:
        role = "maintainer" if name.startswith("v") else "participant"
        return join(self.exchange, self.home(name), name, role)

    def follower(self, name: str) -> Follower:
        return follow(self.exchange, self.home(name))

    def participant(self, name: str) -> Participant:
        home = self.home(name)
        shard = self.tools.shards[int(name[1:])]
        return Participant(home, home.keys(), self.exchange, self.tools.trainer, shard)

    def maintainer(self, name: str, follower: Follower) -> Maintainer:
        home, tools = self.home(name), self.tools
        history = follower.chronicle.history
        return Maintainer(home, home.keys(), self.exchange, tools.validator, tools.workshop.codec, history)

    def members(self, *names: str) -> list[Member]:
        """Everybody but the orderer, or those named."""
        return [Member(self, name) for name in names or (*self.participants, *self.maintainers)]

    def why(self) -> list[str]:
        """The reasons for refusals that lie in the inbox."""
        return [path.read_text() for path in sorted((self.folder / "inbox").glob("*.why"))]

    def orderer(self, *, begin: bool = False) -> Orderer:
        """The orderer, its lock held until the test ends or `close` is called."""
        home, tools = self.home("v0"), self.tools
        folder = Workdir(self.folder)
        self.stack.enter_context(folder.locked())
        return Orderer(
            home,
            home.keys(),
            folder,
            tools.validator,
            tools.workshop.codec,
            patience=self.patience,
            clock=lambda: self.now,
            tell=self.told.append,
            begin=begin,
        )

    def office(self, name: str) -> Office:
        """A maintainer that orders when the log says so; its office ends with the test."""
        waiting = Waiting(self.patience, 5 * self.patience, lambda: self.now)
        tools = self.tools
        tell = lambda line: self.told.append(f"{name}: {line}")  # noqa: E731
        codec = tools.workshop.codec
        return Office(self.home(name), self.exchange, tools.validator, codec, waiting, tell)

    def outwait(self, orderer: Orderer) -> None:
        """Lets time pass, in which the orderer looks again and again, until its patience is at its end."""
        for _ in range(4):
            self.now += self.patience / 2
            orderer.act()

    def close(self) -> None:
        self.stack.close()


def play(
    town: Town, orderer: Orderer, members: Sequence[Member], until: Callable[[], bool] | None = None
) -> None:
    """Steps everybody in turn until the relay is finished, or until something holds.

    Raises:
      AssertionError: nothing goes on any more.
    """
    idle = 0
    done = until or (lambda: orderer.state.finished)
    while not done():
        before = orderer.state.transcript
        orderer.act()
        if done():
            return
        for member in members:
            member.step()
        idle = 0 if orderer.state.transcript != before else idle + 1
        assert idle < 4, f"stuck in {orderer.state.round.phase}: {town.told}"


class Member:
    """A member other than the orderer, stepped by a test; `restart` is what a kill and a new start are."""

    def __init__(self, town: Town, name: str):
        self.town, self.name = town, name
        self.restart()

    def restart(self) -> None:
        self.follower = self.town.follower(self.name)
        self.worker: Participant | Maintainer | Office | None = None

    def maintaining(self) -> Maintainer | Office:
        """What it does as a maintainer."""
        return self.town.maintainer(self.name, self.follower)

    @property
    def state(self) -> State:
        state = self.follower.chronicle.state
        assert state is not None
        return state

    def step(self) -> str | None:
        self.follower.poll()
        if self.name not in self.state.members:
            return self.town.join(self.name)
        if self.worker is None:
            maintains = self.name.startswith("v")
            self.worker = self.maintaining() if maintains else self.town.participant(self.name)
        if isinstance(self.worker, Participant):
            return self.worker.act(self.state)
        told = self.worker.act(self.follower.chronicle.history)
        return told[1] if isinstance(told, tuple) else told
