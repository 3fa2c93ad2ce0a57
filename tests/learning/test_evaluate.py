from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relayjax.learning.evaluate import Evaluator
from relayjax.learning.layout import Layout
from relayjax.learning.placement import place

THETA = np.arange(10, dtype=np.float32)


@pytest.fixture
def evaluator(probe) -> Evaluator:
    return Evaluator(probe.task, Layout.of(probe.task.init(jax.random.key(0))))


def test_losses_and_metrics_are_those_of_the_task(probe, evaluator):
    data = place(probe.task.validation)
    np.testing.assert_array_equal(evaluator.losses(THETA, data, np.array([4, 4, 1])), [4, 4, 1])
    assert evaluator.mean_loss(THETA, data, np.array([4, 4, 1])) == 3.0
    assert evaluator.metrics(THETA, data) == {"weight": 4.5}


def test_another_draw_compiles_nothing(probe, evaluator):
    data = place(probe.task.validation)

    @jax.jit
    def curve(losses, theta):
        return jnp.mean(losses(theta)), jax.grad(lambda t: jnp.mean(losses(t)))(theta)

    value, gradient = curve(evaluator.losses_on(data, np.array([2, 3])), THETA)
    assert value == 2.5
    np.testing.assert_array_equal(np.flatnonzero(gradient), [2, 3])
    traces = probe.traces
    assert curve(evaluator.losses_on(data, np.array([8, 9])), THETA)[0] == 8.5
    assert probe.traces == traces
