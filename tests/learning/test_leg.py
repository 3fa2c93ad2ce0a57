from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.placement import place, place_shards, pooled

KEY = jax.random.key(0)
ONES = np.ones(10, np.float32)
SHORT = LegSettings(steps=40, batch_size=8, objective="plain", anchor=0.0)


def leg_of(probe, settings=SHORT) -> Leg:
    return Leg(probe.task, settings)


def aligned_ones(size: int) -> np.ndarray:
    """Ones at an address that a CPU device borrows instead of copying."""
    backing = np.ones(size + 16, np.float32)
    return backing[(-backing.ctypes.data % 64) // 4 :][:size]


def test_a_leg_trains_on_its_own_shard_alone(probe):
    leg, shards = leg_of(probe), place_shards(probe.task)
    for shard, own in zip(shards, ((0, 3), (3, 8), (8, 10)), strict=True):
        delta, loss = leg(ONES, shard, KEY, 0, 10)
        assert set(np.flatnonzero(delta)) == set(range(*own))
        assert (np.asarray(delta)[own[0] : own[1]] < 0).all() and loss < 1
    delta, _ = leg(ONES, pooled(shards), KEY, 0, 10)
    assert (np.asarray(delta) < 0).all()


def test_one_compilation_serves_every_participant_and_every_leg(probe):
    leg, shards = leg_of(probe), place_shards(probe.task)
    leg(ONES, shards[0], KEY, 0, 10)
    traces = probe.traces
    for index, shard in enumerate(shards):
        delta, _ = leg(jnp.array(ONES), shard, jax.random.fold_in(KEY, index), 3 + index, 20)
        leg(np.asarray(delta), shard, KEY, index, 20)
    assert probe.traces == traces > 0


def test_a_leg_is_what_a_plain_loop_computes(probe):
    settings = LegSettings(
        steps=7, batch_size=4, learning_rate=0.1, clip_norm=0.3, anchor=0.2, prior_anneal=2.0
    )
    shard = place_shards(probe.task)[1]
    delta, training = leg_of(probe, settings)(ONES, shard, KEY, 4, 9)

    theta, momentum, losses = ONES.astype(np.float64), np.zeros(10), []
    drawn = 3 + np.asarray(jax.random.randint(KEY, (7, 4), 0, 5))
    for step in range(7):
        progress = (4 + step / 7) / 9
        scale = 1 + 5 * (1 - progress) ** 2
        losses.append(scale * theta[drawn[step]].mean())
        gradient = scale * np.bincount(drawn[step], minlength=10) / 4 + 2 * 0.2 * (theta - ONES)
        gradient *= min(1, 0.3 / np.linalg.norm(gradient))
        momentum = gradient + 0.9 * momentum
        theta -= 0.1 * 0.5 * (1 + np.cos(np.pi * progress)) * momentum
    np.testing.assert_allclose(delta, theta - ONES, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(training, np.mean(losses), rtol=1e-5)


def test_host_parameters_are_left_alone_and_device_parameters_are_consumed(probe):
    leg, shard = leg_of(probe), place_shards(probe.task)[0]
    theta = aligned_ones(10)
    first, _ = leg(theta, shard, KEY, 0, 10)
    np.testing.assert_array_equal(theta, ONES)
    on_device = jnp.array(ONES)
    consumed, _ = leg(on_device, shard, KEY, 0, 10)
    np.testing.assert_array_equal(consumed, first)
    assert on_device.is_deleted()


def test_placed_data_does_not_follow_the_host(probe):
    host = {"x": aligned_ones(1000)}
    placed = place(host)
    host["x"][:] = 7
    assert (np.asarray(placed["x"]) == 1).all()


def test_schedule_reaches_over_the_relay(probe):
    shard = place_shards(probe.task)[0]

    def moved(start_legs, **changes):
        leg = leg_of(probe, dataclasses.replace(SHORT, **changes))
        return [float(np.linalg.norm(leg(ONES, shard, KEY, start, 10)[0])) for start in start_legs]

    first, last = moved((0, 9))
    assert first > 10 * last
    first_constant, last_constant = moved((0, 9), schedule="constant")
    assert first_constant == last_constant > first
    assert moved((0,), anchor=1.0)[0] < first


def test_plain_objective_and_a_task_without_one_train_on_the_losses(probe):
    shard = place_shards(probe.task)[0]
    corrected = dataclasses.replace(SHORT, objective="prior_corrected", clip_norm=1e9)
    plain = leg_of(probe, dataclasses.replace(corrected, objective="plain"))(ONES, shard, KEY, 0, 10)[0]
    assert not np.allclose(plain, leg_of(probe, corrected)(ONES, shard, KEY, 0, 10)[0])
    probe.task = dataclasses.replace(probe.task, objective=None)
    np.testing.assert_array_equal(plain, leg_of(probe, corrected)(ONES, shard, KEY, 0, 10)[0])


def test_a_batch_that_does_not_divide_is_refused(probe):
    class FourDevices:
        shape = {"data": 4}  # noqa: RUF012

    with pytest.raises(ConfigError, match="batch_size=6: must be a multiple of the 4 devices"):
        Leg(probe.task, LegSettings(batch_size=6), FourDevices())


@pytest.mark.parametrize("start", [-1, 10])
def test_a_leg_outside_the_relay_is_refused(probe, start):
    with pytest.raises(ConfigError, match=f"start_leg={start}: must be"):
        leg_of(probe)(ONES, place_shards(probe.task)[0], KEY, start, 10)


MESH = """
import jax, numpy as np
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.mesh import device_mesh
from relayjax.learning.placement import place_shards
from relayjax.learning.tasks.digits import Digits

assert jax.device_count() == 4
task, key = Digits(hidden=(16,)).build(3, 0), jax.random.key(0)
deltas = []
for mesh in (None, device_mesh()):
    leg, shard = Leg(task, LegSettings(steps=20, batch_size=16), mesh), place_shards(task, mesh)[1]
    theta = leg.genesis(task.init(key))
    delta, _ = leg(theta, shard, key, 0, 4)
    deltas.append(np.asarray(delta))
compiled = leg._run.lower(theta, shard, None, key, 0, 4).compile().as_text()
assert "all-reduce" in compiled, "every device computes the whole batch"
assert len(delta.sharding.device_set) == 4
assert np.abs(deltas[0]).max() > 0.01
np.testing.assert_allclose(deltas[0], deltas[1], atol=1e-5)
"""


def test_four_devices_give_what_one_gives():
    four = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", MESH]
    done = subprocess.run(command, env=os.environ | four, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
