"""Members as processes: what the tests of folders, of HTTP, of a bucket and of hardship share."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from relayjax import peers
from relayjax.errors import ExchangeError, WorkdirError

ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu"}


def command(*arguments: str) -> list[str]:
    """The command line of a verb."""
    return [sys.executable, "-m", "relayjax", *arguments]


def relayjax(*arguments: str) -> str:
    """Runs a command to its end and returns what it prints."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_accelerator(verbs: Sequence[Sequence[str]]) -> str:
    """Runs verbs one after the other where the accelerator's packages can't be imported; what they print."""
    program = (
        "import sys\n"
        "for name in ('jax', 'jaxlib', 'flax', 'optax', 'orbax'): sys.modules[name] = None\n"
        "from relayjax import cli\n"
        f"sys.exit(any([cli.main(arguments) for arguments in {verbs}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(holds: Callable[[], bool], seconds: float, why: Callable[[], str]) -> None:
    """Waits until something holds; fails with the reason if it does not in that time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, why()
        time.sleep(0.2)


@dataclass
class Crew:
    """The members of a relay, each a process with a home of its own; v0 founds it and orders the records.

    Attributes:
      base: directory of all of them; the relay's folder in it is theirs in common only where they meet there.
      over: `folder`; or `http`, or the address of a bucket, to have all but v0 reach the relay there alone.
      patience: seconds.
      reached: makes the address that a member uses out of its name and the true one.
      inside: command that a member is started by, to put it into a place of its own.
      listen: HOST:PORT where it is served over HTTP.
      takeover: seconds; None for what follows from the patience.
    """

    base: Path
    over: str
    patience: float
    reached: Callable[[str, str], str] = lambda name, url: url
    inside: Callable[[str], list[str]] = lambda name: []
    listen: str = "127.0.0.1:0"
    takeover: float | None = None
    log_key: str = ""
    url: str = ""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves nobody running."""
        for process in self.running.values():
            process.kill()
            process.wait()

    @property
    def folder(self) -> Path:
        return self.base / "relay"

    def home(self, name: str) -> Path:
        return self.base / name

    def told(self, name: str) -> str:
        """All that a member has printed, over its restarts."""
        return (self.base / f"{name}.log").read_text(errors="replace")

    def found(self, *config: str) -> None:
        """Founds the relay with these flags and starts who orders it."""
        told = relayjax("found", str(self.folder), f"--home={self.home('v0')}", *config)
        (self.log_key,) = re.findall(r"^log key +(\S+)", told, re.MULTILINE)
        self.start("v0")
        if self.over == "http":
            self.url = self.wait_for("v0", r"serving +(http://\S+)")
            self.listen = self.url.removeprefix("http://")  # where it is served after a restart, too
        elif self.over != "folder":
            self.url = self.over
            until(self._is_there, 180, lambda: self.told("v0"))

    def _is_there(self) -> bool:
        with suppress(ExchangeError, WorkdirError):
            peers.follow(self.url)
            return True
        return False

    def places(self, name: str) -> list[str]:
        """Where a member meets the others, as it is told at every start."""
        return [str(self.folder) if self.over == "folder" or name == "v0" else self.reached(name, self.url)]

    def lines(self, name: str) -> list[str]:
        """The flags by which others reach a member."""
        if name != "v0" or self.over == "folder":
            return []
        return [f"--serve={self.listen}" if self.over == "http" else f"--publish={self.over}"]

    def enrol(self, name: str) -> None:
        """Has a member join over a line that works, and starts it on its own."""
        place = self.url or str(self.folder)
        role = "maintainer" if name.startswith("v") else "participant"
        flags = (f"--home={self.home(name)}", f"--name={name}", f"--role={role}")
        relayjax("join", place, *flags, f"--log_key={self.log_key}")
        self.start(name)

    def start(self, name: str) -> None:
        """Starts a member; the command is the same the first time and after a kill."""
        if name.startswith("v"):
            verb, more = "maintain", [f"--patience={self.patience}"]
            more += [] if self.takeover is None else [f"--takeover={self.takeover}"]
        else:
            verb, more = "work", [f"--shard={name[1:]}"]
        self.run(name, verb, *self.places(name), *more, *self.lines(name))

    def run(self, name: str, verb: str, *arguments: str) -> None:
        """Starts a member by any command, with its home."""
        line = [*self.inside(name), *command(verb, *arguments, f"--home={self.home(name)}")]
        with open(self.base / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(line, stdout=log, stderr=log, env=ENVIRONMENT)

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].wait()

    def restart(self, name: str) -> None:
        """Kills a member and starts it again."""
        self.kill(name)
        self.start(name)

    def freeze(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGCONT)

    def wait_for(self, name: str, pattern: str, seconds: float = 180) -> str:
        """Waits until a member has told something; returns the first group of it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if match := re.search(pattern, self.told(name)):
                return match[1]
            assert self.running[name].poll() is None, self.told(name)
            time.sleep(0.1)
        raise AssertionError(self.told(name))

    def reach(self, round: int, seconds: float = 600) -> None:
        """Waits until a round has begun."""
        observer = peers.follow(self.url or self.folder)

        def begun() -> bool:
            with suppress(ExchangeError):
                observer.poll()
            return observer.state is not None and observer.state.round.number >= round

        until(begun, seconds, lambda: f"round {round} has not begun after {seconds} s")

    def finish(self, name: str, seconds: float) -> None:
        """Waits for a member to end as it should."""
        assert self.running[name].wait(timeout=seconds) == 0, self.told(name)

    def roots(self, *names: str) -> set[str]:
        """The ledger's roots that members have told at their ends."""
        lines = [re.findall(r"^ledger .*root ([0-9a-f]{64})$", self.told(n), re.MULTILINE) for n in names]
        return {found[-1] if found else "none" for found in lines}

    def verified(self, name: str, *flags: str) -> str:
        """Has a member verify the relay with its own key, from afar a copy of its own; returns the root."""
        place = self.folder if self.over == "folder" else self.base / f"{name}-copy"
        key = self.home(name) / "keys" / name
        told = relayjax("verify", str(place), f"--log_key={self.log_key}", f"--key={key}", *flags)
        (root,) = re.findall(r"^root +([0-9a-f]{64})", told, re.MULTILINE)
        return root

    def copy(self, name: str) -> None:
        """Has a member fetch all of the relay, while it is served."""
        relayjax("copy", self.url, str(self.base / f"{name}-copy"), f"--log_key={self.log_key}")
