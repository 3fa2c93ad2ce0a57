"""Tasks small enough to reason about by hand."""

from __future__ import annotations

import jax
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


class Toy:
    """A classifier of tokens with every kind of parameter: look-up, hidden matrix, output, biases.

    Its shards hold labels 0 and 1, 2 alone, and one single example. `traces` counts how often the model was
    traced.
    """

    def __init__(self) -> None:
        self.traces = 0
        rng = np.random.default_rng(0)
        data = [
            {"token": rng.integers(0, 6, n).astype(np.int32), "y": rng.choice(labels, n).astype(np.int32)}
            for n, labels in ((20, [0, 1]), (9, [2]), (1, [1]), (12, [0, 1, 2]))
        ]
        self.task = Task(
            "toy",
            init=self.init,
            losses=lambda params, batch: self.nats(self.logits(params, batch), batch),
            metrics=lambda params, batch: {"likelihood": -self.nats(self.logits(params, batch), batch)},
            shards=tuple(data[:3]),
            validation=data[3],
            test=data[3],
            context=lambda shard: np.log(np.bincount(shard["y"], minlength=3) + 0.1).astype(np.float32),
            objective=lambda params, batch, prior: self.nats(self.logits(params, batch) + prior, batch),
            logits=self.logits,
            development=data[3],
        )

    def init(self, key):
        shapes = {
            "embedding": {"embedding": (6, 4)},
            "hidden": {"kernel": (4, 4), "bias": (4,)},
            "head": {"kernel": (4, 3), "bias": (3,)},
        }
        leaves, tree = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
        keys = jax.random.split(key, len(leaves))
        return jax.tree.unflatten(
            tree, [0.5 * jax.random.normal(k, s) for k, s in zip(keys, leaves, strict=True)]
        )

    def logits(self, params, batch):
        self.traces += 1
        x = params["embedding"]["embedding"][batch["token"]]
        x = jnp.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
        return x @ params["head"]["kernel"] + params["head"]["bias"]

    @staticmethod
    def nats(logits, batch):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), batch["y"][:, None], axis=-1)[:, 0]


@pytest.fixture
def toy() -> Toy:
    return Toy()
