"""Pairs of coalitions drawn without replacement, and the regression on them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import islice

import jax
import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.valuation import exact_shapley
from relayjax.valuation.draws import Draws
from relayjax.valuation.exact import all_coalitions, shapley_matrix
from relayjax.valuation.kernel_shap import leverage_shap, regression
from relayjax.valuation.paired import paired_stream, pairs_of_size, sampled_fraction, with_complements


@dataclass
class Drawn:
    """A game of random utilities on each example, float64 [2^N, E], and a record of what was asked for."""

    table: np.ndarray
    asked: int = 0

    @classmethod
    def of(cls, seed: int, participants: int, additive: float, examples: int = 3) -> Drawn:
        rng = np.random.default_rng(seed)
        members = all_coalitions(participants)
        table = rng.normal(size=(2**participants, examples)) + additive * (
            members @ rng.normal(size=(participants, examples))
        )
        table[0] = 0
        return cls(table)

    @property
    def participants(self) -> int:
        return len(self.table).bit_length() - 1

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        self.asked += len(coalitions)
        return self.table[coalitions @ (1 << np.arange(self.participants))]


@dataclass
class Additive:
    """Everybody brings what they bring on each example, float64 [N, E]."""

    shares: np.ndarray

    @property
    def participants(self) -> int:
        return len(self.shares)

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        return coalitions @ self.shares


def pairs_of(seed: int, participants: int, count: int | None = None) -> np.ndarray:
    return np.array(list(islice(paired_stream(Draws(jax.random.key(seed)), participants), count)))


@pytest.mark.parametrize("participants", [2, 3, 4, 5, 6, 7, 8])
def test_the_stream_gives_every_pair_once_and_ends(participants: int):
    pairs = pairs_of(0, participants)
    assert len(pairs) == 2 ** (participants - 1) - 1
    assert (2 * pairs.sum(axis=1) <= participants).all()
    assert len(np.unique(with_complements(pairs), axis=0)) == 2**participants
    np.testing.assert_array_equal(sampled_fraction(pairs), 1.0)


@pytest.mark.parametrize(("participants", "count"), [(7, 18), (12, 200), (64, 320)])
def test_sizes_take_turns_until_exhausted(participants: int, count: int):
    sizes = pairs_of(1, participants, count).sum(axis=1)
    taken = {size: np.count_nonzero(sizes == size) for size in range(1, participants // 2 + 1)}
    going = [size for size in taken if taken[size] < pairs_of_size(participants, size)]
    # A half has one size instead of two, and so half the turns.
    per_size = [2 * taken[size] if 2 * size == participants else taken[size] for size in going]
    assert max(per_size) - min(per_size) <= 2
    assert all(taken[size] <= max(per_size) for size in taken)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_within_a_size_coalitions_partition_the_participants(size: int):
    pairs = pairs_of(2, 12, 200)
    first = pairs[pairs.sum(axis=1) == size][: 12 // size]
    if size == 6:
        first = with_complements(first[:1])[[1, 3]]
    np.testing.assert_array_equal(first.sum(axis=0), 1)


def test_the_stream_depends_on_the_key_alone():
    np.testing.assert_array_equal(pairs_of(3, 20, 50), pairs_of(3, 20, 200)[:50])
    assert (pairs_of(3, 20, 50) != pairs_of(4, 20, 50)).any()


@pytest.mark.parametrize("participants", [2, 3, 4, 5, 6, 7])
def test_the_regression_on_all_pairs_is_the_shapley_value(participants: int):
    pairs = pairs_of(0, participants)
    weights = regression(pairs)
    rows = with_complements(pairs) @ (1 << np.arange(participants))
    expected = shapley_matrix(participants)[:, rows]
    np.testing.assert_allclose(np.hstack([weights, -weights]) / 2, expected, atol=1e-12)


@pytest.mark.parametrize("participants", [7, 8])
def test_the_regression_solves_the_constrained_least_squares(participants: int):
    """Against the Lagrangian's linear system, over both members of every pair."""
    rng = np.random.default_rng(0)
    pairs = pairs_of(5, participants, 30)
    coalitions = with_complements(pairs)
    utilities = rng.normal(size=len(coalitions))
    sizes = coalitions.sum(axis=1)
    inner = (sizes > 0) & (sizes < participants)
    fraction = np.tile(np.concatenate([[1], sampled_fraction(pairs)]), 2)
    kernel = (
        np.array([1 / (math.comb(participants, s) * s * (participants - s)) for s in sizes[inner]])
        / fraction[inner]
    )
    z, empty = coalitions[inner].astype(float), utilities[sizes == 0][0]
    system = np.block([[z.T * kernel @ z, np.ones((participants, 1))], [np.ones(participants), np.zeros(1)]])
    worth = utilities[sizes == participants][0] - empty
    right = np.append(z.T @ (kernel * (utilities[inner] - empty)), worth)
    expected = np.linalg.solve(system, right)[:-1]
    odd = np.subtract(*np.split(utilities, 2)) / 2
    np.testing.assert_allclose(regression(pairs) @ odd, expected, atol=1e-10)


