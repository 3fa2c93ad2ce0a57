"""What an endpoint sends: in a network of its own, whose only way out ends in this test."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import peers.lines  # noqa: F401  skips this file where iroh is not installed
import pytest

PROGRAM = Path(__file__).with_name("outside.py")
SEARCH = "239.255.255.250:1900"
"""Where iroh looks for a router that forwards ports (UPnP), which its binding can't be told to leave."""


def sent(route: bool) -> dict[str, list[str]]:
    """Where packets went: what this machine says by itself, then with a relay served and used.

    Args:
      route: whether there is a way to other networks.
    """
    command = ["unshare", "--net", "--map-root-user", sys.executable, str(PROGRAM), *["route"] * route]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"no network of our own can be made here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("ip")), reason="needs unshare and ip")
@pytest.mark.parametrize("route", [False, True], ids=["isolated", "routed"])
def test_nothing_is_sent_to_anybody_but_the_peer(route: bool) -> None:
    found = sent(route)
    assert found["asked"] == ["10.9.9.9:53"], "the test sees what leaves"
    assert set(found["loopback"]) <= ({SEARCH} if route else set())
    assert set(found["everywhere"]) <= ({SEARCH} if route else set())
