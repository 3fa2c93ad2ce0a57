"""The real thing: the founder's process is killed for good amid a round, and the relay goes on without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.processes import Crew, relayjax

from relayjax import backend, peers

SMALL = ("--config=digits:smoke", "--config.task.hidden=8", "--config.relay.participants=2")
SMALL += ("--config.relay.validators=3", "--config.relay.rounds=4", "--config.relay.braid_rounds=1,3")
LEFT = ("v1", "v2", "p0", "p1")


@pytest.mark.slow
def test_the_founder_is_killed_for_good(tmp_path: Path):
    with Crew(tmp_path, "folder", 20.0, takeover=30.0) as members:
        members.found(*SMALL)
        for name in LEFT:
            members.enrol(name)
        members.reach(2)
        members.kill("v0")
        for name in LEFT:
            members.finish(name, 900)
        roots = members.roots(*LEFT)
        assert roots == {members.verified(name, "--rescore") for name in ("v1", "v2")}
        assert roots <= set(relayjax("verify", str(members.folder), "--ledger").split())
        keys = peers.keys(members.home("v1"))
        history = backend.verify(members.folder, keys=keys, log_key=members.log_key).audit.history
        assert (len(history.rounds), history.rounds[0].orderer, history.state.term.number) == (4, "v0", 1)
        assert history.rounds[-1].orderer == history.state.orderer != "v0"
        orders = f"orders     {history.state.orderer}, in term 1"
        assert orders in relayjax("status", str(members.folder))
        assert all(orders in members.told(name) for name in LEFT), "everybody is told who orders now"
