"""What Shapley values must be, whoever computes them: Shapley's axioms, and agreement with his formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

from relayjax.valuation import ESTIMATORS, Composition, exact_shapley
from relayjax.valuation.exact import all_coalitions, shapley_matrix

Table = Callable[..., Any]

OF_ORDERS = ("permutation", "antithetic", "orthogonal")
SHAPLEY = [name for name in ESTIMATORS if name not in ("banzhaf", "leave-one-out", "aumann-shapley")]
seeds = st.integers(0, 2**31)
players = st.integers(1, 6)


def index(coalitions: np.ndarray) -> np.ndarray:
    return coalitions @ (1 << np.arange(coalitions.shape[1]))


def budgets(participants: int) -> list[int]:
    """One that samples about as little as possible, one that samples nearly all, one that is all."""
    return [4 * participants + 6, 2**participants - 2, 2**participants]


@pytest.mark.parametrize("name", SHAPLEY)
@settings(max_examples=10, deadline=None)
@given(seed=seeds, key=seeds)
def test_efficiency(name: str, seed: int, key: int, table_game: Table):
    game = table_game.random(seed, 6)
    for budget in [64] if name == "exact" else budgets(6):
        estimate = ESTIMATORS[name](game, jax.random.key(key), budget=budget)
        np.testing.assert_allclose(estimate.values.sum(), game.table[-1].mean(), atol=1e-10)


@given(seed=seeds, participants=players, data=st.data())
def test_symmetry_of_exact_values(seed: int, participants: int, data: st.DataObject, table_game: Table):
    game, coalitions = table_game.random(seed, participants), all_coalitions(participants)
    renamed = np.array(data.draw(st.permutations(range(participants))))
    values = exact_shapley(game).values
    values_renamed = exact_shapley(table_game(game.table[index(coalitions[:, renamed])])).values
    np.testing.assert_allclose(values_renamed[renamed], values, atol=1e-10)


@given(seed=seeds, participants=players, data=st.data())
def test_a_null_player_has_no_exact_value(
    seed: int, participants: int, data: st.DataObject, table_game: Table
):
    game, coalitions = table_game.random(seed, participants), all_coalitions(participants)
    player = data.draw(st.integers(0, participants - 1))
    coalitions[:, player] = False
    estimate = exact_shapley(table_game(game.table[index(coalitions)]))
    np.testing.assert_allclose([estimate.values[player], estimate.stderr[player]], 0, atol=1e-12)


@given(seed=seeds, other=seeds, participants=players)
def test_additivity_of_exact_values(seed: int, other: int, participants: int, table_game: Table):
    games = [table_game.random(seed, participants), table_game.random(other, participants)]
    together = exact_shapley(table_game(games[0].table + games[1].table)).values
    np.testing.assert_allclose(sum(exact_shapley(game).values for game in games), together, atol=1e-10)


@pytest.mark.parametrize("name", [*OF_ORDERS, "owen"])
@settings(max_examples=10, deadline=None)
@given(seed=seeds, key=seeds, player=st.integers(0, 6))
def test_a_null_player_gets_nothing_in_any_sample(
    name: str, seed: int, key: int, player: int, table_game: Table
):
    coalitions = all_coalitions(7)
    coalitions[:, player] = False
    game = table_game(table_game.random(seed, 7).table[index(coalitions)])
    for budget in (34, 126):
        estimate = ESTIMATORS[name](game, jax.random.key(key), budget=budget)
        np.testing.assert_allclose([estimate.values[player], estimate.stderr[player]], 0, atol=1e-12)


@pytest.mark.parametrize("name", [*OF_ORDERS, "stratified"])
@settings(max_examples=10, deadline=None)
@given(seed=seeds, other=seeds, key=seeds)
def test_additivity_in_one_sample(name: str, seed: int, other: int, key: int, table_game: Table):
    tables = [table_game.random(s, 7).table for s in (seed, other)]
    values = [
        ESTIMATORS[name](table_game(table), jax.random.key(key), budget=60).values
        for table in (*tables, tables[0] + tables[1])
    ]
    np.testing.assert_allclose(values[0] + values[1], values[2], atol=1e-10)


@pytest.mark.parametrize("name", SHAPLEY)
def test_a_budget_for_all_coalitions_makes_values_exact(name: str, table_game: Table):
    game = table_game.random(1, 5)
    estimate = ESTIMATORS[name](game, jax.random.key(0), budget=32)
    np.testing.assert_allclose(estimate.values, shapley_matrix(5) @ game.table.mean(axis=1), atol=1e-12)
    assert (estimate.sampling_stderr == 0).all()


IN, HIDDEN, OUT, E = 6, 9, 4, 30


def losses(inputs: jax.Array, labels: jax.Array, theta: jax.Array) -> jax.Array:
    first, second = jnp.split(theta, [IN * HIDDEN])
    logits = jnp.tanh(inputs @ first.reshape(IN, HIDDEN)) @ second.reshape(HIDDEN, OUT)
    return jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


def losses_in_float64(inputs: np.ndarray, labels: np.ndarray, thetas: np.ndarray) -> np.ndarray:
    """The same in NumPy, for many parameters at once: [C, E]."""
    first = thetas[:, : IN * HIDDEN].reshape(-1, IN, HIDDEN)
    logits = np.tanh(inputs @ first) @ thetas[:, IN * HIDDEN :].reshape(-1, HIDDEN, OUT)
    return np.log(np.exp(logits).sum(axis=2)) - logits[:, np.arange(len(labels)), labels]


@pytest.mark.parametrize("participants", [1, 2, 5, 12])
def test_exact_values_of_a_model_are_those_of_the_formula_in_float64(participants: int):
    keys = jax.random.split(jax.random.key(participants), 4)
    inputs, labels = jax.random.normal(keys[0], (E, IN)), jax.random.randint(keys[1], (E,), 0, OUT)
    size = (IN + OUT) * HIDDEN
    base = 0.5 * jax.random.normal(keys[2], (size,))
    deltas = 2 * jax.random.normal(keys[3], (participants, size))
    weights = jnp.full(participants, 1 / participants)
    game = Composition(Partial(losses, inputs, labels), base, deltas, weights)

    # φ_i = Σ_{S∌i} |S|! (N−|S|−1)! / N! (v(S ∪ i) − v(S)), coalition by coalition
    wide = [np.asarray(array, np.float64) for array in (base, deltas, weights)]
    members = np.arange(2**participants)[:, None] >> np.arange(participants) & 1
    composed = wide[0] + (members * wide[2]) @ wide[1]
    mean_losses = losses_in_float64(np.asarray(inputs, np.float64), np.asarray(labels), composed).mean(axis=1)
    worth = mean_losses[0] - mean_losses
    expected = np.zeros(participants)
    for coalition in range(2**participants):
        size = coalition.bit_count()
        for player in range(participants):
            if not coalition >> player & 1:
                orders = math.factorial(size) * math.factorial(participants - size - 1)
                gain = worth[coalition | 1 << player] - worth[coalition]
                expected[player] += orders / math.factorial(participants) * gain

    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(exact_shapley(game).values, expected, atol=1e-5)
