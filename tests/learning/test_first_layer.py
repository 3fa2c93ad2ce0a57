"""Which tasks offer their first layer, and that in two steps they compute what they compute in one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

from relayjax.errors import ConfigError
from relayjax.learning.classification import classification
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.first_layer import FirstLayerLosses, StagedLosses
from relayjax.learning.layout import Layout
from relayjax.learning.lora import lora
from relayjax.learning.models import CNN, MLP
from relayjax.learning.placement import place
from relayjax.learning.task import Task

DRAWN = np.array([3, 3, 0, 7], np.int32)


def task(model: Callable[[nnx.Rngs], nnx.Module]) -> Task:
    rng = np.random.default_rng(0)
    data = {
        "x": rng.integers(0, 256, (9, 6, 6)).astype(np.uint8),
        "y": rng.integers(0, 3, 9).astype(np.int32),
    }
    return classification("pictures", model, classes=3, shards=(data,), validation=data, test=data)


def mlp(hidden: tuple[int, ...] = (5, 4), dtype: Any = jnp.float32, kind: type[MLP] = MLP) -> Task:
    return task(lambda rngs: kind(36, hidden, 3, dtype=dtype, rngs=rngs))


def losses_on(task: Task) -> tuple[Any, jax.Array, jax.Array]:
    """Losses on the drawn examples, some parameters, and the losses of these by the task itself."""
    params = task.init(jax.random.key(0))
    layout = Layout.of(params)
    drawn = {name: array[DRAWN] for name, array in task.validation.items()}
    found = Evaluator(task, layout).losses_on(place(dict(task.validation)), DRAWN)
    return found, layout.flatten(params), task.losses(params, drawn)


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_a_dense_first_layer_is_a_step_of_its_own(hidden: tuple[int, ...]):
    found, theta, expected = losses_on(mlp(hidden))
    assert isinstance(found, StagedLosses)
    np.testing.assert_allclose(found(theta), expected, rtol=1e-6)
    pre_activations, others = found.linear(theta)
    assert pre_activations.shape == (4, (*hidden, 3)[0]) and others.size == theta.size - 37 * (*hidden, 3)[0]
    np.testing.assert_allclose(found.after(found.linear(theta)), expected, rtol=1e-6)
    np.testing.assert_allclose(found.linear(3 * theta)[0], 3 * pre_activations, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found(jnp.append(theta, 7.0)), found(theta))  # what a baton carries behind


def test_another_draw_is_the_same_tree_of_other_examples():
    made = mlp()
    layout = Layout.of(made.init(jax.random.key(0)))
    evaluator, data = Evaluator(made, layout), place(dict(made.validation))
    one, other = (evaluator.losses_on(data, drawn) for drawn in (DRAWN, DRAWN[::-1].copy()))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    theta = jnp.ones(layout.size)
    np.testing.assert_array_equal(one(theta)[::-1], other(theta))


class Doubled(MLP):
    def __call__(self, x: jax.Array) -> jax.Array:
        return 2 * super().__call__(x)


def offered(task: Task) -> Any:
    layout = Layout.of(jax.eval_shape(task.init, jax.random.key(0)))
    return Evaluator(task, layout).losses_on(place(dict(task.validation)), DRAWN)


def test_whoever_begins_otherwise_offers_nothing():
    dense = mlp()
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(dense.init, jax.random.key(0)))
    convolution = task(lambda rngs: CNN(6, 6, 3, rngs=rngs))
    for other in (
        lora(dense, zeros, 1, 1.0, "kernel$"),
        convolution,
        mlp(dtype=jnp.bfloat16),
        mlp(kind=Doubled),
    ):
        assert isinstance(offered(other), Partial)
    doubled = dataclasses.replace(dense, losses=lambda params, batch: 2 * dense.losses(params, batch))
    found, theta, expected = losses_on(doubled)
    assert isinstance(found, Partial)
    np.testing.assert_allclose(found(theta), expected, rtol=1e-6)


def test_what_comes_after_cannot_read_the_first_layer():
    made = mlp()
    assert isinstance(made.losses, FirstLayerLosses)
    sly = dataclasses.replace(
        made.losses, after=lambda params, batch, pre: pre @ params["layers"][0]["kernel"].T
    )
    found, theta, _ = losses_on(dataclasses.replace(made, losses=sly))
    assert np.isnan(found.after(found.linear(theta))).all()


@pytest.mark.parametrize(
    ("kernel", "bias", "said"),
    [
        (
            "layers/9/kernel",
            "layers/0/bias",
            "no parameter is called layers/9/kernel; there are layers/0/bias",
        ),
        (
            "layers/0/kernel",
            "layers/1/bias",
            r"layers/0/kernel \[36, 5\] and layers/1/bias \[4\] are no dense",
        ),
        ("layers/0/bias", "layers/0/bias", r"are no dense layer; name a kernel \[D, H\] and a bias \[H\]"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(kernel: str, bias: str, said: str):
    made = mlp()
    losses = dataclasses.replace(made.losses, kernel=kernel, bias=bias)
    with pytest.raises(ConfigError, match=said):
        losses_on(dataclasses.replace(made, losses=losses))
