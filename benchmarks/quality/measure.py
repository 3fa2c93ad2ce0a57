"""Trains one scheme once and looks at what it ended with. P: parameters, N: participants."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from quality import catalogue
from relayjax.learning.data import take
from relayjax.learning.layout import Layout
from relayjax.learning.schemes import Setup
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
def _task(task: str, skew: str, development: bool, seed: int) -> Task:
    settings = catalogue.task_of(task, skew, "line search" if development else "")
    return settings.build(catalogue.participants_of(task), seed)


def measure(job: Job) -> dict[str, Any]:
    """Trains and looks.

    Returns:
      The job's fields and figures; "tuning" is what step sizes are chosen by, larger is better.
    """
    task = _task(job.task, job.skew, "line search" in job.scheme, job.seed)
    last: dict[int, np.ndarray] = {}
    settings = dataclasses.replace(catalogue.leg_of(job.task, job.scheme), learning_rate=job.rate)
    setup = Setup(task, settings, catalogue.legs_of(job.scheme), job.seed, last.__setitem__)
    outcome = catalogue.SCHEMES[job.scheme][0](setup)
    eye = Eye(task, Layout.of(jax.eval_shape(task.init, jax.random.key(0))))
    test, validation = eye.look(outcome.params, task.test), eye.look(outcome.params, task.validation)
    own = [_sample(shard) for shard in task.shards]
    at_end = [eye.look(outcome.params, shard) for shard in own]
    after_leg = [eye.look(last[i], shard) if i in last else None for i, shard in enumerate(own)]
    text = job.task == "text"
    name, sign = ("loss", 1) if text else ("accuracy", -1)
    lost = [
        sign * float(end[name].mean() - then[name].mean())
        for end, then in zip(at_end, after_leg, strict=True)
        if then is not None
    ]
    kinds = task.test.get("kind")
    by_kind = (
        [] if kinds is None else [float(test["loss"][kinds == kind].mean()) for kind in np.unique(kinds)]
    )
    each = [float(end["accuracy"].mean()) for end in at_end]
    return {
        **dataclasses.asdict(job),
        "tuning": -float(validation["loss"].mean()) if text else float(validation["accuracy"].mean()),
        "accuracy": float(test["accuracy"].mean()),
        "loss": float(np.mean(by_kind)) if by_kind else float(test["loss"].mean()),
        "worst": max(by_kind) if by_kind else min(each),
        "spread": float(np.std(by_kind or each)),
        "forgetting": float(np.mean(lost)) if lost else 0.0,
        "legs": outcome.legs,
        "steps": outcome.legs * settings.steps,
        "moved": outcome.moved,
    }


def _sample(shard: Batch) -> Batch:
    """Some of a participant's examples, spread evenly over all of them."""
    count = examples(shard)
    return take(shard, np.linspace(0, count - 1, min(OWN, count)).astype(int))
