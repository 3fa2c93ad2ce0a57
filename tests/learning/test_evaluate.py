from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relayjax.learning import evaluate
from relayjax.learning.evaluate import CHUNK, Evaluator
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


@pytest.mark.parametrize("count", [1, 2, CHUNK, CHUNK + 1, 3 * CHUNK - 2, 1000])
def test_metrics_of_many_examples_are_computed_a_chunk_at_a_time(probe, count):
    sizes = set()

    def metrics(params, batch):
        sizes.add(len(batch["number"]))
        return {"number": batch["number"] * params["w"][1], "last": 1.0 * (batch["number"] == count - 1)}

    task = dataclasses.replace(probe.task, metrics=metrics)
    evaluator = Evaluator(task, Layout.of(task.init(jax.random.key(0))))
    found = evaluator.metrics(THETA, place({"number": np.arange(count, dtype=np.float32)}))
    assert found["number"] == pytest.approx((count - 1) / 2, rel=1e-6)
    assert found["last"] == pytest.approx(1 / count)
    assert max(sizes) <= CHUNK


def test_chunks_change_no_figure(toy, monkeypatch):
    def measured():
        evaluator = Evaluator(toy.task, layout)
        return evaluator.metrics(np.asarray(layout.flatten(params)), place(dict(toy.task.test)))

    params = toy.task.init(jax.random.key(0))
    layout, whole = Layout.of(params), float(toy.task.metrics(params, toy.task.test)["likelihood"].mean())
    assert measured()["likelihood"] == pytest.approx(whole, rel=1e-6)
    monkeypatch.setattr(evaluate, "CHUNK", 5)  # twelve examples: three chunks of four
    assert measured()["likelihood"] == pytest.approx(whole, rel=1e-6)
