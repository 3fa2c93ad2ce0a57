"""What every leg keeps, whatever optimizer, terms and hand-on policy its settings combine."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.optimizers import OPTIMIZERS
from relayjax.learning.placement import place_shards

BASE = LegSettings(
    steps=6, batch_size=8, objective="plain", anchor=0.0, learning_rate=0.05, schedule="constant"
)
CHANGES = {
    "plain": {},
    "prior corrected": {"objective": "prior_corrected", "accumulate": 2},
    "proximal": {"anchor": 0.1, "weight_decay": 0.01, "schedule": "relay_cosine"},
    "distillation": {"distillation": 0.5},
    "fisher": {"fisher": 2.0},
    "carried": {"optimizer_state": "carried"},
    "ema": {"hand_on": "ema", "hand_on_rate": 0.25},
    "line search": {"hand_on": "line_search"},
}
CHANGES["everything"] = dict(pair for changes in CHANGES.values() for pair in changes.items())

PARAMETERS, HIDDEN = 59, 16
MOMENTS = {"sgd": PARAMETERS, "adamw": 2 * PARAMETERS, "muon": 2 * PARAMETERS - HIDDEN}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_contract(toy, optimizer: str, changes: dict):
    settings = dataclasses.replace(BASE, optimizer=optimizer, **changes)
    leg, shards = Leg(toy.task, settings), place_shards(toy.task)
    theta = leg.genesis(toy.task.init(jax.random.key(0)))

    size = PARAMETERS
    size += MOMENTS[optimizer] if settings.optimizer_state == "carried" else 0
    size += PARAMETERS if settings.fisher else 0
    assert theta.shape == (size,) == (leg.baton.size,) and leg.baton.params.size == PARAMETERS
    assert not theta[PARAMETERS:].any(), "nothing is learnt yet"

    first, loss = leg(theta, shards[0], jax.random.key(1), 0, 4)
    assert first.shape == theta.shape and first.dtype == np.float32 == loss.dtype
    assert np.isfinite(first).all() and 0 < loss < 5
    moved, carried = leg.baton.unflatten(first)
    assert all(np.abs(leaf).max() > 1e-5 for leaf in jax.tree.leaves((moved, carried)))

    traces, child = toy.traces, theta + np.asarray(first)
    second, _ = leg(child, shards[1], jax.random.key(2), 3, 4)
    again, loss_again = leg(theta, shards[0], jax.random.key(1), 0, 4)
    assert toy.traces == traces > 0, "one compilation serves all"
    np.testing.assert_array_equal(first, again)
    assert loss == loss_again
    assert np.isfinite(second).all() and not np.array_equal(first, second)
