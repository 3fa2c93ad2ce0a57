"""Exact Shapley values against the definition, and which estimator `shapley` chooses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.valuation import exact_shapley, shapley
from relayjax.valuation.exact import all_coalitions, shapley_matrix
from relayjax.valuation.paired import least_budget

Table = Callable[..., Any]


def test_matrix_is_the_mean_marginal_over_all_orders(table_game: Table):
    table = table_game.random(0, 4).table
    brute = np.zeros((4, table.shape[1]))
    orders = list(itertools.permutations(range(4)))
    for order in orders:
        before = 0
        for player in order:
            brute[player] += (table[before | 1 << player] - table[before]) / len(orders)
            before |= 1 << player
    np.testing.assert_allclose(shapley_matrix(4) @ table, brute, atol=1e-12)


def test_all_coalitions_are_numbered_by_their_bits():
    np.testing.assert_array_equal(all_coalitions(3)[[0, 1, 6]], [[0, 0, 0], [1, 0, 0], [0, 1, 1]])


def test_standard_error_is_that_of_the_mean_over_examples(table_game: Table):
    table = table_game.random(3, 3, examples=150).table
    single = shapley_matrix(3) @ table
    estimate = exact_shapley(table_game(table))
    np.testing.assert_allclose(estimate.stderr, single.std(axis=1, ddof=1) / np.sqrt(150))
    assert estimate.per_example is not None
    np.testing.assert_allclose(estimate.per_example, single, atol=1e-12)
    assert (estimate.sampling_stderr == 0).all()


def test_exact_refuses_what_it_cannot_enumerate(table_game: Table):
    with pytest.raises(ConfigError, match="17 participants"):
        exact_shapley(table_game(np.broadcast_to(0.0, (2**17, 2))))


def test_exact_refuses_a_budget_below_all_coalitions(table_game: Table):
    game = table_game.random(0, 4)
    with pytest.raises(ConfigError, match=r"a budget of 15 .* 16 do"):
        exact_shapley(game, budget=15)
    assert exact_shapley(game, budget=16).evaluations == exact_shapley(game).evaluations == 16


@pytest.mark.parametrize(("participants", "method"), [(8, "exact"), (9, "leverage-shap")])
def test_shapley_is_exact_where_the_budget_covers_all(participants: int, method: str, table_game: Table):
    estimate = shapley(table_game.random(0, participants, 2), jax.random.key(0), budget=256)
    assert estimate.method == method
    assert estimate.evaluations <= 256


def test_a_budget_of_shapley_suffices_and_not_less(table_game: Table):
    game, enough = table_game.random(0, 14, 2), least_budget(14)
    assert shapley(game, jax.random.key(0), budget=enough).evaluations <= enough
    with pytest.raises(ConfigError, match=f"{enough} do"):
        shapley(game, jax.random.key(0), budget=enough - 1)
