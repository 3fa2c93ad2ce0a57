"""Trains one scheme once and looks at what it ended with. P: parameters, N: participants."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from quality import catalogue
from relayjax import backend, config
from relayjax.learning.data import take
from relayjax.learning.layout import Layout
from relayjax.learning.schemes import Outcome, Setup
from relayjax.learning.task import Batch, Task, examples

CHUNK = 500
"""Examples evaluated at once."""

OWN = 1_000
"""At most so many of a participant's own examples are looked at."""


@dataclass(frozen=True)
class Job:
    """One training: which task, how skewed, by which scheme, with which step size and seed."""

    task: str
    skew: str
    scheme: str
    rate: float
    seed: int


class Eye:
    """Looks at a model on host data, in chunks."""

    def __init__(self, task: Task, layout: Layout):
        def look(theta: jax.Array, batch: Batch) -> dict[str, jax.Array]:
            params = layout.unflatten(theta[: layout.size])
            return {**task.metrics(params, batch), "loss": task.losses(params, batch)}

        self._look = jax.jit(look)

    def look(self, theta: np.ndarray, batch: Batch) -> dict[str, np.ndarray]:
        """Figures of each example, [n]: its loss in nats and the task's metrics."""
        starts = range(0, examples(batch), CHUNK)
        parts = [jax.device_get(self._look(theta, take(batch, slice(s, s + CHUNK)))) for s in starts]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@lru_cache(maxsize=2)
def _task(task: str, skew: str, scheme: str, seed: int) -> Task:
    settings = catalogue.task_of(task, skew, scheme)
    return settings.build(catalogue.participants_of(task), seed)


def measure(job: Job) -> dict[str, Any]:
    """Trains and looks.

    Returns:
      The fields of the job and figures; "tuning" is what step sizes are chosen by, the larger the better. Of
      several models (each alone) the figures are means over them.
    """
    task = _task(job.task, job.skew, catalogue.needs(job.scheme), job.seed)
    last: dict[int, np.ndarray] = {}
    settings = dataclasses.replace(catalogue.leg_of(job.task, job.scheme), learning_rate=job.rate)
    legs, step = catalogue.legs_of(job.scheme), config.load(catalogue.TASKS[job.task]).relay.merge_step
    setup = Setup(task, settings, legs, job.seed, last.__setitem__, merge_step=step)
    scheme, _ = catalogue.SCHEMES[job.scheme]
    outcome = _with_ledger(job, setup) if job.scheme == catalogue.WITH_LEDGER else scheme(setup)
    outcomes = outcome if isinstance(outcome, list) else [outcome]
    eye = Eye(task, Layout.of(jax.eval_shape(task.init, jax.random.key(0))))
    seen = [_figures(eye, task, one.params, last) for one in outcomes]
    trained = sum(one.legs for one in outcomes)
    return {
        **dataclasses.asdict(job),
        **{name: float(np.mean([figures[name] for figures in seen])) for name in seen[0]},
        "legs": trained,
        "steps": trained * settings.steps,
        "moved": sum(one.moved for one in outcomes) + _told(task),
    }


def _told(task: Task) -> int:
    """Bytes of what participants tell: everybody gets that of all the others."""
    return getattr(task.rehearsal, "nbytes", 0) * (len(task.shards) - 1)


def _with_ledger(job: Job, setup: Setup) -> Outcome:
    """The config's whole relay, in a directory of its own."""
    settings = dataclasses.replace(
        config.load(catalogue.TASKS[job.task]),
        task=catalogue.task_of(job.task, job.skew, job.scheme),
        leg=setup.settings,
        seed=job.seed,
    )
    with tempfile.TemporaryDirectory() as folder, backend.open_run(settings, Path(folder) / "run") as run:
        run.run()
        legs = [len(settled.facts.pairs) for settled in run.history().rounds]
        moved = sum(count if count == 1 else 2 * count for count in legs)
        return setup.outcome(run.head, sum(legs), moved)


def _figures(eye: Eye, task: Task, params: np.ndarray, last: dict[int, np.ndarray]) -> dict[str, float]:
    """What a model is like; `last` has what each participant's last leg ended with."""
    test, validation = eye.look(params, task.test), eye.look(params, task.validation)
    own = [_sample(shard) for shard in task.shards]
    at_end = [eye.look(params, shard) for shard in own]
    after_leg = {who: eye.look(theta, own[who]) for who, theta in last.items()}
    kinds = task.test.get("kind")
    name, sign = ("accuracy", -1) if kinds is None else ("loss", 1)
    lost = [sign * float(at_end[who][name].mean() - then[name].mean()) for who, then in after_leg.items()]
    if kinds is None:
        each = [float(end["accuracy"].mean()) for end in at_end]
        loss, worst = float(test["loss"].mean()), min(each)
    else:
        each = [float(test["loss"][kinds == kind].mean()) for kind in np.unique(kinds)]
        loss, worst = float(np.mean(each)), max(each)
    return {
        "tuning": -sign * float(validation[name].mean()),
        "accuracy": float(test["accuracy"].mean()),
        "loss": loss,
        "worst": worst,
        "spread": float(np.std(each)),
        "forgetting": float(np.mean(lost)) if lost else 0.0,
    }


def _sample(shard: Batch) -> Batch:
    """Some of a participant's examples, spread evenly over all of them."""
    count = examples(shard)
    return take(shard, np.linspace(0, count - 1, min(OWN, count)).astype(int))
