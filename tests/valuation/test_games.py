from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from relayjax.errors import ConfigError, DataError
from relayjax.valuation import Composition, aumann_shapley
from relayjax.valuation.exact import all_coalitions
from relayjax.valuation.games import FirstSeats

N, P, E = 5, 7, 11


def random_arrays(seed: int) -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        "base": jax.random.normal(keys[0], (P,)),
        "deltas": jax.random.normal(keys[1], (N, P)),
        "weights": jax.random.uniform(keys[2], (N,)),
    }


def squared(rows: jax.Array, theta: jax.Array) -> jax.Array:
    return (rows @ theta) ** 2


ROWS = jax.random.normal(jax.random.key(9), (E, P))


def test_utility_is_the_reduction_of_the_mean_loss():
    arrays = random_arrays(0)
    coalitions = all_coalitions(N)
    game = Composition(Partial(squared, ROWS), **arrays)

    rows, base, deltas, weights = (np.asarray(a, np.float64) for a in (ROWS, *arrays.values()))
    composed = base + (coalitions * weights) @ deltas
    expected = (rows @ base) ** 2 - (composed @ rows.T) ** 2

    np.testing.assert_allclose(game.utility_per_example(coalitions), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(game.utility(coalitions), expected.mean(axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block", [1, 4])
def test_who_brings_nothing_changes_nothing_to_the_bit(block: int):
    arrays = random_arrays(0)
    arrays["deltas"] = arrays["deltas"].at[3].set(0.0)
    game = Composition(Partial(squared, ROWS), **arrays, block=block)
    coalitions = all_coalitions(N)
    without = coalitions & (np.arange(N) != 3)
    np.testing.assert_array_equal(game.utility(coalitions), game.utility(without))
    assert (game.utility_per_example(coalitions[:1]) == 0.0).all()


@pytest.mark.parametrize("count", [1, 3, 300])
@pytest.mark.parametrize("block", [1, 3, 200])
def test_values_do_not_depend_on_how_coalitions_are_batched(block: int, count: int):
    arrays = random_arrays(1)
    coalitions = np.random.default_rng(0).random((count, N)) < 0.5
    one_by_one = Composition(Partial(squared, ROWS), **arrays, block=1)
    blocked = Composition(Partial(squared, ROWS), **arrays, block=block)

    expected = np.concatenate([one_by_one.utility(c[None]) for c in coalitions])
    np.testing.assert_allclose(blocked.utility(coalitions), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(one_by_one.utility(coalitions[::-1])[::-1], expected)


def test_a_game_of_the_same_shapes_is_not_compiled_again():
    traces = []

    def counted(rows: jax.Array, theta: jax.Array) -> jax.Array:
        traces.append(theta.shape)
        return squared(rows, theta)

    def value(seed: int, coalitions: int) -> None:
        rows = jax.random.normal(jax.random.key(seed), (E, P))
        game = Composition(Partial(counted, rows), **random_arrays(seed))
        game.utility(all_coalitions(N)[:coalitions])
        aumann_shapley(game)

    value(seed=0, coalitions=32)
    compiled = len(traces)
    assert compiled > 0
    value(seed=1, coalitions=7)
    assert len(traces) == compiled


def test_a_bare_function_is_accepted():
    arrays = random_arrays(2)
    coalitions = all_coalitions(N)
    bare = Composition(lambda theta: squared(ROWS, theta), **arrays)
    partial = Composition(Partial(squared, ROWS), **arrays)
    np.testing.assert_allclose(bare.utility(coalitions), partial.utility(coalitions), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"base": jnp.zeros(P + 1)}, "deltas"),
        ({"weights": jnp.zeros(N - 1)}, "weights"),
        ({"deltas": jnp.zeros(P)}, "deltas"),
        ({"base": jnp.zeros(P, jnp.int32)}, "base"),
        ({"deltas": jnp.zeros((0, P)), "weights": jnp.zeros(0)}, "no participants"),
        ({"block": 0}, "block"),
        ({"threads": 0}, "threads"),
    ],
)
def test_ill_formed_games_are_refused(change: dict, named: str):
    with pytest.raises(ConfigError, match=named):
        Composition(Partial(squared, ROWS), **(random_arrays(0) | change))


@pytest.mark.parametrize("coalitions", [np.ones((1, N)), np.ones((1, N + 1), bool), np.ones((0, N), bool)])
def test_ill_formed_coalitions_are_refused(coalitions: np.ndarray):
    with pytest.raises(ConfigError, match="coalitions"):
        Composition(Partial(squared, ROWS), **random_arrays(0)).utility(coalitions)


def test_a_delta_that_is_not_finite_is_refused_and_its_participant_named():
    arrays = random_arrays(0)
    arrays["deltas"] = arrays["deltas"].at[3, 2].set(jnp.inf)
    with pytest.raises(DataError, match=r"participants \[3\]"):
        Composition(Partial(squared, ROWS), **arrays)


def test_a_diverging_loss_is_refused_and_its_coalition_named():
    arrays = random_arrays(0)
    arrays["deltas"] = arrays["deltas"].at[3].set(1e30)
    game = Composition(Partial(squared, ROWS), **arrays)
    with pytest.raises(DataError, match=r"coalition \[3\]"):
        game.utility(all_coalitions(N))
    with pytest.raises(DataError, match="not finite"):
        aumann_shapley(game)


def test_the_first_seats_play_as_if_there_were_no_others():
    arrays = random_arrays(0)
    whole = Composition(Partial(squared, ROWS), **arrays)
    fewer = Composition(Partial(squared, ROWS), arrays["base"], arrays["deltas"][:3], arrays["weights"][:3])
    seated = FirstSeats(whole, 3)
    np.testing.assert_allclose(
        seated.utility_per_example(all_coalitions(3)),
        fewer.utility_per_example(all_coalitions(3)),
        rtol=1e-5,
        atol=1e-5,
    )
    with pytest.raises(ConfigError, match="bool"):
        seated.utility_per_example(all_coalitions(N))
