"""Each term of the training loss against its formula in NumPy, alone and in a leg."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.learning import objectives
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.placement import place_shards

ONES = np.ones(10, np.float32)
KEY = jax.random.key(3)


@pytest.fixture
def models(toy):
    """Two models of the toy task, received and present, and a batch."""
    return toy.task.init(jax.random.key(0)), toy.task.init(jax.random.key(1)), toy.task.shards[0]


def flat(tree) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)


KEY = jax.random.key(0)


def log_softmax(logits) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_data_is_the_mean_of_the_losses_or_of_the_objective(toy, models):
    received, present, batch = models
    prior = toy.task.context(batch)
    chances = log_softmax(toy.logits(present, batch))
    shifted = log_softmax(toy.logits(present, batch) + prior)
    rows = np.arange(len(batch["y"]))
    without = dataclasses.replace(toy.task, objective=None)
    for task, name, expected in (
        (toy.task, "plain", chances),
        (toy.task, "prior_corrected", shifted),
        (without, "prior_corrected", chances),
    ):
        term = objectives.data(task, name)
        loss = term.loss(term.prepare(received, ()), present, batch, prior, KEY)
        np.testing.assert_allclose(loss, -expected[rows, batch["y"]].mean(), rtol=1e-5)


def test_proximal_is_the_weighted_squared_distance(models):
    received, present, batch = models
    term = objectives.proximal(0.3)
    state = term.prepare(received, ())
    expected = 0.3 * np.sum((flat(present) - flat(received)) ** 2)
    np.testing.assert_allclose(term.loss(state, present, batch, None, KEY), expected, rtol=1e-5)
    gradient = jax.grad(term.loss, argnums=1)(state, present, batch, None, KEY)
    np.testing.assert_allclose(flat(gradient), 0.6 * (flat(present) - flat(received)), atol=1e-6)
    assert not flat(jax.grad(term.loss, argnums=1)(state, received, batch, None, KEY)).any()


def test_distillation_is_the_divergence_from_what_the_received_model_says(toy, models):
    received, present, batch = models
    term = objectives.distillation(toy.task, 0.7)
    state = term.prepare(received, ())
    taught, said = (log_softmax(toy.logits(params, batch)) for params in (received, present))
    expected = 0.7 * np.mean(np.sum(np.exp(taught) * (taught - said), axis=-1))
    assert expected > 0.01
    np.testing.assert_allclose(term.loss(state, present, batch, None, KEY), expected, rtol=1e-4)
    gradient = jax.grad(term.loss, argnums=1)
    np.testing.assert_allclose(flat(gradient(state, received, batch, None, KEY)), 0, atol=1e-7)
    assert np.abs(flat(gradient(state, present, batch, None, KEY))).max() > 0.01
    np.testing.assert_allclose(term.loss(state, received, batch, None, KEY), 0, atol=1e-7)


def test_distillation_needs_the_outputs_of_the_model(probe):
    with pytest.raises(ConfigError, match=r"leg.distillation=0.5: task probe has no `logits`.*; set it to 0"):
        Leg(probe.task, LegSettings(distillation=0.5))


def test_the_fisher_anchor_weighs_each_distance_by_its_information(models):
    received, present, batch = models
    leaves, tree = jax.tree.flatten(received)
    rng = np.random.default_rng(0)
    known = [rng.normal(1, 1, leaf.shape).astype(np.float32) for leaf in leaves]
    assert flat(known).min() < 0, "as a lossy codec may leave it"
    term = objectives.fisher_anchor(0.2)
    state = term.prepare(received, jax.tree.unflatten(tree, known))
    weights, distance = np.maximum(flat(known), 0), flat(present) - flat(received)
    loss = term.loss(state, present, batch, None, KEY)
    np.testing.assert_allclose(loss, 0.2 * np.sum(weights * distance**2), rtol=1e-5)
    gradient = jax.grad(term.loss, argnums=1)(state, present, batch, None, KEY)
    np.testing.assert_allclose(flat(gradient), 0.4 * weights * distance, atol=1e-5)


def test_what_weighs_nothing_is_not_there(toy):
    assert objectives.others(toy.task, 0.0, 0.0, 0.0, 0.0, 4) == ()
    assert len(objectives.others(toy.task, 0.1, 0.2, 0.3, 0.0, 4)) == 3


def test_a_leg_holds_to_the_fisher_information_and_adds_its_own(probe):
    settings = LegSettings(
        steps=5, batch_size=4, learning_rate=0.1, momentum=0.0, clip_norm=1e9, schedule="constant",
        objective="plain", anchor=0.0, fisher=0.3, fisher_memory=0.75,
    )  # fmt: skip
    leg, shard = Leg(probe.task, settings), place_shards(probe.task)[1]
    known = np.linspace(-0.5, 4, 10, dtype=np.float32)
    delta, training = leg(np.concatenate([ONES, known]), shard, KEY, 1, 9)

    theta, squares, losses = ONES.astype(np.float64), np.zeros(10), []
    drawn = 3 + np.asarray(jax.random.randint(KEY, (5, 4), 0, 5))
    for step in range(5):
        losses.append(theta[drawn[step]].mean())
        gradient = np.bincount(drawn[step], minlength=10) / 4
        squares += gradient**2  # of the data alone, the anchor is no information
        theta -= 0.1 * (gradient + 2 * 0.3 * np.maximum(known, 0) * (theta - ONES))
    np.testing.assert_allclose(delta[:10], theta - ONES, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(delta[10:], 0.25 * (4 / 5 * squares - known), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(training, np.mean(losses), rtol=1e-5, err_msg="anchors are not in it")
    free, _ = Leg(probe.task, dataclasses.replace(settings, fisher=0.0))(ONES, shard, KEY, 1, 9)
    assert np.abs(delta[3:8]).sum() < 0.9 * np.abs(np.asarray(free)[3:8]).sum()


def test_distillation_holds_a_leg_to_what_it_received(toy):
    def forgotten(weight: float) -> float:
        """How far a leg on one label alone moves what the model says about all."""
        settings = LegSettings(
            steps=40, batch_size=8, objective="plain", anchor=0.0, learning_rate=0.1, distillation=weight
        )
        leg, shard = Leg(toy.task, settings), place_shards(toy.task)[1]
        params = toy.task.init(KEY)
        theta = leg.genesis(params)
        after, _ = leg.baton.unflatten(theta + np.asarray(leg(theta, shard, KEY, 0, 4)[0]))
        before, now = (log_softmax(toy.logits(p, toy.task.test)) for p in (params, after))
        return float(np.mean(np.sum(np.exp(before) * (before - now), axis=-1)))

    assert forgotten(10.0) < 0.2 * forgotten(0.0)
