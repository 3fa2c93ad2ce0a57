"""Schemes are told apart by what they compute, on a task small enough to follow by hand."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from relayjax import codec
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.leg import LegSettings
from relayjax.learning.placement import place
from relayjax.learning.schemes import Setup, alone, braid, chain, diloco, fedavg, pooled, tree
from relayjax.learning.tasks.digits import Digits

SETTINGS = LegSettings(steps=5, batch_size=16, anchor=0.0, objective="plain")


def test_pooled_training_learns_what_nobody_can_alone():
    task = Digits(hidden=(32,)).build(4, seed=0)
    setup = Setup(task, LegSettings(steps=20, batch_size=16), legs=20, seed=0)
    evaluator, test = Evaluator(task, setup.leg.baton.params), place(task.test)
    together = evaluator.metrics(pooled(setup).params, test)["accuracy"]
    own = alone(setup)
    assert len(own) == 4
    assert together > 0.9
    assert np.mean([evaluator.metrics(outcome.params, test)["accuracy"] for outcome in own]) < 0.75


def test_references_ignore_what_belongs_to_the_relay(probe):
    relay = LegSettings(steps=20, batch_size=4, anchor=0.5, schedule="constant", fisher=1.0, hand_on="ema")
    plain = LegSettings(steps=20, batch_size=4, anchor=0.0, objective="plain")
    first, second = (pooled(Setup(probe.task, s, 1, seed=1)).params for s in (relay, plain))
    np.testing.assert_array_equal(first, second)
    assert (first < 1).all()


def test_a_chain_is_one_leg_after_another_and_moves_one_model_a_leg(probe):
    seen = []
    setup = Setup(
        probe.task, SETTINGS, legs=6, seed=0, turn=lambda who, theta: seen.append((who, theta.copy()))
    )
    outcome = chain(setup)
    assert outcome.legs == 6 and outcome.moved == 6 * 10 * 4
    assert [who for who, _ in seen[:3]] == [who for who, _ in seen[3:]]
    theta = setup.genesis()
    for number, (who, after) in enumerate(seen):
        key = jax.random.fold_in(jax.random.key(1), number)
        theta = theta + np.asarray(setup.leg(theta, setup.shards[who], key, number, 6)[0])
        np.testing.assert_array_equal(theta, after)
    np.testing.assert_array_equal(outcome.params, theta)


def test_a_braid_composes_siblings_of_one_head_and_moves_two_models_a_leg(probe):
    children = []
    setup = Setup(probe.task, SETTINGS, legs=3, seed=0, turn=lambda who, theta: children.append(theta))
    outcome = braid(setup)
    start = setup.genesis()
    assert outcome.moved == 2 * 3 * 10 * 4
    np.testing.assert_allclose(outcome.params, start + sum(c - start for c in children) / 3, rtol=1e-6)


def test_a_tree_keeps_the_best_half_of_its_children():
    task = Digits(hidden=(8,)).build(8, seed=0)
    seen = []
    setup = Setup(task, SETTINGS, legs=12, seed=0, turn=lambda who, theta: seen.append(theta))
    outcome = tree(setup)
    assert outcome.legs == 12 == len(seen)
    assert any((outcome.params == child).all() for child in seen[-4:])


def test_fedavg_weighs_by_data(probe):
    children = []
    setup = Setup(probe.task, SETTINGS, legs=3, seed=0, turn=lambda who, theta: children.append(theta))
    outcome, start = fedavg(setup), setup.genesis()
    expected = start + sum(n * (c - start) for n, c in zip((3, 5, 2), children, strict=True)) / 10
    np.testing.assert_allclose(outcome.params, expected, rtol=1e-6)
    assert outcome.moved == 2 * 3 * 10 * 4


def test_diloco_keeps_moments_at_home_and_takes_nesterov_steps(probe):
    children = []
    setup = Setup(probe.task, SETTINGS, legs=3, seed=0, turn=lambda who, theta: children.append(theta))
    outcome, start = diloco(setup, outer_rate=0.5, outer_momentum=0.8), setup.genesis()
    moved = sum(child[:10] - start for child in children) / 3
    np.testing.assert_allclose(outcome.params, start + 0.5 * 1.8 * moved, rtol=1e-5)
    assert outcome.moved == 2 * 3 * 10 * 4 and children[0].size == 30


def test_with_a_codec_everybody_sees_the_decoded_child(probe):
    exact, coded = (
        chain(Setup(probe.task, SETTINGS, 6, 0, codec=c)).params for c in (None, codec.get("mxint8"))
    )
    assert 0 < np.abs(exact - coded).max() < 0.01


def test_relay_momentum_adds_what_the_others_moved_a_leg(probe):
    seen = []
    settings = dataclasses.replace(SETTINGS, relay_momentum=0.5, schedule="constant")
    setup = Setup(probe.task, settings, legs=6, seed=0, turn=lambda who, theta: seen.append((who, theta)))
    chain(setup)
    plain = dataclasses.replace(setup, settings=dataclasses.replace(settings, relay_momentum=0.0))
    first = plain.train(seen[2][1], seen[3][0], 3, 3) - seen[2][1]
    drift = (seen[2][1] - seen[0][1]) / 3
    np.testing.assert_allclose(seen[3][1] - seen[2][1], first + 0.5 * drift, atol=1e-6)
    assert np.abs(drift).max() > 0.01
