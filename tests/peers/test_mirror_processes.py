"""The real thing over HTTP: the founder's process is killed for good, its folder out of everybody's reach."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from peers.processes import ENVIRONMENT, command, relayjax

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


class Members:
    """Processes with homes of their own, which have nothing but addresses in common."""

    def __init__(self, base: Path):
        self.base = base
        self.ports = dict(zip(MAINTAINERS, free_ports(3), strict=True))
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def urls(self, but: str = "") -> list[str]:
        return [f"http://127.0.0.1:{port}" for name, port in self.ports.items() if name != but]

    def told(self, name: str) -> str:
        return (self.base / f"{name}.log").read_text(errors="replace")

    def start(self, name: str, *places: str) -> None:
        more = [f"--home={self.base / name}", "--poll=0.1"]
        if name in MAINTAINERS:
            more += [f"--patience={PATIENCE}", f"--takeover={TAKEOVER}"]
            more += [f"--serve=127.0.0.1:{self.ports[name]}"]
            arguments = command("maintain", *places, *more)
        else:
            arguments = command("work", *places, f"--shard={name[1:]}", *more)
        self.spawn(name, arguments)

    def spawn(self, name: str, arguments: Sequence[str]) -> None:
        with open(self.base / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(arguments, stdout=log, stderr=log, env=ENVIRONMENT)

    def wait_for(self, name: str, text: str, seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while text not in self.told(name):
            assert self.running[name].poll() is None and time.monotonic() < end, self.told(name)
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


class Watcher:
    """Sees what a participant sees, and how long nothing new came."""

    def __init__(self, members: Members):
        self._follower = follow(exchange_at(",".join(members.urls())), Home(members.base / "p0"))
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
    members, relay = Members(tmp_path), tmp_path / "relay"
    homes = {name: tmp_path / name for name in (*MAINTAINERS, *PARTICIPANTS)}
    small = ("--config.task.hidden=8", "--config.relay.participants=3", "--config.relay.validators=3")
    small += ("--config.relay.rounds=5", "--config.relay.braid_rounds=1,4")
    told = relayjax("found", str(relay), f"--home={homes['v0']}", "--config=digits:smoke", *small)
    (key,) = [line.split()[-1] for line in told.splitlines() if line.startswith("log key")]

    def join(name: str, *places: str) -> None:
        role = "maintainer" if name in MAINTAINERS else "participant"
        relayjax(
            "join", *places, f"--home={homes[name]}", f"--name={name}", f"--role={role}", f"--log_key={key}"
        )

    try:
        members.start("v0", ",".join([str(relay), *members.urls("v0")]))
        members.wait_for("v0", "serving")
        for name in ("v1", "v2"):
            join(name, members.urls()[0])
            members.start(name, *members.urls(name))
        for name in ("v1", "v2"):
            members.wait_for(name, "serving")
        for name in PARTICIPANTS:
            join(name, ",".join(members.urls()))
            assert recall(homes[name]) == ",".join(members.urls())
            members.start(name)  # its home remembers where
        watcher = Watcher(members)
        while not _trains(watcher.look(), 2):
            time.sleep(0.1)
        watcher.longest = 0.0
        members.kill("v0")
        gone, size = time.monotonic(), size_in(relay)
        members.spawn("v0", command("maintain", str(relay), f"--home={homes['v0']}", "--patience=1"))
        while size_in(relay) == size:  # somewhere out of reach it goes on by itself for a while
            assert watcher.look().term.number == 0 or time.monotonic() - gone < 300, members.told("v0")
            time.sleep(0.1)
        members.kill("v0")
        while watcher.look().term.number == 0:
            time.sleep(0.1)
        members.spawn("v0", command("maintain", *_again(members, relay, homes["v0"])))
        assert members.running["v0"].wait(timeout=300) == 1, members.told("v0")
        assert "rewritten" in members.told("v0") and list(homes["v0"].glob("split-view-*.json"))
        while not watcher.look().finished:
            time.sleep(0.1)
        for name in (*PARTICIPANTS, "v1", "v2"):
            assert members.running[name].wait(timeout=300) == 0, members.told(name)
    finally:
        members.close()
    watcher.check()
    printed = {name: members.told(name).splitlines() for name in ("v1", "v2", *PARTICIPANTS)}
    roots = {line.split()[-1] for lines in printed.values() for line in lines if line.startswith("ledger")}
    assert len(roots) == 1, printed
    for name in ("v1", "v2"):
        own = (f"--key={homes[name] / 'keys' / name}", f"--log_key={key}")
        assert roots & set(relayjax("verify", str(homes[name] / "mirror"), *own, "--rescore").split())
    keys = Keys.load(homes["v1"] / "keys", "v1")
    history = backend.verify(homes["v1"] / "mirror", keys=keys, log_key=key).audit.history
    assert (len(history.rounds), history.rounds[0].orderer, history.state.term.number) == (5, "v0", 1)
    assert all(set(r.facts.submissions) == set(r.facts.commitments) for r in history.rounds)
    print(f"the longest time without anything new took {watcher.longest:.1f} s, takeover {TAKEOVER:.0f} s")
    assert watcher.longest < 2 * TAKEOVER


def _trains(state: State, round: int) -> bool:
    """Whether a round has come so far that who orders can go on without anybody."""
    return state.round.number >= round and state.round.phase in (Phase.DEPOSIT, Phase.COMMIT, Phase.REVEAL)


def _again(members: Members, relay: Path, home: Path) -> list[str]:
    places = ",".join([str(relay), *members.urls("v0")])
    served = f"--serve=127.0.0.1:{members.ports['v0']}"
    return [places, f"--home={home}", served, f"--patience={PATIENCE}", f"--takeover={TAKEOVER}"]
