"""A batch that is taken in parts trains as the whole one does, and needs less memory."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.learning.language import language
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.models import Transformer, TransformerSettings
from relayjax.learning.placement import place_shards
from relayjax.learning.task import Task
from relayjax.learning.tasks.digits import Digits

KEY = jax.random.key(0)
WHOLE = LegSettings(steps=5, batch_size=16, anchor=0.01, fisher=0.1, distillation=0.1)


def test_parts_train_as_the_whole():
    task = Digits(hidden=(16,)).build(2, 0)

    def run(accumulate: int) -> tuple[np.ndarray, float]:
        leg = Leg(task, dataclasses.replace(WHOLE, accumulate=accumulate))
        theta = leg.genesis(task.init(KEY))
        delta, loss = leg(theta, place_shards(task)[1], KEY, 0, 4)
        return np.asarray(delta), float(loss)

    expected, loss = run(1)
    assert np.abs(expected).max() > 0.01
    for parts in (2, 16):
        delta, found = run(parts)
        np.testing.assert_allclose(delta, expected, atol=1e-5)
        np.testing.assert_allclose(found, loss, rtol=1e-5)


def text(remat: bool) -> Task:
    model = TransformerSettings(vocabulary=32, layers=6, width=32, heads=2, context=32, remat=remat)
    tokens = np.random.default_rng(0).integers(0, 32, (40, 33), np.int32)
    batch = {"tokens": tokens, "kind": np.zeros(40, np.int32)}
    make = lambda rngs: Transformer(model, rngs=rngs)  # noqa: E731
    return language("text", make, shards=(batch,), validation=batch, test=batch)


def test_parts_and_rematerialisation_need_less_memory():
    def needed(accumulate: int, remat: bool) -> int:
        task = text(remat)
        leg = Leg(task, LegSettings(steps=2, batch_size=32, anchor=0.0, accumulate=accumulate))
        theta = leg.genesis(task.init(KEY))
        lowered = leg._run.lower(theta, place_shards(task)[0], None, KEY, np.int32(0), np.int32(1))
        return lowered.compile().memory_analysis().temp_size_in_bytes

    whole = needed(1, remat=False)
    assert needed(8, remat=False) < 0.4 * whole
    assert needed(1, remat=True) < 0.6 * whole


def test_parts_must_be_equal():
    with pytest.raises(ConfigError, match="accumulate=3: must divide batch_size=16"):
        LegSettings(batch_size=16, accumulate=3)


def test_a_part_must_divide_over_the_devices():
    class FourDevices:
        shape = {"data": 4}  # noqa: RUF012

    with pytest.raises(ConfigError, match=r"a multiple of the 4 devices .* accumulate=8 times as many"):
        Leg(Digits(hidden=(4,)).build(2, 0), LegSettings(batch_size=16, accumulate=8), FourDevices())
