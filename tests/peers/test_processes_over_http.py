"""Members as processes that have nothing in common but an address; one of each kind is killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.processes import Crew, relayjax

SMALL = ("--config=digits:smoke", "--config.relay.participants=2", "--config.relay.validators=2")
SMALL += ("--config.relay.rounds=4", "--config.relay.braid_rounds=2")


@pytest.mark.slow
def test_a_relay_of_processes_over_http(tmp_path: Path) -> None:
    with Crew(tmp_path, "http", 60.0) as members:
        members.found(*SMALL)
        for name in ("v1", "p0", "p1"):
            members.enrol(name)
        for round, name in ((2, "p0"), (3, "v0")):
            members.reach(round)
            members.restart(name)
        for name in ("p0", "p1", "v1"):
            members.finish(name, 900)
        members.copy("v1")
        assert "all 4 are settled" in relayjax("status", members.url, f"--home={members.home('p1')}")
        members.finish("v0", 900)
        assert members.roots("v0", "v1", "p0", "p1") == {members.verified("v1")}
