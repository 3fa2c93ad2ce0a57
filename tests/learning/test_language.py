from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from relayjax.errors import ConfigError, DataError
from relayjax.learning.language import language, mean_by_kind
from relayjax.learning.models import Transformer, TransformerSettings
from relayjax.learning.task import Task

SETTINGS = TransformerSettings(vocabulary=10, layers=1, width=16, heads=2, context=6)


def batch(count: int, dtype=np.uint8, length: int = 7, most: int = 10):
    rng = np.random.default_rng(count)
    return {
        "tokens": rng.integers(0, most, (count, length)).astype(dtype),
        "kind": (np.arange(count) % 3).astype(np.int32),
    }


def small(model=lambda rngs: Transformer(SETTINGS, rngs=rngs), **changes) -> Task:
    data = {"shards": (batch(5), batch(4)), "validation": batch(3), "test": batch(2)}
    return language("small", model, **(data | changes))


class Bigram(nnx.Module):
    """Knows a table of logits; what follows a token depends on that token alone."""

    def __init__(self, table: np.ndarray):
        self.table = nnx.Param(jnp.asarray(table, jnp.float32))

    def __call__(self, tokens: jax.Array) -> jax.Array:
        return self.table[...][tokens]


def test_the_loss_is_that_of_each_following_token():
    chances = np.random.default_rng(0).dirichlet(np.ones(10), 10)
    task = small(lambda rngs: Bigram(np.log(chances)))
    params, tokens = task.init(jax.random.key(0)), task.test["tokens"]
    by_hand = [np.mean([-np.log(chances[a, b]) for a, b in pairwise(row)]) for row in tokens]
    losses = task.losses(params, task.test)
    assert losses.shape == (2,) and losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, by_hand, rtol=1e-5)
    np.testing.assert_allclose(np.exp(task.logits(params, task.test)), chances[tokens[:, :-1]], rtol=1e-5)
    metrics = task.metrics(params, task.test)
    np.testing.assert_allclose(metrics["loss"], by_hand, rtol=1e-5)
    np.testing.assert_allclose(
        metrics["accuracy"], np.mean(chances.argmax(axis=1)[tokens[:, :-1]] == tokens[:, 1:], axis=1)
    )


def test_bytes_and_integers_are_the_same_text():
    as_bytes, as_integers = batch(3), batch(3, np.int32)
    task = small(shards=(as_bytes,), validation=as_bytes, test=as_bytes)
    params = task.init(jax.random.key(0))
    np.testing.assert_array_equal(task.losses(params, as_bytes), task.losses(params, as_integers))


def test_the_kind_of_a_text_changes_nothing_about_its_loss():
    task = small()
    params = task.init(jax.random.key(0))
    other = {**task.test, "kind": task.test["kind"] + 1}
    np.testing.assert_array_equal(task.losses(params, task.test), task.losses(params, other))


def test_losses_by_kind():
    values, kind = np.array([1.0, 2.0, 3.0, 6.0], np.float32), np.array([0, 2, 0, 2], np.int32)
    assert mean_by_kind(values, kind, ("prose", "verse", "code")) == {"prose": 2.0, "code": 4.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens": np.zeros((2, 7), np.int64)}, "test: text must be given as tokens"),
        ({"tokens": np.zeros(2, np.uint8)}, "test: text must be given as tokens"),
        ({"tokens": np.zeros((2, 1), np.uint8)}, "a sequence is 1 tokens"),
        ({"tokens": np.full((2, 7), 10, np.uint8)}, "tokens run from 10 to 10; .* 0 to 9"),
        ({"tokens": np.full((2, 7), -1, np.int32)}, "tokens run from -1"),
        ({"kind": np.zeros(2)}, "test: kinds of text must be given as kind"),
        ({"tokens": np.zeros((3, 7), np.uint8)}, "kind holds 2 examples where others hold 3"),
    ],
)
def test_malformed_text_is_refused(changes: dict, said: str):
    with pytest.raises(DataError, match=said):
        small(test=batch(2) | changes)


def test_a_model_with_dropout_is_refused():
    class Forgetful(Transformer):
        def __init__(self, rngs: nnx.Rngs):
            super().__init__(SETTINGS, rngs=rngs)
            self.dropout = nnx.Dropout(0.1, rngs=rngs)

    with pytest.raises(ConfigError, match="not a parameter: dropout/rngs"):
        small(Forgetful)
