"""Members as processes that have nothing in common but a bucket; two are killed, the store stands still."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from peers.bucket import SECRET, URL, object_store
from peers.processes import ENVIRONMENT, command, relayjax, wait_until

SMALL = ("--config=digits:smoke", "--config.relay.participants=2", "--config.relay.validators=2")
SMALL += ("--config.relay.rounds=4", "--config.relay.braid_rounds=2")


@pytest.mark.slow
def test_a_relay_of_processes_over_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relay, homes = tmp_path / "relay", {name: tmp_path / name for name in ("v0", "v1", "p0", "p1")}
    told = relayjax("found", str(relay), f"--home={homes['v0']}", *SMALL)
    (key,) = [line.split()[-1] for line in told.splitlines() if line.startswith("log key")]
    outputs = {name: open(tmp_path / f"{name}.log", "wb") for name in homes}  # noqa: SIM115
    running = dict[str, subprocess.Popen[bytes]]()

    def start(name: str) -> None:
        verb, where = ("work" if name.startswith("p") else "maintain"), str(relay) if name == "v0" else URL
        more = [f"--shard={name[1:]}"] if verb == "work" else ["--patience=120"]
        if name == "v0":
            more.append(f"--publish={URL}")
        arguments = command(verb, where, f"--home={homes[name]}", *more)
        running[name] = subprocess.Popen(
            arguments, stdout=outputs[name], stderr=outputs[name], env=ENVIRONMENT
        )

    with object_store(tmp_path) as store:
        for name, value in store.environment.items():
            monkeypatch.setitem(ENVIRONMENT, name, value)
            monkeypatch.setenv(name, value)
        try:
            start("v0")
            for _ in range(1_800):
                if store.exchange().fetch("ledger/checkpoint", 10_000):
                    break
                assert running["v0"].poll() is None, (tmp_path / "v0.log").read_text()
                time.sleep(0.1)
            for name, role in (("v1", "maintainer"), ("p0", "participant"), ("p1", "participant")):
                pinned = (f"--name={name}", f"--role={role}", f"--log_key={key}")
                relayjax("join", URL, f"--home={homes[name]}", *pinned)
                start(name)
            for round, name in ((2, "p0"), (3, "v0")):
                wait_until(store.exchange(), homes["p0"], round)
                running[name].send_signal(signal.SIGKILL)
                running[name].wait()
                store.stop()
                start(name)
                time.sleep(2)
                store.start()
            for name in homes:
                assert running[name].wait(timeout=900) == 0, (tmp_path / f"{name}.log").read_text()
            copied = relayjax("copy", URL, str(tmp_path / "copy"), f"--log_key={key}")
            assert "all 4 are settled" in relayjax("status", URL, f"--home={homes['p1']}")
        finally:
            for process in running.values():
                process.kill()
                process.wait()
            for file in outputs.values():
                file.close()
    logs = [(tmp_path / f"{name}.log").read_text() for name in homes]
    assert not any(SECRET in text or "Traceback" in text for text in logs), logs
    roots = {line for text in [*logs, copied] for line in text.splitlines() if line.startswith("ledger")}
    assert len(roots) == 1, roots
    checked = relayjax(
        "verify", str(tmp_path / "copy"), f"--log_key={key}", f"--key={homes['v1'] / 'keys' / 'v1'}"
    )
    assert roots.pop().split()[-1] in checked
