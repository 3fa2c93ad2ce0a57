"""The real thing over HTTP: the founder's process is killed for good, its folder out of everybody's reach."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import pytest
from peers.processes import Crew, relayjax

from relayjax import backend
from relayjax.errors import ExchangeError
from relayjax.identity import Keys
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.note import parse_note
from relayjax.mechanism.state import Phase, State
from relayjax.peers.home import Home
from relayjax.peers.joining import follow
from relayjax.peers.places import exchange_at, recall

MAINTAINERS, PARTICIPANTS = ("v0", "v1", "v2"), ("p0", "p1", "p2")
PATIENCE, TAKEOVER = 20.0, 30.0


def free_ports(count: int) -> list[int]:
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in with_ports]
    for one in with_ports:
        one.close()
    return ports


class Keepers(Crew):
    """Maintainers that each keep and serve a copy; nobody has anything but addresses in common."""

    @cached_property
    def ports(self) -> dict[str, int]:
        return dict(zip(MAINTAINERS, free_ports(3), strict=True))

    def urls(self, but: str = "") -> list[str]:
        return [f"http://127.0.0.1:{port}" for name, port in self.ports.items() if name != but]

    def places(self, name: str) -> list[str]:
        if name == "v0":
            return [",".join([str(self.folder), *self.urls("v0")])]
        return self.urls(name) if name in MAINTAINERS else []  # others' homes remember where

    def lines(self, name: str) -> list[str]:
        return [f"--serve=127.0.0.1:{self.ports[name]}"] if name in MAINTAINERS else []


class Watcher:
    """Sees what a participant sees, and how long nothing new came."""

    def __init__(self, members: Keepers):
        self._follower = follow(exchange_at(",".join(members.urls())), Home(members.home("p0")))
        self._follower._seen = None  # the participant's own
        self.since, self.longest = time.monotonic(), 0.0
        self.shown: list[tuple[int, bytes]] = []

    def look(self) -> State:
        grown = False
        with suppress(ExchangeError):
            grown = self._follower.poll()
        now = time.monotonic()
        if grown:
            self.since = now
            self.shown.append((self._follower.size, self._follower.root))
        self.longest = max(self.longest, now - self.since)
        state = self._follower.chronicle.state
        assert state is not None
        return state

    def check(self) -> None:
        for size, root in self.shown:
            assert self._follower.tree.root(size) == root


def size_in(folder: Path) -> int:
    return Checkpoint.decode(parse_note((folder / "ledger" / "checkpoint").read_bytes()).text).size


@pytest.mark.slow
def test_the_founder_and_its_folder_are_gone(tmp_path: Path):
    small = ("--config.task.hidden=8", "--config.relay.participants=3", "--config.relay.validators=3")
    small += ("--config.relay.rounds=5", "--config.relay.braid_rounds=1,4")
    with Keepers(tmp_path, "http", PATIENCE, takeover=TAKEOVER) as members:
        members.found("--config=digits:smoke", *small)
        for name in ("v1", "v2"):
            members.enrol(name)
        for name in ("v1", "v2"):
            members.wait_for(name, "(serving)")
        members.url = ",".join(members.urls())
        for name in PARTICIPANTS:
            members.enrol(name)
            assert recall(members.home(name)) == members.url
        watcher = Watcher(members)
        while not _trains(watcher.look(), 2):
            time.sleep(0.1)
        watcher.longest = 0.0
        members.kill("v0")
        gone, size = time.monotonic(), size_in(members.folder)
        members.run("v0", "maintain", str(members.folder), "--patience=1")
        while size_in(members.folder) == size:  # somewhere out of reach it goes on by itself for a while
            assert watcher.look().term.number == 0 or time.monotonic() - gone < 300, members.told("v0")
            time.sleep(0.1)
        members.kill("v0")
        while watcher.look().term.number == 0:
            time.sleep(0.1)
        members.start("v0")
        assert members.running["v0"].wait(timeout=300) == 1, members.told("v0")
        assert "rewritten" in members.told("v0") and list(members.home("v0").glob("split-view-*.json"))
        while not watcher.look().finished:
            time.sleep(0.1)
        for name in (*PARTICIPANTS, "v1", "v2"):
            members.finish(name, 300)
    watcher.check()
    (root,) = members.roots("v1", "v2", *PARTICIPANTS)
    key = members.log_key
    for name in ("v1", "v2"):
        own = (f"--key={members.home(name) / 'keys' / name}", f"--log_key={key}")
        assert root in relayjax("verify", str(members.home(name) / "mirror"), *own, "--rescore")
    keys = Keys.load(members.home("v1") / "keys", "v1")
    history = backend.verify(members.home("v1") / "mirror", keys=keys, log_key=key).audit.history
    assert (len(history.rounds), history.rounds[0].orderer, history.state.term.number) == (5, "v0", 1)
    assert all(set(r.facts.submissions) == set(r.facts.commitments) for r in history.rounds)
    print(f"the longest time without anything new took {watcher.longest:.1f} s, takeover {TAKEOVER:.0f} s")
    assert watcher.longest < 2 * TAKEOVER


def _trains(state: State, round: int) -> bool:
    """Whether a round has come so far that who orders can go on without anybody."""
    return state.round.number >= round and state.round.phase in (Phase.DEPOSIT, Phase.COMMIT, Phase.REVEAL)
