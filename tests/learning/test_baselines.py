from __future__ import annotations

import jax
import numpy as np

from relayjax.learning.baselines import train_alone, train_pooled
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.layout import Layout
from relayjax.learning.leg import LegSettings
from relayjax.learning.placement import place
from relayjax.learning.tasks.digits import Digits

SETTINGS = LegSettings(batch_size=16)


def test_pooled_training_learns_what_nobody_can_alone():
    task = Digits(hidden=(32,)).build(4, seed=0)
    layout = Layout.of(task.init(jax.random.key(0)))
    evaluator, test = Evaluator(task, layout), place(task.test)
    together = evaluator.metrics(train_pooled(task, SETTINGS, 400, seed=0), test)["accuracy"]
    alone = train_alone(task, SETTINGS, 400, seed=0)
    assert alone.shape == (4, layout.size)
    assert together > 0.9
    assert np.mean([evaluator.metrics(theta, test)["accuracy"] for theta in alone]) < 0.75


def test_baselines_ignore_what_belongs_to_the_relay(probe):
    relay = LegSettings(batch_size=4, anchor=0.5, schedule="constant", objective="prior_corrected")
    plain = LegSettings(batch_size=4, anchor=0.0, objective="plain")
    first, second = (np.asarray(train_pooled(probe.task, s, 20, seed=1)) for s in (relay, plain))
    np.testing.assert_array_equal(first, second)
    assert (first < 1).all()