@pytest.mark.parametrize("participants", [6, 20, 100])
def test_an_additive_game_is_exact_on_the_least_budget(participants: int):
    rng = np.random.default_rng(0)
    shares = rng.normal(size=(participants, 4))
    budget = 3 * (participants + 4)
    estimate = leverage_shap(Additive(shares), jax.random.key(0), budget=budget)
    np.testing.assert_allclose(estimate.values, shares.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(estimate.stderr, shares.std(axis=1, ddof=1) / 2, rtol=1e-9)
    assert estimate.sampling_stderr.max() < 1e-12
    assert estimate.evaluations <= budget


@pytest.mark.parametrize("budget", [43, 100, 511])
def test_values_are_efficient_linear_and_within_budget(budget: int):
    game = Drawn.of(0, 9, additive=1.0)
    estimate = leverage_shap(game, jax.random.key(1), budget=budget)
    assert estimate.evaluations == game.asked == 2 * (budget // 2)
    assert estimate.table is not None
    np.testing.assert_array_equal(estimate.table.coefficients @ estimate.table.utilities, estimate.values)
    np.testing.assert_allclose(estimate.values.sum(), game.table[-1].mean(), atol=1e-12)
    assert (estimate.stderr > estimate.sampling_stderr).all()


def test_a_larger_budget_evaluates_what_a_smaller_one_does():
    game = Drawn.of(0, 9, additive=1.0)
    tables = [leverage_shap(game, jax.random.key(1), budget=b).table for b in (40, 101, 300)]
    named = [{row.tobytes() for row in table.coalitions} for table in tables if table]
    assert named[0] < named[1] < named[2]


def test_a_budget_for_all_is_exact():
    game = Drawn.of(0, 6, additive=0.0)
    estimate = leverage_shap(game, jax.random.key(0), budget=64)
    np.testing.assert_array_equal(estimate.values, exact_shapley(game).values)
    assert not estimate.sampling_stderr.any()


def test_errors_are_as_large_as_reported():
    misses = []
    for seed in range(60):
        game = Drawn.of(seed, 10, additive=2.0)
        truth = shapley_matrix(10) @ game.table.mean(axis=1)
        estimate = leverage_shap(game, jax.random.key(seed), budget=150)
        misses.append(np.abs(estimate.values - truth) / estimate.sampling_stderr)
    assert 0.85 < np.mean(np.array(misses) < 2) < 0.99
    assert 0.7 < np.sqrt(np.mean(np.square(misses))) < 1.3


def test_all_but_one_pair_leave_almost_no_error():
    game = Drawn.of(0, 8, additive=0.0)
    estimate = leverage_shap(game, jax.random.key(0), budget=254)
    truth = shapley_matrix(8) @ game.table.mean(axis=1)
    assert np.abs(estimate.values - truth).max() < 3 * estimate.sampling_stderr.max() < 0.1


@pytest.mark.parametrize("participants", [5, 17, 40])
def test_a_budget_that_does_not_suffice_is_refused_and_the_one_named_does(participants: int):
    game = Additive(np.ones((participants, 2)))
    with pytest.raises(ConfigError, match="leverage-shap: a budget of 10 coalitions") as refusal:
        leverage_shap(game, jax.random.key(0), budget=10)
    named = re.search(r"(\d+) do:", str(refusal.value))
    assert named
    least = int(named[1])
    leverage_shap(game, jax.random.key(0), budget=least)
    with pytest.raises(ConfigError):
        leverage_shap(game, jax.random.key(0), budget=least - 1)
