"""The real thing: the founder's process is killed for good amid a round, and the relay goes on without it."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from peers.processes import ENVIRONMENT, command, relayjax, wait_until

from relayjax import backend
from relayjax.identity import Keys
from relayjax.peers.exchange import FolderExchange

NAMES = ("v0", "v1", "v2", "p0", "p1")


@pytest.mark.slow
def test_the_founder_is_killed_for_good(tmp_path: Path):
    relay, homes = tmp_path / "relay", {name: tmp_path / name for name in NAMES}
    small = ("--config.task.hidden=8", "--config.relay.participants=2", "--config.relay.validators=3")
    small += ("--config.relay.rounds=4", "--config.relay.braid_rounds=1,3")
    told = relayjax("found", str(relay), f"--home={homes['v0']}", "--config=digits:smoke", *small)
    (key,) = [line.split()[-1] for line in told.splitlines() if line.startswith("log key")]
    for name in NAMES[1:]:
        role = "maintainer" if name.startswith("v") else "participant"
        pinned = (f"--name={name}", f"--role={role}", f"--log_key={key}")
        relayjax("join", str(relay), f"--home={homes[name]}", *pinned)
    outputs = {name: open(tmp_path / f"{name}.log", "w") for name in NAMES}  # noqa: SIM115

    def start(name: str) -> subprocess.Popen[bytes]:
        verb = "maintain" if name.startswith("v") else "work"
        more = ["--patience=20", "--takeover=30"] if verb == "maintain" else [f"--shard={name[1:]}"]
        arguments = command(verb, str(relay), f"--home={homes[name]}", *more)
        return subprocess.Popen(arguments, stdout=outputs[name], stderr=outputs[name], env=ENVIRONMENT)

    running = {name: start(name) for name in NAMES}
    try:
        wait_until(FolderExchange(relay), homes["p0"], 2, 600)
        running["v0"].send_signal(signal.SIGKILL)
        running["v0"].wait()
        for name in NAMES[1:]:
            assert running[name].wait(timeout=900) == 0, (tmp_path / f"{name}.log").read_text()
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        for file in outputs.values():
            file.close()
    printed = {name: (tmp_path / f"{name}.log").read_text().splitlines() for name in NAMES[1:]}
    roots = {line.split()[-1] for lines in printed.values() for line in lines if line.startswith("ledger")}
    assert len(roots) == 1, printed
    for name in ("v1", "v2"):
        pinned = (f"--key={homes[name] / 'keys' / name}", f"--log_key={key}")
        assert roots & set(relayjax("verify", str(relay), *pinned, "--rescore").split())
    assert roots & set(relayjax("verify", str(relay), "--ledger").split())
    checked = backend.verify(relay, keys=Keys.load(homes["v1"] / "keys", "v1"), log_key=key)
    history = checked.audit.history
    assert (len(history.rounds), history.rounds[0].orderer, history.state.term.number) == (4, "v0", 1)
    assert history.rounds[-1].orderer == history.state.orderer != "v0"
    assert f"orders     {history.state.orderer}, in term 1" in relayjax("status", str(relay))
