"""How long nobody trains between two legs of a real relay, with and without training ahead.

    python benchmarks/gap.py                  # the digits of configs/digits.py: a minute on 2 cores
    python benchmarks/gap.py --relay=large    # a transformer of 102 million parameters, 100 steps a leg
    python benchmarks/gap.py --relay=large --tokens=64 --rounds=4

One relay is played from its first to its last round, ledger, sealing and all; stretches of its rounds train
the next leg ahead and the others do not, in turn, which changes nothing in the ledger. The gap is what passes
from the end of one training to the beginning of the next, which is everything that a leg costs beside
training; share = gap / (training + gap), medians with the quartiles in brackets. A round is the time from one
settlement to the next: what is done side by side slows training down, and only there is that to be seen.

Where all have waited equally long, as in the first lap after a braid round, the beacon of the round draws who
is next: nobody can know before it is settled. Those gaps stand in a row of their own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from peers.runner import quartiles
from rich.console import Console
from rich.table import Table

from relayjax import backend
from relayjax.config import Config, resolve
from relayjax.learning.leg import LegSettings
from relayjax.learning.models import TransformerSettings
from relayjax.learning.tasks.text import Text
from relayjax.mechanism.rules import RelayJAXRules, Schedule
from relayjax.relay.events import Event, Settled, Trained


@dataclass(frozen=True)
class Gap:
    """What lies between the leg of one chain round and that of the next.

    Attributes:
      ahead: whether it was to be trained ahead.
      drawn: whether a lot decided whose it is.
      train: seconds of the leg after the gap; 0 if it is not known.
      gap: seconds of the gap.
      round: seconds from the one settlement to the next.
    """

    ahead: bool
    drawn: bool
    train: float
    gap: float
    round: float


def large(rounds: int, tokens: int) -> Config:
    """A transformer of 102 million parameters whose steps take so many tokens."""
    model = TransformerSettings(layers=8, width=1024, heads=16, context=64)
    task = Text(kinds=("python", "stubs"), kind_bytes=60_000, validation=10, test=10, model=model)
    leg = LegSettings(steps=100, batch_size=tokens // 64, objective="plain", anchor=0.0, learning_rate=0.01)
    relay = Schedule(rounds=rounds, participants=2, validators=3, braid_rounds=(), draw=8)
    return Config(task=task, leg=leg, relay=relay, rules=RelayJAXRules(tolerance=10**12))


def play(
    config: Config, stretch: int, under: str | None, listen: Callable[[Event], None]
) -> tuple[list[Gap], int, int]:
    """Plays a relay in a new folder; every other stretch of so many rounds does not train ahead.

    Returns:
      The gaps between chain rounds, how many legs began ahead, and how many could have.
    """
    told: list[Event] = []
    walls: dict[int, float] = {}
    modes: dict[int, bool] = {}
    with (
        tempfile.TemporaryDirectory(dir=under) as folder,
        backend.open_run(config, Path(folder) / "run") as run,
    ):
        run.subscribe(told.append)
        run.subscribe(listen)
        while not run.finished:
            number, begin = run.state.round.number, time.perf_counter()
            modes[number] = (number - 1) // stretch % 2 == 0
            run.step(overlap=True, ahead=modes[number])
            walls[number] = time.perf_counter() - begin
        run.flush()
    # A round is announced when the next one is kept: its event counts the next leg, and the gap before that.
    settled = {event.round: event for event in told if isinstance(event, Settled)}
    chains = {number for number, event in settled.items() if event.topology == "chain"}
    lap = config.relay.participants
    gaps = []
    for number in sorted(chains):
        compiles = number == min(chains) and config.relay.braid_rounds  # what a chain round's test needs
        if number + 1 in chains and not compiles:
            braid = max((b for b in config.relay.braid_rounds if b < number), default=0)
            train = settled[number].seconds["train"] if number > 1 else 0.0  # that counts two legs
            drawn = number + 1 < braid + lap
            gaps.append(Gap(modes[number], drawn, train, settled[number].idle, walls[number + 1]))
    began = sum(isinstance(event, Trained) and event.ahead for event in told)
    return gaps, began, sum(modes[number] for number in settled if number + 1 in settled)


def table(gaps: list[Gap], begun: int, possible: int) -> Table:
    """A row for each way, and for what lots decide."""
    found = Table(title=f"{begun} of {possible} legs that could be were trained ahead", title_justify="left")
    found.add_column("next leg")
    for heading in ("legs", "training, ms", "gap, ms", "share", "share of all", "round, ms"):
        found.add_column(heading, justify="right")
    for ahead in (True, False):
        for drawn in (False, True):
            some = [gap for gap in gaps if (gap.ahead, gap.drawn) == (ahead, drawn)]
            timed = [gap for gap in some if gap.train]
            if not timed:
                continue
            shares = [gap.gap / (gap.gap + gap.train) for gap in timed]
            whole = sum(gap.gap for gap in timed) / sum(gap.gap + gap.train for gap in timed)
            found.add_row(
                ("ahead" if ahead else "in its round") + (", by lot" if drawn else ""),
                str(len(some)),
                _range([1e3 * gap.train for gap in timed]),
                _range([1e3 * gap.gap for gap in some]),
                _range(shares, ".1%"),
                f"{whole:.1%}",
                _range([1e3 * gap.round for gap in some]),
            )
    return found


def _range(values: list[float], form: str = ",.1f") -> str:
    low, middle, high = (format(value, form) for value in quartiles(values))
    return f"{middle} [{low}–{high}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="how long does nobody train?")
    parser.add_argument("--relay", choices=("digits", "large"), default="digits")
    parser.add_argument("--rounds", type=int, default=8, help="of the large relay")
    parser.add_argument("--tokens", type=int, default=256, help="of a step of the large relay, 64 or more")
    parser.add_argument("--under", help="where the run is written, such as /dev/shm to leave the disk out")
    arguments, console = parser.parse_args(), Console(width=130)

    def listen(event: Event) -> None:
        if isinstance(event, Settled) and arguments.relay == "large":
            train, load = event.seconds["train"], os.getloadavg()[0]
            console.print(
                f"after round {event.round}: trained {train:.1f} s, idle {event.idle:.2f} s; load {load:.1f}"
            )

    before = os.getloadavg()[0]
    if arguments.relay == "large":
        config, stretch = large(arguments.rounds, arguments.tokens), max(1, arguments.rounds // 2)
    else:
        config, stretch = resolve("digits", {}, 0), 5
    console.print(table(*play(config, stretch, arguments.under, listen)))
    console.print(f"{os.cpu_count()} cores; load {before:.1f} before, {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
