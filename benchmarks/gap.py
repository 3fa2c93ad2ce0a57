"""How long nobody trains in a real relay, with and without training ahead.

    python benchmarks/gap.py                  # the digits of configs/digits.py: a minute on 2 cores
    python benchmarks/gap.py --relay=large    # a transformer of 102 million parameters, 100 steps a leg
    python benchmarks/gap.py --relay=large --tokens=64 --rounds=4

Relays are played from their first to their last round, ledger, sealing and all, by turns with the legs to
come trained ahead and with each trained in its round, which changes nothing in the ledger. The gap is what
passes from the end of one training to the beginning of the next, which is everything that a leg costs beside
training: delta, codec, hash, test, valuation, settlement, store. Of the legs of a braid round it is the sum.
share = gap / (training + gap): medians with the quartiles in brackets, and of all together.

What is compiled first is left out: rounds count from a lap after the second braid round on, or without braid
rounds from the third round on.
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
class Stretch:
    """What passed from the end of one round's training to the end of the next one's.

    Attributes:
      braid: whether that is a braid round.
      train: seconds of its legs.
      gap: seconds in which nobody trained.
    """

    braid: bool
    train: float
    gap: float


def large(rounds: int, tokens: int) -> Config:
    """A transformer of 102 million parameters whose steps take so many tokens."""
    model = TransformerSettings(layers=8, width=1024, heads=16, context=64)
    task = Text(kinds=("python", "stubs"), kind_bytes=60_000, validation=10, test=10, model=model)
    leg = LegSettings(steps=100, batch_size=tokens // 64, objective="plain", anchor=0.0, learning_rate=0.01)
    relay = Schedule(rounds=rounds, participants=2, validators=3, braid_rounds=(), draw=8)
    return Config(task=task, leg=leg, relay=relay, rules=RelayJAXRules(tolerance=10**12))


def play(
    config: Config, ahead: bool, under: str | None, listen: Callable[[Event], None]
) -> tuple[list[Stretch], float, int]:
    """Plays a relay in a new folder.

    Returns:
      Its stretches, its seconds from the first to the last round, and how many legs were trained ahead.
    """
    told: list[Event] = []
    with (
        tempfile.TemporaryDirectory(dir=under) as folder,
        backend.open_run(config, Path(folder) / "run") as run,
    ):
        run.subscribe(told.append)
        run.subscribe(listen)
        begin = time.perf_counter()
        while not run.finished:
            run.step(overlap=True, ahead=ahead)
        run.flush()
        wall = time.perf_counter() - begin
    # A round is announced when the next one is kept: its event counts the next round's legs.
    settled = {event.round: event for event in told if isinstance(event, Settled)}
    first = config.relay.braid_rounds[1] + config.relay.participants if config.relay.braid_rounds else 3
    stretches = [
        Stretch(settled[number].topology == "braid", before.seconds["train"], before.idle)
        for number, before in ((number, settled[number - 1]) for number in settled if number >= first)
    ]
    return stretches, wall, sum(isinstance(event, Trained) and event.ahead for event in told)


def table(found: dict[bool, list[Stretch]], walls: dict[bool, list[float]]) -> Table:
    """For each way a row for chain rounds, one for braid rounds, and one for all."""
    drawn = Table()
    drawn.add_column("legs are trained")
    for heading in ("rounds", "training, ms", "gap, ms", "share", "share of all", "relay, s"):
        drawn.add_column(heading, justify="right")
    for ahead, every in found.items():
        kinds = {
            "chain": [one for one in every if not one.braid],
            "braid": [one for one in every if one.braid],
        }
        for kind, some in (kinds | {"all": every}).items():
            if not some:
                continue
            gap, whole = sum(one.gap for one in some), sum(one.gap + one.train for one in some)
            drawn.add_row(
                f"{'ahead' if ahead else 'in their round'}: {kind}",
                str(len(some)),
                _range([1e3 * one.train for one in some]),
                _range([1e3 * one.gap for one in some]),
                _range([one.gap / (one.gap + one.train) for one in some], ".1%"),
                f"{gap / whole:.1%}",
                _range(walls[ahead]) if kind == "all" else "",
            )
    return drawn


def _range(values: list[float], form: str = ",.1f") -> str:
    low, middle, high = (format(value, form) for value in quartiles(values))
    return f"{middle} [{low}–{high}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="how long does nobody train?")
    parser.add_argument("--relay", choices=("digits", "large"), default="digits")
    parser.add_argument("--rounds", type=int, default=8, help="of the large relay")
    parser.add_argument("--tokens", type=int, default=256, help="of a step of the large relay, 64 or more")
    parser.add_argument("--seed", type=int, default=0, help="of the digits relay")
    parser.add_argument("--relays", type=int, help="of each way; 3 of digits, 1 large one")
    parser.add_argument("--under", help="where the run is written, such as /dev/shm to leave the disk out")
    arguments, console = parser.parse_args(), Console(width=130)
    is_large = arguments.relay == "large"
    config = large(arguments.rounds, arguments.tokens) if is_large else resolve("digits", {}, arguments.seed)

    def listen(event: Event) -> None:
        if isinstance(event, Settled) and is_large:
            train, load = event.seconds["train"], os.getloadavg()[0]
            console.print(
                f"after round {event.round}: trained {train:.1f} s, idle {event.idle:.2f} s; load {load:.1f}"
            )

    before = os.getloadavg()[0]
    found: dict[bool, list[Stretch]] = {True: [], False: []}
    walls: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(arguments.relays or (1 if is_large else 3)):
        for ahead in found:
            stretches, wall, begun = play(config, ahead, arguments.under, listen)
            found[ahead] += stretches
            walls[ahead].append(wall)
            console.print(f"{begun} of {config.relay.legs} legs were trained ahead, in {wall:.1f} s")
    console.print(table(found, walls))
    console.print(f"{os.cpu_count()} cores; load {before:.1f} before, {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
