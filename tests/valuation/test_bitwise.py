"""A coalition is worth the same to the last bit, however it is evaluated: validators have to agree on it.

Run as a program, this file prints the digests of what it evaluates in that process.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from relayjax.valuation import Composition
from relayjax.valuation.games import DenseFirst
from relayjax.valuation.games.sweep import ROWS_PER_CALL

N, IN, HIDDEN, OUT, E = 9, 512, 64, 10, 300
COALITIONS = np.random.default_rng(0).random((ROWS_PER_CALL + 40, N)) < 0.5  # two calls

WAYS: dict[str, dict[str, Any]] = {
    "tables": {},
    "smaller tables": {"table_bytes": 1_500_000},
    "tables of parameters": {"in_steps": False},
    "no tables": {"table_bytes": 0},
}
every_way = pytest.mark.parametrize("way", WAYS)


def cut(theta: jax.Array) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
    kernel, bias, second, last = jnp.split(theta, np.cumsum([IN * HIDDEN, HIDDEN, HIDDEN * OUT]))
    return kernel.reshape(IN, HIDDEN), bias, (second.reshape(HIDDEN, OUT), last)


def rest(labels: jax.Array, pre_activations: jax.Array, others: tuple[jax.Array, jax.Array]) -> jax.Array:
    logits = jax.nn.relu(pre_activations) @ others[0] + others[1]
    return jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


def whole(losses: DenseFirst, theta: jax.Array) -> jax.Array:
    return losses(theta)


@functools.cache
def game(way: str, **changes) -> Composition:
    changes = {"in_steps": True} | WAYS[way] | changes
    keys = jax.random.split(jax.random.key(0), 4)
    inputs, labels = jax.random.normal(keys[0], (E, IN)), jax.random.randint(keys[1], (E,), 0, OUT)
    size = (IN + 1) * HIDDEN + (HIDDEN + 1) * OUT
    base = jax.random.normal(keys[2], (size,)) / IN**0.5
    deltas = jax.random.normal(keys[3], (N, size)) / IN**0.5
    steps = DenseFirst(inputs, Partial(rest, labels), cut)
    losses = steps if changes.pop("in_steps") else Partial(whole, steps)
    return Composition(losses, base, deltas.at[4].set(0), jnp.linspace(0.05, 0.2, N), **changes)


def digest(way: str, **changes) -> str:
    values = game(way, **changes).utility_per_example(COALITIONS)
    return hashlib.sha256(values.tobytes()).hexdigest()


def digests() -> dict[str, str]:
    """Of the two ways that compute coalitions differently, on as many devices as there are."""
    several = jax.device_count() > 1
    mesh = jax.make_mesh((jax.device_count() // 2, 2), ("data", "model")) if several else None
    return {way: digest(way, mesh=mesh) for way in ("tables", "no tables")}


def elsewhere(prepare: str = "", **environment: str) -> dict[str, str]:
    """The digests that another process finds."""
    program = f"import os, runpy\n{prepare}\nrunpy.run_path({__file__!r}, run_name='__main__')"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_ways_are_different_ones():
    sizes = [getattr(game(way)._placed[1], "sizes", None) for way in WAYS]
    assert sizes == [(5, 4), (2, 2, 2, 2, 1), (5, 4), None]
    assert [game(way).staged is game(way).losses for way in WAYS] == [True, True, False, False]
    found = [game(way).utility(COALITIONS) for way in WAYS]
    np.testing.assert_allclose(found[1:], [found[0]] * 3, rtol=0, atol=1e-6)


@every_way
def test_one_at_a_time_in_any_order_and_in_part(way: str):
    values = game(way).utility_per_example(COALITIONS)
    for index in (0, 57, len(COALITIONS) - 1):
        alone = game(way).utility_per_example(COALITIONS[index : index + 1])
        np.testing.assert_array_equal(alone[0], values[index])
    order = np.random.default_rng(1).permutation(len(COALITIONS))
    np.testing.assert_array_equal(game(way).utility_per_example(COALITIONS[order]), values[order])
    np.testing.assert_array_equal(game(way).utility_per_example(COALITIONS[33:71]), values[33:71])


@every_way
def test_by_any_number_of_threads(way: str):
    found = {digest(way, threads=threads) for threads in (1, 2, 5)}
    assert found == {digest(way)}


@every_way
def test_who_brings_nothing_is_worth_exactly_nothing(way: str):
    without = COALITIONS & (np.arange(N) != 4)
    with_it = without | (np.arange(N) == 4)
    np.testing.assert_array_equal(game(way).utility(with_it), game(way).utility(without))
    only = np.arange(N)[None] == 4
    assert (game(way).utility_per_example(only) == 0.0).all()


def test_by_one_core():
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this process has one core, or cannot give others up")
    assert elsewhere("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})") == digests()


def test_by_eight_devices():
    eight = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    assert elsewhere(**eight) == digests()


if __name__ == "__main__":
    print(json.dumps(digests()))
