"""The real thing: every member a process, one of them killed; and what needs no accelerator."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.processes import Crew, relayjax, without_accelerator

from relayjax.errors import RelayError
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
    names = ("v0", "v1", "v2", "p0", "p1", "p2", "p3")
    with Crew(tmp_path, "folder", 120.0) as members:
        members.found("--config=digits:smoke")
        for name in names[1:]:
            members.enrol(name)
        for round, name in ((2, "p1"), (4, "v2"), (6, "v0")):
            members.reach(round)
            members.restart(name)
        for name in names:
            members.finish(name, 900)
        assert members.roots(*names) == {members.verified("v1", "--rescore")}


def test_a_second_process_of_one_member_is_refused(tmp_path: Path):
    home = Home(tmp_path / "p0")
    with home.locked(), pytest.raises(RelayError, match="another process"), home.locked():
        pass
