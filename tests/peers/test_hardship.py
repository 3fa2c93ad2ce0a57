"""A relay of processes to which everything happens at once; `line.py` and `hardship.py` say what and how."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from peers.hardship import LOOK, Watcher, finish, play
from peers.line import CLEAR, Line, Weather, laid
from peers.processes import Crew

from relayjax.backend import read_history

PATIENCE = 30.0
ALLOWANCE = 30.0
"""Seconds that a phase may take beyond the patience: one look of the orderer, who may be measuring or sealing
meanwhile, on a machine that has to do much else. One member stays away for as long as the relay lasts, so
without the patience nothing would end."""

SMOKE = ("--config=digits:smoke",)
HARD = (
    *SMOKE,
    "--config.relay.participants=6",
    "--config.relay.rounds=14",
    "--config.relay.braid_rounds=1,7",
)
ROUNDS, PARTICIPANTS, MAINTAINERS = 14, 6, 3

BAD = Weather(drop=0.05, cut=0.05, late=0.15, delay=1.0)
CHANGED = Weather(flip=0.03)
SLOW = Weather(late=1.0, delay=0.2, rate=16_384)


@pytest.mark.slow
@pytest.mark.parametrize("over", ["folder", "http"])
def test_members_as_processes_finish_and_verify_the_same(tmp_path: Path, over: str):
    with Crew(tmp_path, over, 120.0) as members:
        ended = play(members, 4, 3, *SMOKE)
    assert ended.rounds == 12
    for settled in read_history(tmp_path / "relay").rounds:
        assert set(settled.facts.pairs) == set(settled.facts.submissions)
        assert set(settled.facts.scores) == {"v0", "v1", "v2"}


class Fate:
    """What happens to whom in which round, drawn from a seed; nothing new happens in the last four rounds."""

    def __init__(self, seed: int, members: Crew, lines: dict[str, Line]):
        draw = random.Random(seed)
        victims = [f"p{k}" for k in range(PARTICIPANTS)]
        draw.shuffle(victims)
        killed, frozen, stuck, cut_off, shaky, changed = victims
        acts = [
            lambda: self.restart(killed),
            lambda: self.restart(draw.choice(victims)),
            lambda: self.freeze(frozen, 1.5 * PATIENCE),
            lambda: self.freeze(stuck, math.inf),
            lambda: self.lose("v2"),
        ]
        if lines:
            acts += [lambda: self.swallow(cut_off)]
            lines[killed].weather = lines["v1"].weather = SLOW
            lines[shaky].weather, lines[changed].weather = BAD, CHANGED
        self.plan = dict(zip(draw.sample(range(2, ROUNDS - 3), len(acts)), acts, strict=True))
        self.lost: set[str] = set()
        self.happened: list[str] = []
        self._members, self._lines = members, lines
        self._usual = {name: line.weather for name, line in lines.items()}
        self._later: list[tuple[float, Callable[[], None]]] = []

    def look(self, round: int) -> None:
        """Does what is due in a round, and ends what has lasted long enough."""
        due = [number for number in self.plan if number <= round]
        for number in sorted(due):
            self.plan.pop(number)()
        over = [end for when, end in self._later if when <= time.monotonic()]
        self._later = [(when, end) for when, end in self._later if when > time.monotonic()]
        for end in over:
            end()

    def restart(self, name: str) -> None:
        self.happened.append(f"{name} killed and started again")
        self._members.restart(name)

    def freeze(self, name: str, seconds: float) -> None:
        self.happened.append(f"{name} frozen for {seconds} s")
        self._members.freeze(name)
        self._later.append((time.monotonic() + seconds, lambda: self._members.thaw(name)))

    def swallow(self, name: str) -> None:
        self.happened.append(f"{name} cut off")
        line, usual = self._lines[name], self._usual[name]
        line.weather = Weather(swallow=True)
        self._later.append((time.monotonic() + 1.5 * PATIENCE, lambda: setattr(line, "weather", usual)))

    def lose(self, name: str) -> None:
        self.happened.append(f"{name} killed for good")
        self._members.kill(name)
        self.lost.add(name)

    def end(self) -> None:
        """Ends what still lasts."""
        for _, end in self._later:
            end()


@pytest.mark.slow
@pytest.mark.parametrize("over", ["folder", "http"])
def test_a_relay_under_hardship_finishes_and_loses_nothing(tmp_path: Path, over: str):
    seed, begun = int(os.environ.get("HARDSHIP_SEED", "1")), time.monotonic()
    names = [f"v{k}" for k in range(MAINTAINERS)] + [f"p{k}" for k in range(PARTICIPANTS)]
    lines: dict[str, Line] = {}
    ports: dict[str, int] = {}
    reached = lambda name, url: f"http://127.0.0.1:{ports[name]}"  # noqa: E731
    with ExitStack() as stack, Crew(tmp_path, over, PATIENCE, reached) as members:
        members.found(*HARD)
        if over == "http":
            host, _, port = members.listen.rpartition(":")
            lines = {n: Line((host, int(port)), seed=seed + k) for k, n in enumerate(names[1:])}
            ports |= {name: stack.enter_context(laid(line)) for name, line in lines.items()}
        watcher = Watcher(members)
        for name in names[1:]:
            members.enrol(name)
        fate = Fate(seed, members, lines)
        while not (state := watcher.look()).finished:
            fate.look(state.round.number)
            for name in set(names) - fate.lost:
                assert members.running[name].poll() in (None, 0), members.told(name)
            time.sleep(LOOK)
        fate.end()
        for line in lines.values():
            line.weather = CLEAR  # who is cut off at the very end would wait for somebody who serves no more
        ended = finish(members, watcher, [name for name in names if name not in fate.lost], begun)
    print(ended, *fate.happened, *(f"{n}: {dict(line.done)}" for n, line in lines.items()), sep="\n")
    assert ended.rounds == ROUNDS and not fate.plan and len(watcher.shown) > ROUNDS
    longest, round, phase = ended.waits[0]
    assert longest <= PATIENCE + ALLOWANCE, f"round {round} waited {longest:.1f} s in {phase.name}"
    assert not lines or {"drop", "cut", "flip", "late", "swallow"} <= {
        f for line in lines.values() for f in line.done
    }
