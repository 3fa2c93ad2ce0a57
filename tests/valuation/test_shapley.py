from __future__ import annotations

import itertools
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax.errors import ConfigError
from relayjax.valuation import antithetic_shapley, exact_shapley, shapley
from relayjax.valuation.exact import all_coalitions, shapley_matrix


@dataclass
class TableGame:
    """A game read from a table, float64 [2^N, E]; coalition c holds participant i if bit i of c is set."""

    table: np.ndarray

    @property
    def participants(self) -> int:
        return len(self.table).bit_length() - 1

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        return self.table[coalitions @ (1 << np.arange(self.participants))]


def random_table(seed: int, participants: int, examples: int = 6) -> np.ndarray:
    table = np.random.default_rng(seed).normal(size=(2**participants, examples))
    table[0] = 0.0
    return table


tables = st.builds(random_table, st.integers(0, 2**32), st.integers(1, 6))


def index(coalitions: np.ndarray) -> np.ndarray:
    return coalitions @ (1 << np.arange(coalitions.shape[1]))


def test_matrix_is_the_mean_marginal_over_all_orders():
    table = random_table(0, 4)
    brute = np.zeros((4, table.shape[1]))
    orders = list(itertools.permutations(range(4)))
    for order in orders:
        before = 0
        for player in order:
            brute[player] += (table[before | 1 << player] - table[before]) / len(orders)
            before |= 1 << player
    np.testing.assert_allclose(shapley_matrix(4) @ table, brute, atol=1e-12)


@given(tables)
def test_efficiency(table: np.ndarray):
    np.testing.assert_allclose(exact_shapley(TableGame(table)).values.sum(), table[-1].mean(), atol=1e-10)


@given(tables, st.data())
def test_symmetry(table: np.ndarray, data: st.DataObject):
    coalitions = all_coalitions(TableGame(table).participants)
    renamed = np.array(data.draw(st.permutations(range(coalitions.shape[1]))))
    values = exact_shapley(TableGame(table)).values
    values_renamed = exact_shapley(TableGame(table[index(coalitions[:, renamed])])).values
    np.testing.assert_allclose(values_renamed[renamed], values, atol=1e-10)


@given(tables, st.data())
def test_null_player_gets_nothing(table: np.ndarray, data: st.DataObject):
    coalitions = all_coalitions(TableGame(table).participants)
    player = data.draw(st.integers(0, coalitions.shape[1] - 1))
    coalitions[:, player] = False
    estimate = exact_shapley(TableGame(table[index(coalitions)]))
    np.testing.assert_allclose([estimate.values[player], estimate.stderr[player]], 0, atol=1e-12)


@given(tables, st.integers(0, 2**32))
def test_additivity(table: np.ndarray, seed: int):
    other = random_table(seed, TableGame(table).participants)
    values = [exact_shapley(TableGame(t)).values for t in (table, other, table + other)]
    np.testing.assert_allclose(values[0] + values[1], values[2], atol=1e-10)


def test_standard_error_is_that_of_the_mean_over_examples():
    table = random_table(3, 3)
    single = np.stack(
        [exact_shapley(TableGame(table[:, [e, e]])).values for e in range(table.shape[1])], axis=1
    )
    expected = single.std(axis=1, ddof=1) / np.sqrt(table.shape[1])
    np.testing.assert_allclose(exact_shapley(TableGame(table)).stderr, expected)


@settings(max_examples=20, deadline=None)
@given(tables, st.integers(0, 2**31))
def test_antithetic_is_efficient_for_every_draw(table: np.ndarray, seed: int):
    estimate = antithetic_shapley(TableGame(table), jax.random.key(seed), budget=22)
    np.testing.assert_allclose(estimate.values.sum(), table[-1].mean(), atol=1e-10)


def test_antithetic_has_no_sampling_error_where_only_pairs_interact():
    coalitions = all_coalitions(5).astype(float)
    rng = np.random.default_rng(0)
    own, pairwise = rng.normal(size=5), rng.normal(size=(5, 5))
    worth = coalitions @ own + np.einsum("ci,ij,cj->c", coalitions, pairwise, coalitions)
    game = TableGame(np.stack([worth, worth], axis=1))
    estimate = antithetic_shapley(game, jax.random.key(0), budget=18)
    np.testing.assert_allclose(estimate.values, exact_shapley(game).values, atol=1e-12)
    np.testing.assert_allclose(estimate.stderr, 0, atol=1e-12)


def test_antithetic_error_is_what_its_standard_error_says():
    # All examples alike: what remains is the error of sampling orders.
    table = np.repeat(random_table(5, 10, examples=1), 2, axis=1)
    game = TableGame(table)
    exact = exact_shapley(game).values
    ratios = []
    for seed in range(60):
        estimate = antithetic_shapley(game, jax.random.key(seed), budget=200)
        ratios.append((estimate.values - exact) / estimate.stderr)
    assert 0.8 < np.sqrt(np.mean(np.square(ratios))) < 1.25


def test_antithetic_walks_on_where_a_smaller_budget_ended():
    game = TableGame(random_table(6, 8))
    small = antithetic_shapley(game, jax.random.key(0), budget=40).table
    large = antithetic_shapley(game, jax.random.key(0), budget=90).table
    assert small is not None and large is not None
    assert set(index(small.coalitions)) < set(index(large.coalitions))


@pytest.mark.parametrize("budget", [0, 1, 5, 7])
def test_antithetic_refuses_budgets_without_two_pairs(budget: int):
    with pytest.raises(ConfigError, match="8 do"):
        antithetic_shapley(TableGame(random_table(0, 3)), jax.random.key(0), budget=budget)


def test_exact_refuses_what_it_cannot_enumerate():
    with pytest.raises(ConfigError, match="17 participants"):
        exact_shapley(TableGame(np.broadcast_to(0.0, (2**17, 2))))


@pytest.mark.parametrize(("participants", "method"), [(12, "exact"), (13, "stratified")])
def test_shapley_chooses_by_the_number_of_participants(participants: int, method: str):
    estimate = shapley(TableGame(random_table(0, participants, 2)), jax.random.key(0), budget=50)
    assert estimate.method == method
