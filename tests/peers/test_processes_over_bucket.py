"""Members as processes that have nothing in common but a bucket; two are killed, the store stands still."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from peers.bucket import SECRET, URL, object_store
from peers.processes import ENVIRONMENT, Crew, relayjax

SMALL = ("--config=digits:smoke", "--config.relay.participants=2", "--config.relay.validators=2")
SMALL += ("--config.relay.rounds=4", "--config.relay.braid_rounds=2")
NAMES = ("v0", "v1", "p0", "p1")


@pytest.mark.slow
def test_a_relay_of_processes_over_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store(tmp_path) as store, Crew(tmp_path, URL, 120.0) as members:
        for name, value in store.environment.items():
            monkeypatch.setitem(ENVIRONMENT, name, value)
            monkeypatch.setenv(name, value)
        members.found(*SMALL)
        for name in NAMES[1:]:
            members.enrol(name)
        for round, name in ((2, "p0"), (3, "v0")):
            members.reach(round)
            members.kill(name)
            store.stop()
            members.start(name)
            time.sleep(2)
            store.start()
        for name in NAMES:
            members.finish(name, 900)
        members.copy("v1")
        assert "all 4 are settled" in relayjax("status", URL, f"--home={members.home('p1')}")
        assert members.roots(*NAMES) == {members.verified("v1")}
        told = [members.told(name) for name in NAMES]
    assert not any(SECRET in text or "Traceback" in text for text in told), told
