"""Path values as a game."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.tree_util import Partial

from relayjax.errors import ConfigError, DataError
from relayjax.valuation import NOBODY, Path, exact_shapley
from relayjax.valuation.exact import all_coalitions

E = 7


@st.composite
def paths(draw: st.DrawFn) -> Path:
    """Relays of up to 12 legs by up to 5 participants, with refusals and branches, some of nobody."""
    legs, participants = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    losses = np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=(legs + 1, E))
    trainers = draw(st.lists(st.integers(NOBODY, participants - 1), min_size=legs, max_size=legs))
    parents = [draw(st.integers(0, leg)) for leg in range(legs)]
    return Path(losses, trainers, participants, parents, draw(st.integers(0, legs)))


@given(paths())
def test_path_values_share_out_what_the_relay_gained(path: Path):
    gained = path.losses[0].mean() - path.losses[path.head].mean()
    everybody = Path(path.losses, [0 if t == NOBODY else t for t in path.trainers], *_rest(path))
    np.testing.assert_allclose(everybody.estimate().values.sum(), gained, atol=1e-12)
    whole = everybody.utility_per_example(np.ones((1, path.participants), bool))[0]
    np.testing.assert_allclose(whole, path.losses[0] - path.losses[path.head], atol=1e-12)


@given(paths())
def test_who_ran_no_leg_on_the_way_is_worth_nothing(path: Path):
    estimate = path.estimate()
    idle = set(range(path.participants)) - {path.trainers[leg] for leg in path.way}
    for participant in idle:
        assert estimate.values[participant] == 0.0 == estimate.stderr[participant]


@given(paths())
def test_path_values_are_the_shapley_values_of_an_additive_game(path: Path):
    shapley, alone = exact_shapley(path), path.estimate()
    np.testing.assert_allclose(shapley.values, alone.values, atol=1e-12)
    np.testing.assert_allclose(shapley.stderr, alone.stderr, atol=1e-12)
    table = alone.table
    assert table is not None
    np.testing.assert_array_equal(table.coefficients @ table.utilities, alone.values)


@given(paths())
def test_a_coalition_is_worth_the_same_whatever_is_evaluated_beside_it(path: Path):
    coalitions = all_coalitions(path.participants)
    table = path.utility_per_example(coalitions)
    one_by_one = [path.utility_per_example(coalition[None])[0] for coalition in coalitions[::-1]]
    np.testing.assert_array_equal(table[::-1], one_by_one)
    assert not table[0].any()


def test_path_values_by_hand():
    # Legs of 0, 1, 0, 1; the third is refused, the fourth goes on from the second.
    losses = np.array([[3.0, 5.0], [2.0, 5.0], [1.5, 4.0], [np.inf, np.nan], [1.0, 4.5]])
    path = Path(losses, [0, 1, 0, 1], 3, parents=[0, 1, 2, 2])
    assert path.way == [0, 1, 3]
    np.testing.assert_array_equal(path.shares, [[1.0, 0.0], [0.5 + 0.5, 1.0 - 0.5], [0.0, 0.0]])
    legs = Path(losses, range(4), 4, parents=[0, 1, 2, 2]).estimate()
    np.testing.assert_array_equal(legs.values, [0.5, 0.75, 0.0, 0.0])


def test_a_step_of_nobody_is_left_to_others_to_share_out():
    losses = np.array([[3.0, 5.0], [2.0, 5.0], [1.0, 1.0], [0.5, 1.0]])
    estimate = Path(losses, [0, NOBODY, 1], 2).estimate()
    np.testing.assert_array_equal(estimate.values, [0.5, 0.25])


def squared(rows: jax.Array, theta: jax.Array) -> jax.Array:
    return (rows @ theta) ** 2


def test_losses_are_measured_model_by_model_and_compiled_once():
    rows = jax.random.normal(jax.random.key(0), (E, 3))
    models = np.random.default_rng(0).normal(size=(41, 3)).astype(np.float32)
    models[6] = models[5]
    traces = []

    def counted(rows: jax.Array, theta: jax.Array) -> jax.Array:
        traces.append(theta.shape)
        return squared(rows, theta)

    losses = Partial(counted, rows)
    path = Path.measure(losses, iter(models), np.arange(40) % 4, 4)
    expected = (np.asarray(rows, np.float64) @ models.T.astype(np.float64)).T ** 2
    np.testing.assert_allclose(path.losses, expected, rtol=1e-4, atol=1e-5)
    legs = Path.measure(losses, models[:21], range(20), 20)
    assert len(traces) == 1
    assert legs.estimate().values[5] == 0.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"losses": np.zeros((4, E))}, r"losses are \[4, 7\] for 4 legs"),
        ({"losses": np.zeros(5)}, "K \\+ 1, E"),
        ({"trainers": [0, 1, 2, 0]}, r"trainers\[2\] is 2"),
        ({"trainers": [0, 1, -2, 0]}, r"trainers\[2\] is -2"),
        ({"trainers": [0.0, 1.0, 0.0, 1.0]}, "trainers are float64"),
        ({"parents": [0, 0, 3, 0]}, r"parents\[2\] is 3"),
        ({"parents": [0, 1, 2]}, "give 4 integers"),
        ({"head": 5}, r"head\[0\] is 5"),
        ({"participants": 0}, "0 participants"),
    ],
)
def test_ill_formed_paths_are_refused(change: dict[str, Any], named: str):
    with pytest.raises(ConfigError, match=named):
        Path(**{"losses": np.zeros((5, E)), "trainers": [0, 1, 0, 1], "participants": 2, **change})


def test_a_diverging_model_on_the_way_is_named():
    losses = np.zeros((4, E))
    losses[2, 1] = np.nan
    with pytest.raises(DataError, match=r"losses\[2\]"):
        Path(losses, [0, 1, 0], 2)


def test_models_of_different_sizes_are_refused():
    models = [np.zeros(3, np.float32), np.zeros(4, np.float32)]
    with pytest.raises(ConfigError, match="model 1"):
        Path.measure(Partial(squared, jnp.ones((E, 3))), models, [0], 1)


def _rest(path: Path) -> tuple:
    return path.participants, path.parents, path.head
