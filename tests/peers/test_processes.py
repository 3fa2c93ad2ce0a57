"""The real thing: every member a process, one of them killed; and what needs no accelerator."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from peers.processes import ENVIRONMENT, command, relayjax, wait_until, without_accelerator

from relayjax.errors import RelayError
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.home import Home


def test_joining_and_looking_need_no_accelerator(tmp_path: Path):
    small = ("--config.task.hidden=8", "--config.relay.participants=2", "--config.relay.validators=1")
    relay, home = tmp_path / "relay", tmp_path / "p0"
    told = relayjax("found", str(relay), f"--home={tmp_path / 'v0'}", "--config=digits:smoke", *small)
    (key,) = [line.split()[-1] for line in told.splitlines() if line.startswith("log key")]
    member = (str(relay), f"--home={home}")
    verbs = [("join", *member, "--name=p0", f"--log_key={key}"), ("status", *member), ("status", str(relay))]
    told = without_accelerator(verbs)
    assert "2 more participants and 0 more maintainers to join" in told
    assert f"log key    {key}, as the log says itself" in told


@pytest.mark.slow
def test_four_participants_and_three_maintainers_as_processes(tmp_path: Path):
    relay, homes = tmp_path / "relay", {n: tmp_path / n for n in ("v0", "v1", "v2", "p0", "p1", "p2", "p3")}
    told = relayjax("found", str(relay), f"--home={homes['v0']}", "--config=digits:smoke")
    (key,) = [line.split()[-1] for line in told.splitlines() if line.startswith("log key")]
    for name in list(homes)[1:]:
        role = "maintainer" if name.startswith("v") else "participant"
        pinned = (f"--name={name}", f"--role={role}", f"--log_key={key}")
        relayjax("join", str(relay), f"--home={homes[name]}", *pinned)
    outputs = {name: open(tmp_path / f"{name}.log", "w") for name in homes}  # noqa: SIM115

    def start(name: str) -> subprocess.Popen[bytes]:
        verb = "maintain" if name.startswith("v") else "work"
        more = ["--patience=120"] if verb == "maintain" else [f"--shard={name[1:]}"]
        arguments = command(verb, str(relay), f"--home={homes[name]}", *more)
        return subprocess.Popen(arguments, stdout=outputs[name], stderr=outputs[name], env=ENVIRONMENT)

    running = {name: start(name) for name in homes}
    try:
        for round, name in ((2, "p1"), (4, "v2"), (6, "v0")):
            wait_until(FolderExchange(relay), homes["p0"], round, 600)
            running[name].send_signal(signal.SIGKILL)
            running[name].wait()
            running[name] = start(name)
        for process in running.values():
            assert process.wait(timeout=900) == 0
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        for file in outputs.values():
            file.close()
    roots = {
        line
        for name in homes
        for line in (tmp_path / f"{name}.log").read_text().splitlines()
        if line.startswith("ledger")
    }
    assert len(roots) == 1, roots
    opened = (f"--key={homes['v1'] / 'keys' / 'v1'}", f"--log_key={key}")
    checked = relayjax("verify", str(relay), *opened, "--rescore")
    assert roots.pop().split()[-1] in checked


def test_a_second_process_of_one_member_is_refused(tmp_path: Path):
    home = Home(tmp_path / "p0")
    with home.locked(), pytest.raises(RelayError, match="another process"), home.locked():
        pass
