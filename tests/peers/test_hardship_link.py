"""Members on machines of their own, as far as the network is concerned, whose cable is pulled.

Each has a network namespace that nothing leads out of but one link to who serves. Needs root and iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from peers.hardship import LOOK, Watcher, finish
from peers.processes import Crew

from relayjax.backend import read_history

PATIENCE, ALLOWANCE = 30.0, 30.0
SMALL = ("--config=digits:smoke", "--config.relay.participants=3", "--config.relay.validators=2")
SMALL += ("--config.relay.rounds=8", "--config.relay.braid_rounds=1,5")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def possible() -> bool:
    """Whether network namespaces can be made here."""
    if os.geteuid() or not shutil.which("ip"):
        return False
    made = subprocess.run(["ip", "netns", "add", "rj-try"], capture_output=True, check=False).returncode == 0
    if made:
        ip("netns", "del", "rj-try")
    return made


@contextmanager
def machine(name: str, number: int) -> Iterator[str]:
    """A namespace with a link to this one; yields the address at this end."""
    space, link, net = f"rj-{name}", f"rj-{name}-up", f"10.77.{number}"
    ip("netns", "add", space)
    try:
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("addr", "add", f"{net}.1/30", "dev", link)
        ip("link", "set", link, "up")
        ip("-n", space, "addr", "add", f"{net}.2/30", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        yield f"{net}.1"
    finally:
        ip("netns", "del", space)


@pytest.mark.slow
def test_members_whose_link_goes_down_come_back(tmp_path: Path):
    if not possible():
        pytest.skip("needs root and iproute2")
    begun, names = time.monotonic(), ["v0", "v1", "p0", "p1", "p2"]
    with ExitStack() as stack:
        hosts = {n: stack.enter_context(machine(n, k)) for k, n in enumerate(names[1:], 1)}
        members = stack.enter_context(
            Crew(
                tmp_path,
                "http",
                PATIENCE,
                lambda name, url: f"http://{hosts[name]}:{url.rpartition(':')[2]}",
                lambda name: [] if name == "v0" else ["ip", "netns", "exec", f"rj-{name}"],
                "0.0.0.0:0",
            )
        )
        members.found(*SMALL)
        members.url = members.url.replace("0.0.0.0", "127.0.0.1")
        watcher = Watcher(members)
        for name in names[1:]:
            members.enrol(name)
        down = {2: "p1", 4: "p0"}
        up: list[tuple[float, str]] = []
        while not (state := watcher.look()).finished:
            for round in [number for number in down if number <= state.round.number]:
                name = down.pop(round)
                ip("link", "set", f"rj-{name}-up", "down")
                up.append((time.monotonic() + 1.5 * PATIENCE, name))
            for when, name in up:
                if time.monotonic() >= when:
                    ip("link", "set", f"rj-{name}-up", "up")
            up = [(when, name) for when, name in up if time.monotonic() < when]
            for name in names:
                assert members.running[name].poll() in (None, 0), members.told(name)
            time.sleep(LOOK)
        for _, name in up:
            ip("link", "set", f"rj-{name}-up", "up")
        ended = finish(members, watcher, names, begun)
    print(ended)
    assert ended.rounds == 8 and not down
    longest, round, phase = ended.waits[0]
    assert longest <= PATIENCE + ALLOWANCE, f"round {round} waited {longest:.1f} s in {phase.name}"
    facts = [settled.facts for settled in read_history(tmp_path / "relay").rounds]
    assert all(set(found.scores) == {"v0", "v1"} for found in facts if found.submissions)
