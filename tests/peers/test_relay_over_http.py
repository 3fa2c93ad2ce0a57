"""A relay whose members reach the folder over HTTP only, over a good line and a bad one."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Lock, Thread

import pytest
from peers.town import Member, Tools, Town

from relayjax import backend, peers
from relayjax.errors import ConfigError, ExchangeError, IntegrityError
from relayjax.peers.copying import copy
from relayjax.peers.follower import Follower
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import serving
from relayjax.peers.orderer import Orderer

FAULTS = ("drop", "late", "cut", "flip", *["none"] * 12)


@dataclass
class Line:
    """What the proxy does to each piece of an answer, drawn in order; what it did is counted.

    The connection is dropped before it, or cut within it; it comes late, or with one bit flipped.
    """

    target: int
    faults: tuple[str, ...] = FAULTS
    draw: random.Random = field(default_factory=lambda: random.Random(7))
    lock: Lock = field(default_factory=Lock)
    done: Counter[str] = field(default_factory=Counter)

    def next(self, size: int) -> tuple[str, int]:
        with self.lock:
            fault = self.draw.choice(self.faults)
            self.done[fault] += 1
            return fault, self.draw.randrange(size)


class Proxy(ThreadingTCPServer):
    """Passes requests on, and answers back as the line has it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, line: Line):
        self.line = line
        super().__init__(("127.0.0.1", 0), Passing)

    def handle_error(self, request: object, client_address: object) -> None:
        """A broken connection is what it is for."""


class Passing(BaseRequestHandler):
    server: Proxy  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle(self) -> None:
        line = self.server.line
        with socket.create_connection(("127.0.0.1", line.target), timeout=30) as onward:
            Thread(target=self._up, args=(onward,), daemon=True).start()
            while part := onward.recv(65_536):
                fault, place = line.next(len(part))
                if fault == "drop":
                    return
                if fault == "late":
                    time.sleep(0.05)
                if fault == "flip":
                    changed = bytearray(part)
                    changed[place] ^= 1 << (place % 8)
                    part = bytes(changed)
                self.request.sendall(part[:place] if fault == "cut" else part)
                if fault == "cut":
                    return

    def _up(self, onward: socket.socket) -> None:
        with suppress(OSError):
            while part := self.request.recv(65_536):
                onward.sendall(part)
            onward.shutdown(socket.SHUT_WR)


@contextmanager
def line_to(port: int, faults: tuple[str, ...] = FAULTS) -> Iterator[tuple[Line, int]]:
    proxy = Proxy(Line(port, faults))
    thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    with proxy:
        thread.start()
        try:
            yield proxy.line, proxy.server_address[1]
        finally:
            proxy.shutdown()
            thread.join()


def reached(port: int, attempts: int = 4) -> HttpExchange:
    return HttpExchange(f"http://127.0.0.1:{port}", timeout=5.0, attempts=attempts, pause=0.001)


class Far(Member):
    """A member with a connection of its own."""

    def __init__(self, town: Town, name: str, port: int):
        own = Town(town.base, town.tools)
        own.exchange = reached(port)  # pyright: ignore[reportAttributeAccessIssue]
        super().__init__(own, name)


def awaited(orderer: Orderer, tools: Tools) -> Awaited:
    return Awaited.of(orderer.state, tools.workshop.codec.max_size(tools.trainer.leg.baton.size))


def copied(town: Town, port: int) -> int:
    """Fetches all of the relay over the line and verifies it as the original; returns how often it failed."""
    member, failed = town.home("p0").membership(), 0
    exchange = reached(port)
    follower = Follower(exchange, member.origin, member.log_key)
    outgrown = town.base / "copy" / "ledger" / "tile" / "0" / "000.p" / "255"
    outgrown.parent.mkdir(parents=True)
    outgrown.write_bytes(bytes(32 * 255))  # as an earlier copy would have left it
    while True:
        try:
            copy(exchange, follower, member.origin, member.log_key, town.base / "copy")
            break
        except (ExchangeError, IntegrityError):
            failed += 1
    for folder in ("ledger", "store", "seals"):
        for path in filter(Path.is_file, (town.base / "copy" / folder).rglob("*")):
            assert path.read_bytes() == (town.folder / path.relative_to(town.base / "copy")).read_bytes()
    found = backend.verify(town.base / "copy", keys=town.home("v1").keys())
    assert found.audit.root == follower.root.hex() and found.audit.weights > 1
    return failed


def play(town: Town, faults: tuple[str, ...]) -> tuple[Line, int, set[str]]:
    """Plays a relay to its end; returns what the line did, failed steps, and the roots that members have."""
    town.begin(rounds=2, join_all=False)
    orderer, failed = town.orderer(), 0
    server = RelayServer(
        ("127.0.0.1", 0), town.folder, lambda: awaited(orderer, town.tools), report=town.told.append
    )
    with serving(server), line_to(server.server_address[1], faults) as (line, port):
        for name in (*town.participants, *town.maintainers):
            there = Town(town.base, town.tools)
            there.exchange = reached(port)  # pyright: ignore[reportAttributeAccessIssue]
            while True:
                try:
                    assert there.join(name) is None
                    break
                except (ExchangeError, IntegrityError):
                    failed += 1
        members = [Far(town, name, port) for name in (*town.participants, *town.maintainers)]
        for _ in range(400):
            orderer.act()
            for member in members:
                try:
                    member.step()
                except (ExchangeError, IntegrityError):
                    failed += 1
            if orderer.state.finished and all(m.follower.size == orderer.log.size for m in members):
                break
        assert orderer.state.finished, town.told
        failed += copied(town, port)
    town.close()
    return line, failed, {member.follower.root.hex() for member in members}


@pytest.mark.parametrize("faults", [("none",), FAULTS], ids=["good", "faulty"])
def test_all_end_with_the_same_root(town: Town, faults: tuple[str, ...]) -> None:
    line, failed, roots = play(town, faults)
    found = backend.verify(town.folder, keys=town.home("v1").keys())
    assert roots == {found.audit.root} and len(found.audit.history.rounds) == 2
    for settled in found.audit.history.rounds:
        assert set(settled.facts.pairs) == set(settled.facts.submissions), "an acknowledged leg was lost"
        assert set(settled.facts.scores) == {"v0", "v1"}
    assert not any("serving" in line for line in town.told), town.told
    if faults == FAULTS:
        assert all(line.done[fault] > 5 for fault in FAULTS), line.done
    else:
        assert not failed


def test_a_download_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(1_000_000)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "x").write_bytes(data)
    server = RelayServer(("127.0.0.1", 0), tmp_path, lambda: Awaited({}, 0))
    with serving(server), line_to(server.server_address[1], ("cut", "cut", "none")) as (line, port):
        assert reached(port, attempts=12).fetch("store/x", len(data)) == data
    assert line.done["cut"] > 5  # head and body are pieces of their own


def test_who_founded_needs_the_folder_and_a_copy_is_kept_to_be_shown(town: Town) -> None:
    town.begin(rounds=1)
    with pytest.raises(ConfigError, match="give the folder"):
        peers.open_maintainer("http://127.0.0.1:1", town.home("v0").path)
    copy = town.base / "copy"
    with pytest.raises(ConfigError, match="others must find"):
        peers.open_maintainer(f"{copy},http://127.0.0.1:1", town.home("v1").path)
