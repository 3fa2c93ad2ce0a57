"""A relay whose members are processes, played to its end and watched from outside.

    PYTHONPATH=tests .venv/bin/python -m peers.hardship DIRECTORY --over=http --config=digits

plays the digits relay in full, ten participants and three maintainers: 13 processes with homes of their own,
some 7 GiB, and about 20 minutes on two cores. What is not known here is taken as a flag of `relayjax found`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from peers.processes import Crew

from relayjax.archive import Archive
from relayjax.audit import read_ledger
from relayjax.backend import read_history
from relayjax.errors import WorkdirError
from relayjax.files import read
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import SIZE_LIMIT, parse_note
from relayjax.mechanism.state import Phase, State
from relayjax.pack import decode_pack
from relayjax.peers.awaiting import missing_members
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.follower import CHECKPOINT, Follower
from relayjax.peers.home import Home
from relayjax.peers.http_exchange import HttpExchange
from relayjax.workdir import Workdir

LOOK = 0.1
"""Seconds between two looks of the watcher."""


class Watcher:
    """Follows a relay's log as anybody can, and looks at what its members were shown.

    Attributes:
      began: each phase that was seen, as (round, phase, whether places are still open), and when.
      shown: size and root of every checkpoint that some member had believed at some look.
    """

    def __init__(self, members: Crew):
        founder = Home(members.home("v0")).membership()
        self._members = members
        self._follower = Follower(FolderExchange(members.folder), founder.origin, founder.log_key)
        self.began: list[tuple[tuple[int, Phase, bool], float]] = []
        self.shown: set[tuple[int, bytes]] = set()

    def look(self) -> State:
        """Takes in what is new; returns the newest state."""
        self._follower.poll()
        state = self._follower.chronicle.history.state
        gathers = (state.round.number, state.round.phase) == (1, Phase.AUCTION) and any(
            missing_members(state)
        )
        moment = (state.round.number, state.round.phase, gathers)
        if not self.began or self.began[-1][0] != moment:
            self.began.append((moment, time.monotonic()))
        for name in self._members.running:
            seen = self._members.home(name) / "seen"
            if seen.exists():
                checkpoint = Checkpoint.decode(parse_note(read(seen, SIZE_LIMIT)).text)
                self.shown.add((checkpoint.size, checkpoint.root))
        return state

    def waits(self) -> list[tuple[float, int, Phase]]:
        """How long each phase took, seconds, longest first; the time until all places are taken is none."""
        pairs = zip(self.began, self.began[1:], strict=False)
        found = [
            (after - before, round, phase) for ((round, phase, open), before), (_, after) in pairs if not open
        ]
        return sorted(found, reverse=True)

    def check_shown(self) -> int:
        """Finds all that members were shown in the log as it is now, or fails; returns how much that was."""
        tree = Tree([leaf_hash(entry) for entry in read_ledger(Workdir(self._members.folder)).entries])
        for size, root in self.shown:
            assert size <= tree.size and tree.root(size) == root, (
                f"{size} entries were shown and are not there"
            )
        return len(self.shown)


@dataclass(frozen=True)
class Ended:
    """How a relay ended.

    Attributes:
      root: of the ledger, that everybody has verified.
      rounds, entries: settled, logged.
      accuracy: of the head on the test set, 0–1.
      seconds: from the first command to the last member's end.
      shown: checkpoints that members had believed on the way, all of them beginnings of the final log.
      waits: see `Watcher.waits`.
    """

    root: str
    rounds: int
    entries: int
    accuracy: float
    seconds: float
    shown: int
    waits: list[tuple[float, int, Phase]]

    def __str__(self) -> str:
        """A few lines for who watches."""
        longest = ", ".join(f"{s:.1f} s (round {r}, {p.name.lower()})" for s, r, p in self.waits[:3])
        return (
            f"rounds     {self.rounds}, {self.entries} entries in {self.seconds:.0f} s\n"
            f"root       {self.root}, the same for everybody\n"
            f"shown      {self.shown} checkpoints that members believed on the way, all in the final log\n"
            f"accuracy   {self.accuracy:.4f} on the test set\n"
            f"phases     the longest took {longest}"
        )


def accuracy(folder: Path, home: Path) -> float:
    """Of a finished relay's head on its task's test set, opened with the keys of a licence holder."""
    import jax

    from relayjax.learning.evaluate import Evaluator
    from relayjax.learning.layout import Layout
    from relayjax.learning.placement import place
    from relayjax.peers.workshop import Workshop

    past, archive = read_history(folder), Archive(Workdir(folder))
    if (model := archive.newest_model(past)) is None:
        raise WorkdirError(f"{folder}: no model checkpoint")
    theta = decode_pack(archive.open_model(model, Home(home).keys()), model.version)
    task = Workshop.of(past).task
    evaluator = Evaluator(task, Layout.of(jax.eval_shape(task.init, jax.random.key(0))))
    return evaluator.metrics(theta, place(task.test))["accuracy"]


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Asks for something now and then, so that it is served for as long as the slowest copy takes."""
    exchange, done = HttpExchange(url), Event()

    def ask() -> None:
        while not done.wait(1.0):
            exchange.fetch(CHECKPOINT, SIZE_LIMIT)

    thread = Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def finish(members: Crew, watcher: Watcher, names: list[str], begun: float) -> Ended:
    """Waits for everybody's end, has everybody verify, and looks at the result."""
    for name in names[1:]:
        members.finish(name, 600)
    seconds = time.monotonic() - begun
    if members.over == "http":
        with _asking(members.url):
            for name in names:
                members.copy(name)
    else:
        members.finish("v0", 600)  # it holds the folder's lock until then
    roots = {members.verified(name) for name in names}
    members.finish("v0", 600)  # it has served on for the patience
    watcher.look()
    shown = watcher.check_shown()
    roots |= {members.told(name).rpartition("root ")[2][:64] for name in names}
    assert len(roots) == 1, roots
    past, ledger = read_history(members.folder), read_ledger(Workdir(members.folder))
    found = accuracy(members.folder, members.home("v0"))
    return Ended(roots.pop(), len(past.rounds), len(ledger.entries), found, seconds, shown, watcher.waits())


def play(members: Crew, participants: int, maintainers: int, *config: str) -> Ended:
    """Plays a relay in which nothing happens to anybody."""
    begun = time.monotonic()
    names = [f"v{k}" for k in range(maintainers)] + [f"p{k}" for k in range(participants)]
    places = (f"--config.relay.participants={participants}", f"--config.relay.validators={maintainers}")
    members.found(*config, *places)
    watcher = Watcher(members)
    for name in names[1:]:
        members.enrol(name)
    while not watcher.look().finished:
        for name in names:
            assert members.running[name].poll() in (None, 0), members.told(name)
        time.sleep(LOOK)
    return finish(members, watcher, names, begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--over", choices=("folder", "http"), default="http")
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--maintainers", type=int, default=3)
    parser.add_argument("--patience", type=float, default=300.0)
    given, config = parser.parse_known_args()
    given.directory.mkdir(parents=True)
    with Crew(given.directory, given.over, given.patience) as members:
        ended = play(members, given.participants, given.maintainers, *config)
    print(ended)


if __name__ == "__main__":
    main()
