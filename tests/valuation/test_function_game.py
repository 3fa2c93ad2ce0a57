"""Utilities written in JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from relayjax.errors import ConfigError, DataError
from relayjax.valuation import Function, antithetic_shapley, exact_shapley
from relayjax.valuation.exact import all_coalitions

N, E = 6, 9
DATA = jax.random.normal(jax.random.key(1), (N, E))


def worth(data: jax.Array, present: jax.Array) -> jax.Array:
    return jnp.tanh(present @ data + 0.5) * present.sum()


def expected(coalitions: np.ndarray) -> np.ndarray:
    present, data = coalitions.astype(np.float64), np.asarray(DATA, np.float64)
    return np.tanh(present @ data + 0.5) * present.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("block", [None, 1, 5, 300])
@pytest.mark.parametrize("count", [1, 64])
def test_worth_is_what_the_function_says(block: int | None, count: int):
    coalitions = all_coalitions(N)[-count:]
    game = Function(Partial(worth, DATA), N, block)
    np.testing.assert_allclose(
        game.utility_per_example(coalitions), expected(coalitions), rtol=1e-4, atol=1e-5
    )


def test_the_empty_coalition_is_worth_nothing_though_the_function_says_something():
    shifted = lambda present: worth(DATA, present) + 3.0  # noqa: E731
    table = Function(shifted, N).utility_per_example(all_coalitions(N))
    assert not table[0].any()
    np.testing.assert_allclose(table, expected(all_coalitions(N)), rtol=1e-4, atol=1e-5)


def test_values_do_not_depend_on_what_is_evaluated_together():
    coalitions = np.random.default_rng(0).random((300, N)) < 0.5
    game = Function(Partial(worth, DATA), N)
    one_by_one = np.concatenate([game.utility_per_example(c[None]) for c in coalitions])
    np.testing.assert_array_equal(game.utility_per_example(coalitions), one_by_one)
    np.testing.assert_array_equal(game.utility_per_example(coalitions[::-1])[::-1], one_by_one)


def test_a_function_is_compiled_once_for_all_data_of_a_shape():
    traces = []

    def counted(data: jax.Array, present: jax.Array) -> jax.Array:
        traces.append(present.shape)
        return worth(data, present)

    Function(Partial(counted, DATA), N).utility_per_example(all_coalitions(N)[:7])
    compiled = len(traces)
    other = Function(Partial(counted, 2 * DATA), N)
    built = len(traces)
    other.utility_per_example(all_coalitions(N))
    assert len(traces) == built <= compiled + 1


def scalar(present: jax.Array) -> jax.Array:
    return worth(DATA, present).mean()


def test_a_single_number_has_no_error_over_examples():
    table = Function(scalar, N).utility_per_example(all_coalitions(N))
    assert table.shape == (2**N, 2)
    np.testing.assert_array_equal(table[:, 0], table[:, 1])
    exact = exact_shapley(Function(scalar, N))
    per_example = exact_shapley(Function(Partial(worth, DATA), N))
    np.testing.assert_allclose(exact.values, per_example.values, atol=1e-6)
    assert not exact.stderr.any() and (per_example.stderr > 0).all()


def test_a_single_number_has_the_error_of_sampling():
    game = Function(scalar, N)
    estimate = antithetic_shapley(game, jax.random.key(0), budget=40)
    np.testing.assert_array_equal(estimate.stderr, estimate.sampling_stderr)
    assert (estimate.stderr > 0).all()


def test_one_example_is_one_example():
    with pytest.raises(DataError, match="hold out 2 or more"):
        exact_shapley(Function(Partial(worth, DATA[:, :1]), N))


def test_data_shards_of_a_centrally_trained_model():
    # The mean of a quantity, estimated from the shards that are present; the last shard is off the mark.
    keys = jax.random.split(jax.random.key(0), 2)
    shards = jax.random.normal(keys[0], (N, 20)) + jnp.array([1.0] * (N - 1) + [-4.0])[:, None]
    held_out = 1.0 + jax.random.normal(keys[1], (50,))

    def negated_error(present: jax.Array) -> jax.Array:
        mean = present @ shards.mean(axis=1) / jnp.maximum(present.sum(), 1.0)
        return -((held_out - mean) ** 2)

    values = exact_shapley(Function(negated_error, N)).values
    assert values.argmin() == N - 1 and values[-1] < 0 < values[:-1].min()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"participants": 0}, "participants is 0"),
        ({"block": 0}, "block is 0"),
        ({"function": lambda present: present[None]}, "one float an example"),
        ({"function": lambda present: present > 0}, "one float an example"),
        ({"function": lambda present: (present, present)}, "one float an example"),
    ],
)
def test_ill_formed_games_are_refused(change: dict[str, Any], named: str):
    with pytest.raises(ConfigError, match=named):
        Function(**{"function": scalar, "participants": N, **change})


def test_what_is_not_finite_is_refused_and_its_coalition_named():
    coalitions = np.isin(np.arange(N), [1, 4]) & all_coalitions(N)
    game = Function(lambda p: jnp.where(p[1] * p[4] > 0, jnp.nan, p), N)
    with pytest.raises(DataError, match=r"coalition \[1, 4\]"):
        game.utility_per_example(coalitions)
    with pytest.raises(DataError, match=r"coalition \[\]"):
        Function(lambda p: jnp.log(p.sum()), N).utility_per_example(all_coalitions(N))
