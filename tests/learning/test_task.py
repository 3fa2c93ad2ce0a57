from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from relayjax.errors import ConfigError, DataError
from relayjax.learning.classification import classification, log_prior
from relayjax.learning.layout import Layout
from relayjax.learning.models import MLP
from relayjax.learning.task import Task


def batch(labels: list[int], dtype=np.float32):
    rng = np.random.default_rng(0)
    return {"x": rng.integers(0, 256, (len(labels), 4)).astype(dtype), "y": np.array(labels, np.int32)}


def small(model=lambda rngs: MLP(4, (5,), 3, rngs=rngs), **changes) -> Task:
    data = {"shards": (batch([0, 1, 1]), batch([2])), "validation": batch([0, 1]), "test": batch([2])}
    return classification("small", model, classes=3, **(data | changes))


def test_a_flax_model_is_a_task():
    task = small()
    params = task.init(jax.random.key(0))
    assert [p["name"] for p in Layout.of(params).describe()] == [
        "layers/0/bias", "layers/0/kernel", "layers/1/bias", "layers/1/kernel",
    ]  # fmt: skip
    model = MLP(4, (5,), 3, rngs=nnx.Rngs(jax.random.key(0)))
    chances = jax.nn.softmax(model(jnp.asarray(task.test["x"])))
    np.testing.assert_allclose(task.losses(params, task.test), -np.log(chances[:, 2]), rtol=1e-5)
    assert task.metrics(params, task.test)["accuracy"] == float(jnp.argmax(chances) == 2)


def test_the_objective_takes_the_prior_out_and_fades_into_the_loss():
    task = small()
    shard, params = task.shards[0], task.init(jax.random.key(1))
    prior = task.context(shard)
    np.testing.assert_allclose(np.exp(prior), np.array([1.01, 2.01, 0.01]) / 3.03, rtol=1e-5)
    np.testing.assert_array_equal(task.objective(params, shard, 0 * prior), task.losses(params, shard))
    # A model that says nothing is right about the prior alone.
    nothing = jax.tree.map(jnp.zeros_like, params)
    np.testing.assert_allclose(task.objective(nothing, shard, prior), -prior[shard["y"]], rtol=1e-5)


def test_pictures_in_bytes_reach_the_model_in_the_unit_interval():
    as_bytes = batch([0, 1], np.uint8)
    task = small(shards=(as_bytes,), validation=as_bytes, test=as_bytes)
    params = task.init(jax.random.key(0))
    scaled = {"x": (as_bytes["x"] / 255).astype(np.float32), "y": as_bytes["y"]}
    np.testing.assert_allclose(task.losses(params, as_bytes), task.losses(params, scaled), rtol=1e-5)


def test_models_with_hidden_state_are_refused():
    with pytest.raises(ConfigError, match="not a parameter: mean, var"):
        small(lambda rngs: nnx.BatchNorm(4, rngs=rngs))


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_labels_out_of_range_are_refused(labels):
    with pytest.raises(DataError, match=r"shard 1: labels run from"):
        small(shards=(batch([0]), batch(labels)))


def test_labels_of_another_type_are_refused():
    with pytest.raises(DataError, match="validation: labels must be given as y"):
        small(validation={"x": np.ones((1, 4), np.float32), "y": np.zeros(1)})


def test_malformed_data_is_refused(probe):
    def refuse(match, **changes):
        with pytest.raises(DataError, match=match):
            dataclasses.replace(probe.task, **changes)

    refuse("no shards", shards=())
    refuse(r"shard 1 has the arrays \['z'\]", shards=(*probe.task.shards[:1], {"z": np.ones(1)}))
    refuse("validation: x must be a NumPy array with at least one", validation={"x": np.ones((0, 10))})
    refuse("test: an example of x is float64", test={"x": np.ones((1, 10))})
    refuse("test: an example of x is .*9", test={"x": np.ones((1, 9), np.float32)})
    refuse("test: x holds NaN", test={"x": np.full((1, 10), np.nan, np.float32)})
    lopsided = {"x": np.ones((2, 4), np.float32), "y": np.zeros(3, np.int32)}
    refuse("shard 0: y holds 3 examples where others hold 2", shards=(lopsided,))


def test_log_prior_is_finite_for_unseen_labels():
    assert np.isfinite(log_prior(np.array([0]), 10, 0.01)).all()
