"""A task small enough to reason about by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from relayjax.learning.task import Task


class Probe:
    """A task whose loss is the parameter an example points at: its gradient shows which were drawn.

    Participants own the examples 0–2, 3–7 and 8–9. `traces` counts how often the loss was traced.
    """

    def __init__(self) -> None:
        self.traces = 0
        everything = {"x": np.eye(10, dtype=np.float32)}
        shards = tuple({"x": everything["x"][a:b]} for a, b in ((0, 3), (3, 8), (8, 10)))
        self.task = Task(
            "probe",
            init=lambda key: {"w": jnp.ones(10)},
            losses=self.losses,
            metrics=lambda params, batch: {"weight": batch["x"] @ params["w"]},
            shards=shards,
            validation=everything,
            test=everything,
            context=lambda shard: np.float32(len(shard["x"])),
            objective=lambda params, batch, size: self.losses(params, batch) * (1 + size),
        )

    def losses(self, params, batch):
        self.traces += 1
        return batch["x"] @ params["w"]


@pytest.fixture
def probe() -> Probe:
    return Probe()
