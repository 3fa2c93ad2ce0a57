"""Where the time of a leg goes in a real run: a small relay through the backend, ledger, codec and all."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from peers.sizes import Size
from relayjax import backend
from relayjax.config import Config
from relayjax.learning.leg import Leg
from relayjax.learning.placement import place_shards
from relayjax.learning.tasks.text import Text
from relayjax.mechanism.rules import RelayJAXRules, Schedule
from relayjax.relay.events import Event, Settled


def stages(size: Size, rounds: int) -> dict[str, float]:
    """Median seconds of a leg by stage, over rounds in which one participant trains.

    Beside the stages of `relay/timing.py` there is `delta`, a part of `train`: the delta comes to the host
    and is added to what was received.
    """
    settled: list[Settled] = []

    def listen(event: Event) -> None:
        if isinstance(event, Settled):
            settled.append(event)

    task = Text(kinds=("python", "stubs"), kind_bytes=100_000, validation=32, test=32, model=size.model)
    # The first round is a braid, which compiles everything; the others are chains of one leg each.
    relay = Schedule(rounds=1 + rounds, participants=4, validators=3, braid_rounds=(1,), draw=32)
    config = Config(task=task, leg=size.leg, relay=relay, rules=RelayJAXRules(tolerance=10**12))
    with tempfile.TemporaryDirectory() as folder, backend.open_run(config, Path(folder) / "run") as run:
        run.subscribe(listen)
        while not run.finished:
            run.step()
    names = settled[0].seconds
    found = {name: statistics.median(event.seconds[name] for event in settled[1:]) for name in names}
    return {"delta": _delta(config, rounds)} | found


def _delta(config: Config, repeats: int) -> float:
    task = config.task.build(4, 0)
    leg, shard = Leg(task, config.leg), place_shards(task)[0]
    theta = leg.genesis(task.init(jax.random.key(0)))
    delta, _ = leg(theta, shard, jax.random.key(1), 0, 4)
    seconds = []
    for _ in range(repeats):
        fresh = jax.block_until_ready(delta + 0)
        begin = time.perf_counter()
        np.add(theta, fresh)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)
