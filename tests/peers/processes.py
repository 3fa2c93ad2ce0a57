"""Members as processes: what the tests of folders and of HTTP share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from relayjax.errors import ExchangeError
from relayjax.peers.exchange import Exchange
from relayjax.peers.home import Home
from relayjax.peers.joining import follow

ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu"}


def command(*arguments: str) -> list[str]:
    """The command line of a verb."""
    return [sys.executable, "-m", "relayjax", *arguments]


def relayjax(*arguments: str) -> str:
    """Runs a command to its end and returns what it prints."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until(exchange: Exchange, home: Path, round: int, seconds: float = 600) -> None:
    """Waits until a round has begun, as a follower sees it."""
    follower = follow(exchange, Home(home))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(ExchangeError):
            follower.poll()
        state = follower.chronicle.state
        if state is not None and state.round.number >= round:
            return
        time.sleep(0.2)
    raise AssertionError(f"round {round} has not begun after {seconds} s")
