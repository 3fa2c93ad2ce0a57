"""Members as processes that have nothing in common but the address of an endpoint; two of them are killed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import peers.lines  # noqa: F401  skips this file where iroh is not installed
import pytest
from peers.processes import ENVIRONMENT, Crew, command, relayjax

SMALL = ("--config=digits:smoke", "--config.relay.participants=2", "--config.relay.validators=2")
SMALL += ("--config.relay.rounds=3", "--config.relay.braid_rounds=1,3", "--config.task.hidden=4000")
"""A model of 1.2 MB, so that a version goes in a piece beside its head."""

SERVING = r"serving +(iroh:\S+)"


class Peers(Crew):
    """All but v0 reach the relay over iroh alone; p0 serves what it holds, and p1 asks it first."""

    def place(self, name: str) -> str:
        return str(self.folder) if name == "v0" else self.url

    def start(self, name: str) -> None:
        verb = "maintain" if name.startswith("v") else "work"
        more = [f"--shard={name[1:]}"] if verb == "work" else [f"--patience={self.patience}"]
        if name in ("v0", "p0"):
            more += [f"--serve=iroh:{self.listen if name == 'v0' else '127.0.0.1:0'}"]
        if name == "p1":
            more += ["--peers=" + self.wait_for("p0", SERVING)]
        arguments = command(verb, self.place(name), f"--home={self.home(name)}", *more)
        with open(self.base / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(arguments, stdout=log, stderr=log, env=ENVIRONMENT)


@pytest.mark.slow
def test_a_relay_of_processes_over_iroh(tmp_path: Path) -> None:
    crew = Peers(tmp_path, "folder", 60.0)
    try:
        crew.found(*SMALL)
        crew.url = crew.wait_for("v0", SERVING)
        crew.listen = crew.url.partition("@")[2]
        for name in ("v1", "p0", "p1"):
            crew.enrol(name)
        for name in ("p0", "v0"):  # the key is kept: who comes back is found at the same address
            crew.reach(2 if name == "p0" else 3)
            crew.kill(name)
            crew.start(name)
        for name in ("p0", "p1", "v1"):
            crew.finish(name, 600)
        assert "all 3 are settled" in relayjax("status", crew.url, f"--home={crew.home('p1')}")
        relayjax("copy", crew.url, str(tmp_path / "copy"), f"--log_key={crew.log_key}")
        crew.finish("v0", 600)
    finally:
        for process in crew.running.values():
            process.kill()
            process.wait()
    key = f"--key={crew.home('v1') / 'keys' / 'v1'}"
    checked = relayjax("verify", str(tmp_path / "copy"), f"--log_key={crew.log_key}", key)
    roots = [
        line.split()[-1]
        for name in ("p0", "p1", "v0")
        for line in crew.told(name).splitlines()
        if line.startswith("ledger")
    ]
    assert len(roots) == 3 and set(roots) == {checked.split("root", 1)[1].split()[0]}
    assert crew.told("v0").count(crew.url) == 2
