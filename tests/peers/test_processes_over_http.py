"""Members as processes that have nothing in common but an address; one of each kind is killed."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from peers.processes import ENVIRONMENT, command, relayjax, wait_until

from relayjax.peers.http_exchange import HttpExchange

SMALL = ("--config=digits:smoke", "--config.relay.participants=2", "--config.relay.validators=2")
SMALL += ("--config.relay.rounds=4", "--config.relay.braid_rounds=2")


def wait_for(log: Path, pattern: str, process: subprocess.Popen[bytes]) -> str:
    """Waits until a process has told something."""
    for _ in range(1_800):
        if match := re.search(pattern, log.read_text()):
            return match[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.mark.slow
def test_a_relay_of_processes_over_http(tmp_path: Path) -> None:
    relay, homes = tmp_path / "relay", {name: tmp_path / name for name in ("v0", "v1", "p0", "p1")}
    told = relayjax("found", str(relay), f"--home={homes['v0']}", *SMALL)
    (key,) = [line.split()[-1] for line in told.splitlines() if line.startswith("log key")]
    outputs = {name: open(tmp_path / f"{name}.log", "wb") for name in homes}  # noqa: SIM115
    address, running = "127.0.0.1:0", dict[str, subprocess.Popen[bytes]]()

    def start(name: str) -> None:
        verb, where = ("work", url) if name.startswith("p") else ("maintain", url)
        more = [f"--shard={name[1:]}"] if verb == "work" else ["--patience=60"]
        if name == "v0":
            where, more = str(relay), [*more, f"--serve={address}"]
        arguments = command(verb, where, f"--home={homes[name]}", *more)
        running[name] = subprocess.Popen(
            arguments, stdout=outputs[name], stderr=outputs[name], env=ENVIRONMENT
        )

    url = ""
    try:
        start("v0")
        url = wait_for(tmp_path / "v0.log", r"serving +(http://\S+)", running["v0"])
        address = url.removeprefix("http://")
        for name, role in (("v1", "maintainer"), ("p0", "participant"), ("p1", "participant")):
            pinned = (f"--name={name}", f"--role={role}", f"--log_key={key}")
            relayjax("join", url, f"--home={homes[name]}", *pinned)
            start(name)
        for round, name in ((2, "p0"), (3, "v0")):
            wait_until(HttpExchange(url), homes["p0"], round)
            running[name].send_signal(signal.SIGKILL)
            running[name].wait()
            start(name)
        for name in ("p0", "p1", "v1"):
            assert running[name].wait(timeout=900) == 0, (tmp_path / f"{name}.log").read_text()
        copied = relayjax("copy", url, str(tmp_path / "copy"), f"--log_key={key}")
        assert "all 4 are settled" in relayjax("status", url, f"--home={homes['p1']}")
        assert running["v0"].wait(timeout=900) == 0
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        for file in outputs.values():
            file.close()
    logs = [(tmp_path / f"{name}.log").read_text() for name in homes]
    roots = {line for text in [*logs, copied] for line in text.splitlines() if line.startswith("ledger")}
    assert len(roots) == 1, roots
    checked = relayjax(
        "verify", str(tmp_path / "copy"), f"--log_key={key}", f"--key={homes['v1'] / 'keys' / 'v1'}"
    )
    assert roots.pop().split()[-1] in checked
