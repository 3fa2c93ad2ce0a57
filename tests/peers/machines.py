"""Machines without a network: network namespaces with nothing but a loopback interface that is down."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from peers.processes import ENVIRONMENT, command

_APART = ("--net",) if os.geteuid() == 0 else ("--user", "--map-root-user", "--net")
_INTO = ("--net",) if os.geteuid() == 0 else ("--user", "--preserve-credentials", "--net")


@dataclass
class Machine:
    """A network namespace, held open by a process."""

    pid: int

    def command(self, *arguments: str) -> list[str]:
        """The command line of a verb that runs there."""
        return ["nsenter", f"--target={self.pid}", *_INTO, "--", *command(*arguments)]

    def relayjax(self, *arguments: str) -> str:
        """Runs a verb there to its end and returns what it prints."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, env=ENVIRONMENT, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def links(self) -> set[str]:
        """Names of its network interfaces."""
        lines = Path(f"/proc/{self.pid}/net/dev").read_text().splitlines()[2:]
        return {line.partition(":")[0].strip() for line in lines}

    @property
    def namespace(self) -> str:
        """What tells it from others."""
        return os.readlink(f"/proc/{self.pid}/ns/net")


@contextmanager
def machine() -> Iterator[Machine]:
    """A machine, for a time; skips the test where the system does not allow one."""
    hold = ["unshare", *_APART, "sh", "-c", "echo ready; exec sleep infinity"]
    try:
        holder = subprocess.Popen(hold, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.skip("unshare (util-linux) is not installed")
    assert holder.stdout and holder.stderr
    try:
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"network namespaces are not permitted here: {holder.stderr.read().strip()}")
        yield Machine(holder.pid)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
        holder.stderr.close()
