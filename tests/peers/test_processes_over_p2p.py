"""Members as processes that have nothing in common but the address of an endpoint; two of them are killed."""

from __future__ import annotations

from pathlib import Path

import peers.lines  # noqa: F401  skips this file where iroh is not installed
import pytest
from peers.processes import Crew, relayjax

SMALL = ("--config=digits:smoke", "--config.relay.participants=2", "--config.relay.validators=2")
SMALL += ("--config.relay.rounds=3", "--config.relay.braid_rounds=1,3", "--config.task.hidden=4000")
"""A model of 1.2 MB, so that a version goes in a piece beside its head."""

SERVING = r"serving +(iroh:\S+)"


class Peers(Crew):
    """All but v0 reach the relay over iroh alone; p0 serves what it holds, and p1 asks it first."""

    def places(self, name: str) -> list[str]:
        return [str(self.folder) if name == "v0" else self.url]

    def lines(self, name: str) -> list[str]:
        if name == "p1":
            return ["--peers=" + self.wait_for("p0", SERVING)]
        return {"v0": [f"--serve=iroh:{self.listen}"], "p0": ["--serve=iroh:127.0.0.1:0"]}.get(name, [])


@pytest.mark.slow
def test_a_relay_of_processes_over_iroh(tmp_path: Path) -> None:
    with Peers(tmp_path, "folder", 60.0) as crew:
        crew.found(*SMALL)
        crew.url = crew.wait_for("v0", SERVING)
        crew.listen = crew.url.partition("@")[2]
        for name in ("v1", "p0", "p1"):
            crew.enrol(name)
        for name in ("p0", "v0"):  # the key is kept: who comes back is found at the same address
            crew.reach(2 if name == "p0" else 3)
            crew.restart(name)
        for name in ("p0", "p1", "v1"):
            crew.finish(name, 600)
        assert "all 3 are settled" in relayjax("status", crew.url, f"--home={crew.home('p1')}")
        relayjax("copy", crew.url, str(tmp_path / "copy"), f"--log_key={crew.log_key}")
        crew.finish("v0", 600)
    key = f"--key={crew.home('v1') / 'keys' / 'v1'}"
    checked = relayjax("verify", str(tmp_path / "copy"), f"--log_key={crew.log_key}", key)
    (root,) = crew.roots("p0", "p1", "v0")
    assert root == checked.split("root", 1)[1].split()[0]
    assert crew.told("v0").count(crew.url) == 2
