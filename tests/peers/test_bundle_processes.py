"""The real thing: processes in two network namespaces without a link, and a stick between them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from peers.machines import machine
from peers.processes import ENVIRONMENT

from relayjax.mechanism.state import State
from relayjax.peers.awaiting import awaited
from relayjax.peers.bundle_log import WholeLog
from relayjax.peers.inbox import Inbox

SMALL = ("--config=digits:smoke", "--config.relay.participants=2", "--config.relay.validators=2")
SMALL += ("--config.relay.rounds=2", "--config.relay.braid_rounds=1")


def wait(until: Callable[[], bool], seconds: float) -> None:
    """Waits until something holds, or for some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        time.sleep(0.2)


def state(folder: Path) -> State:
    return WholeLog.here(folder)[1].history.state


@pytest.mark.slow
def test_a_relay_between_machines_without_a_link(tmp_path: Path):
    here, there, stick = (tmp_path / name for name in ("here", "there", "stick"))
    relay, replica, down, up = here / "relay", there / "relay", stick / "down", stick / "up"
    homes = {name: (there if name in ("p1", "v1") else here) / name for name in ("v0", "p0", "p1", "v1")}
    outputs = {name: open(tmp_path / f"{name}.log", "wb") for name in homes}  # noqa: SIM115
    running: list[subprocess.Popen[bytes]] = []
    with machine() as a, machine() as b:
        assert len({a.namespace, b.namespace, os.readlink("/proc/self/ns/net")}) == 3
        assert a.links == b.links == {"lo"}
        told = a.relayjax("found", str(relay), f"--home={homes['v0']}", *SMALL)
        (key,) = [line.split()[-1] for line in told.splitlines() if line.startswith("log key")]
        pinned = f"--log_key={key}"
        a.relayjax("join", str(relay), f"--home={homes['p0']}", "--name=p0", pinned)
        a.relayjax("bundle", "export", str(relay), str(down))
        b.relayjax("bundle", "import", str(down), str(replica), pinned)
        b.relayjax("join", str(replica), f"--home={homes['p1']}", "--name=p1", pinned)
        b.relayjax("join", str(replica), f"--home={homes['v1']}", "--name=v1", "--role=maintainer", pinned)
        loops = (
            a.command("maintain", str(relay), f"--home={homes['v0']}", "--patience=100000"),
            a.command("work", str(relay), f"--home={homes['p0']}", "--shard=0"),
            b.command("work", str(replica), f"--home={homes['p1']}", "--shard=1"),
        )

        def done_here() -> bool:
            now = state(relay)
            if now.finished or not {"p1", "v1"} <= now.members.keys():
                return now.finished
            return bool(awaited(now)) and set(awaited(now)) <= {"p1", "v1"}

        def done_there(names: set[str]) -> Callable[[], bool]:
            def done() -> bool:
                found = Inbox(replica).letters(lambda name, why: None)
                return names <= {letter.envelope.signer for letter in found}

            return done

        try:
            for arguments, name in zip(loops, ("v0", "p0", "p1"), strict=True):
                process = subprocess.Popen(
                    arguments, stdout=outputs[name], stderr=outputs[name], env=ENVIRONMENT
                )
                running.append(process)
            for _ in range(60):
                b.relayjax("bundle", "export", str(replica), str(up))
                a.relayjax("bundle", "import", str(up), str(relay), pinned)
                wait(done_here, 60)
                a.relayjax("bundle", "export", str(relay), str(down), f"--since={up}")
                b.relayjax("bundle", "import", str(down), str(replica))
                if (now := state(replica)).finished:
                    break
                if "v1" in awaited(now):
                    b.relayjax("maintain", str(replica), f"--home={homes['v1']}", "--once")
                wait(done_there({"p1", "v1"} & set(awaited(now))), 60)
            else:
                raise AssertionError(f"not finished after 60 trips: {state(relay).round}")
            for process in running:
                assert process.wait(timeout=120) == 0
        finally:
            for process in running:
                process.kill()
                process.wait()
            for file in outputs.values():
                file.close()
        near = a.relayjax("verify", str(relay), pinned, f"--key={homes['v0'] / 'keys' / 'v0'}", "--rescore")
        far = b.relayjax("verify", str(replica), pinned, f"--key={homes['v1'] / 'keys' / 'v1'}", "--rescore")
    roots = {line for text in (near, far) for line in text.splitlines() if line.startswith("root")}
    assert len(roots) == 1 and near.endswith("verified\n") and far.endswith("verified\n")
    now = state(replica)
    assert now.finished and now.round.number == 3
    assert all("p1" in settled.facts.submissions for settled in WholeLog.here(replica)[1].history.rounds[:1])
