"""A relay of separate members in one process, over a folder, and what its time goes to."""

from __future__ import annotations

import functools
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from relayjax import codec, config, filesystem
from relayjax.learning.leg import Leg
from relayjax.learning.placement import Shard, place_shards
from relayjax.mechanism.state import Phase, State
from relayjax.peers import orderer, participant
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.follower import Follower
from relayjax.peers.founding import found
from relayjax.peers.held import Held
from relayjax.peers.home import Home
from relayjax.peers.joining import follow, join
from relayjax.peers.maintainer import Maintainer
from relayjax.peers.orderer import Orderer
from relayjax.peers.participant import Participant
from relayjax.peers.sending import Parcel
from relayjax.peers.voice import Voice
from relayjax.peers.workshop import Workshop
from relayjax.relay.testing import Validator
from relayjax.relay.timing import Stopwatch
from relayjax.relay.training import Trainer
from relayjax.relay.transcript import Transcript
from relayjax.workdir import Workdir

TINY = {
    "task.hidden": "8",
    "leg.steps": "5",
    "relay.rounds": "3",
    "relay.validators": "2",
    "relay.braid_rounds": "1,3",
    "relay.draw": "60",
}
PARTS: dict[str, list[tuple[Any, str]]] = {
    "train, encode": [(Trainer, "train"), (Trainer, "encode")],
    "score, value": [(Validator, "score"), (Validator, "value")],
    "follow the log": [(Follower, "poll")],
    "hand over": [(Parcel, "put"), (participant, "Parcel"), (orderer.Dispatch, "parents")],
    "take": [(Held, "take"), (orderer.handover, "take")],
    "say": [(Voice, "say")],
    "order": [(Orderer, "act")],
    "flush the disk": [(filesystem.Filesystem, "fsync"), (filesystem.Filesystem, "fsync_directory")],
}
"""What time goes to, and the calls that it is; what one calls of another counts for that only."""

REST = "else"
JOINING = "joining"


@dataclass
class Costs:
    """Seconds by phase and part.

    Attributes:
      phase: what counts now.
      spent: seconds by phase, then by part.
      wall: seconds in all.
      entries: of the log at the end.
    """

    phase: str = JOINING
    spent: dict[str, dict[str, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    wall: float = 0.0
    entries: int = 0
    _parts: list[str] = field(default_factory=lambda: [REST])
    _since: float = field(default_factory=time.perf_counter)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts what happens within for a part."""
        self.count()
        self._parts.append(name)
        try:
            yield
        finally:
            self.count()
            self._parts.pop()

    def enter(self, state: State) -> None:
        """Counts for the phase of a state from now on; before anybody has bid, members join."""
        self.count()
        now = state.round
        joining = now.number == 1 and now.phase is Phase.AUCTION and not now.bids
        self.phase = JOINING if joining else now.phase.name.lower()

    def count(self) -> None:
        """Counts the time until now for the present part and phase."""
        now = time.perf_counter()
        self.spent[self.phase][self._parts[-1]] += now - self._since
        self._since = now

    def rounded(self) -> dict[str, object]:
        """The figures to be kept."""
        by_phase = {
            phase: {name: round(seconds, 3) for name, seconds in parts.items()}
            for phase, parts in self.spent.items()
        }
        return {"seconds": round(self.wall, 2), "entries": self.entries, "by phase": by_phase}


def measure(participants: int, directory: str | None) -> Costs:
    """Plays a relay to its end."""
    settings = config.resolve("digits", {**TINY, "relay.participants": str(participants)}, 7)
    task = settings.task.build(participants, settings.seed)
    workshop = Workshop(settings, task, codec.get(settings.relay.codec))
    trainer, shards = Trainer(Leg(task, settings.leg), workshop.codec, Stopwatch()), place_shards(task)
    played, costs = (workshop, trainer, shards, workshop.validator()), Costs()
    for _ in range(2):  # the first time compiles
        costs = Costs()
        with tempfile.TemporaryDirectory(dir=directory) as base, _timed(costs):
            begin = time.perf_counter()
            costs.entries = _play(Path(base), *played, participants)
            costs.count()
            costs.wall = time.perf_counter() - begin
    return costs


def _play(
    base: Path,
    workshop: Workshop,
    trainer: Trainer,
    shards: tuple[Shard, ...],
    validator: Validator,
    count: int,
) -> int:
    """Plays a relay; returns how many entries its log has."""
    folder, exchange = Workdir(base / "relay"), FolderExchange(base / "relay")
    homes = {name: Home(base / name) for name in ("v0", "v1", *(f"p{i}" for i in range(count)))}
    found(workshop.config, folder, homes["v0"], "v0")
    for name in [name for name in homes if name != "v0"]:
        join(exchange, homes[name], name, "maintainer" if name == "v1" else "participant")
    followers = {name: follow(exchange, homes[name]) for name in homes if name != "v0"}
    workers: dict[str, Participant | Maintainer] = {
        name: Participant(homes[name], homes[name].keys(), exchange, trainer, shards[int(name[1:])])
        for name in followers
        if name != "v1"
    }
    with folder.locked():
        orders = Orderer(
            homes["v0"],
            homes["v0"].keys(),
            folder,
            validator,
            workshop.codec,
            patience=1e9,
            clock=time.monotonic,
        )
        while not orders.state.finished:
            orders.act()
            for name, follower in followers.items():
                follower.poll()
                history = follower.chronicle.history
                if name not in history.state.members:
                    continue
                if name == "v1" and name not in workers:
                    home = homes[name]
                    workers[name] = Maintainer(
                        home, home.keys(), exchange, validator, workshop.codec, history
                    )
                worker = workers[name]
                if isinstance(worker, Maintainer):
                    worker.act(history)
                else:
                    worker.act(history.state)
        return orders.log.size


@contextmanager
def _timed(costs: Costs) -> Iterator[None]:
    """Has the calls of each part counted."""

    def counted(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with costs.part(name):
                return call(*args, **kwargs)

        return timed

    def told(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def tells(transcript: Transcript, *args: Any) -> None:
            call(transcript, *args)
            costs.enter(transcript.state)

        return tells

    calls = [call for calls in PARTS.values() for call in calls]
    before = [(o, name, getattr(o, name)) for o, name in (*calls, (Transcript, "add"), (Transcript, "say"))]
    try:
        Transcript.add, Transcript.say = told(Transcript.add), told(Transcript.say)
        for part, calls in PARTS.items():
            for owner, name in calls:
                setattr(owner, name, counted(getattr(owner, name), part))
        yield
    finally:
        for owner, name, call in before:
            setattr(owner, name, call)


def show(costs: Costs, title: str) -> None:
    """Prints seconds by phase and part."""
    names = (*PARTS, REST)
    table = Table("phase", *names, "seconds", title=f"seconds; {title}; {costs.entries} entries")
    for phase, parts in costs.spent.items():
        table.add_row(phase, *(f"{parts[name]:.2f}" for name in names), f"{sum(parts.values()):.2f}")
    totals = [sum(parts[name] for parts in costs.spent.values()) for name in names]
    table.add_row("all", *(f"{total:.2f}" for total in totals), f"{costs.wall:.2f}", style="bold")
    Console(width=150).print(table)
