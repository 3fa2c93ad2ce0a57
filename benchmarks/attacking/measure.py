"""One relay of an attack, played with its ledger in a directory of its own."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from typing import Any

from relayjax import backend, config
from relayjax.config import Experiment
from relayjax.summary import account

Row = dict[str, Any]
"""`config`, `seed`, `relay`, `lot`, `accuracy` (test set, 0–1), and by member's name, where not 0: `net`
(micro-coins less endowment), `refused` (rounds), `forfeited`, `slashed` (micro-coins)."""


@dataclass(frozen=True)
class Job:
    """One relay: its config, seed, name and lot, and who deviates in it."""

    config: str
    seed: int
    relay: str
    lot: int
    experiment: Experiment


def measure(job: Job) -> Row:
    """Plays a relay to its end and reads off the ledger what became of everybody."""
    chosen = config.resolve(job.config, {}, job.seed)
    chosen = dataclasses.replace(chosen, experiment=job.experiment)
    with tempfile.TemporaryDirectory() as directory:
        with backend.open_run(chosen, f"{directory}/run") as run:
            run.run()
        past, accuracy = (
            backend.read_history(f"{directory}/run"),
            backend.read_summary(f"{directory}/run").accuracy,
        )
    settles = [settled.settle for settled in past.rounds]
    names = sorted(past.state.members)
    figures = {
        "net": {name: past.state.balances[name] - account(past, name).endowment for name in names},
        "refused": {name: sum(name in settle.refused for settle in settles) for name in names},
        "forfeited": {name: account(past, name).forfeited for name in names},
        "slashed": {
            name: sum(
                amount for settle in settles for source, _, amount, _ in settle.transfers if source == name
            )
            for name in names
        },
    }
    told = {figure: {name: n for name, n in by_name.items() if n} for figure, by_name in figures.items()}
    place = {"config": job.config, "seed": job.seed, "relay": job.relay, "lot": job.lot}
    return {**place, "accuracy": accuracy, **told}
