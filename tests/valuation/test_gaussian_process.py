"""Covariances against sums over all coalitions, the posterior against conditioning, errors as reported."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import jax
import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.valuation import Memo, exact_shapley
from relayjax.valuation.exact import all_coalitions, shapley_matrix
from relayjax.valuation.gaussian_process import (
    MAX_BUDGET,
    _posterior,
    _variance,
    gaussian_process_shapley,
)
from relayjax.valuation.kernel_shap import leverage_shap
from relayjax.valuation.likeliest_kernel import likeliest_kernel
from relayjax.valuation.odd_kernel import OddKernel, values_of_cube, values_of_exponential

every_size = pytest.mark.parametrize("participants", [1, 2, 3, 4, 5, 6, 7, 8])


@dataclass
class Smooth:
    """A classifier's losses: log Σ_c exp of what the members add to each class's logit, [N, E, classes]."""

    logits: np.ndarray

    @classmethod
    def of(cls, seed: int, participants: int, examples: int = 30, scale: float = 3.0) -> Smooth:
        rng = np.random.default_rng(seed)
        kinds = rng.normal(size=(4, examples, 5))  # participants are mixtures of a few kinds
        mixture = rng.dirichlet(np.ones(4), size=participants)
        return cls(scale / participants * np.tensordot(mixture, kinds, 1))

    @property
    def participants(self) -> int:
        return len(self.logits)

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        logits = np.tensordot(coalitions.astype(float), self.logits, 1)
        return np.log(logits.shape[2]) - np.log(np.exp(logits).sum(axis=2)) + logits[:, :, 0]


@dataclass
class Additive:
    """Everybody brings what they bring on each example, float64 [N, E]."""

    shares: np.ndarray

    @property
    def participants(self) -> int:
        return len(self.shares)

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        return coalitions @ self.shares


@dataclass
class Noise:
    """Independent utilities, float64 [2^N, E]."""

    table: np.ndarray

    @property
    def participants(self) -> int:
        return len(self.table).bit_length() - 1

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        return self.table[coalitions @ (1 << np.arange(self.participants))]


def random_kernel(participants: int, seed: int = 0) -> OddKernel:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(participants, 3)) / participants
    metric = root @ root.T + 0.1 * np.eye(participants) / participants
    return OddKernel(metric, 0.3, rng.normal(size=(participants, 4)) / 3, share=0.4, rough=0.7)


def all_signs(participants: int) -> np.ndarray:
    return np.where(all_coalitions(participants), 1.0, -1.0)


def whole_covariance(kernel: OddKernel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth and rough terms, by the definition: o(−x) is −o(x)."""
    same = (x[:, None] == y).all(axis=2).astype(float)
    opposite = (x[:, None] == -y).all(axis=2).astype(float)
    return kernel.smooth(x, y) + kernel.rough * (same - opposite)


def half_of_all(participants: int) -> np.ndarray:
    """One of each pair of coalitions, the full one first, as signs."""
    signs = all_signs(participants)
    return signs[::-1][: 2 ** (participants - 1)]


@every_size
def test_values_of_exponentials_and_cubes(participants: int):
    slopes = np.random.default_rng(0).normal(size=(participants, 3))
    inner = all_signs(participants) @ slopes
    shapley = shapley_matrix(participants)
    np.testing.assert_allclose(values_of_exponential(slopes), shapley @ np.exp(inner), rtol=1e-10)
    np.testing.assert_allclose(values_of_cube(slopes), shapley @ inner**3, rtol=1e-10, atol=1e-12)


@every_size
def test_covariances_with_the_values_are_sums_over_all_coalitions(participants: int):
    kernel = random_kernel(participants)
    signs, shapley = all_signs(participants), shapley_matrix(participants)
    smooth = kernel.smooth(signs, signs)
    np.testing.assert_allclose(kernel.smooth_with_values(signs), shapley @ smooth, rtol=1e-9, atol=1e-12)
    rough = whole_covariance(kernel, signs, signs) - smooth
    np.testing.assert_allclose(kernel.rough_with_values(signs), shapley @ rough, rtol=1e-10)
    variance = np.diag(shapley @ rough @ shapley.T)
    np.testing.assert_allclose(kernel.rough_value_variance(participants), variance, rtol=1e-10)


def test_the_kernel_is_odd_and_a_covariance():
    kernel, signs = random_kernel(6), all_signs(6)
    covariance = whole_covariance(kernel, signs, signs)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    np.testing.assert_allclose(kernel.smooth(-signs, signs), -kernel.smooth(signs, signs), atol=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9 * covariance.max()


def test_a_plain_metric_depends_on_the_hamming_distance_alone():
    kernel = replace(random_kernel(6), metric=0.2 * np.eye(6), share=0.0)
    signs = all_signs(6)
    distance = (signs[:, None] != signs).sum(axis=2)
    covariance = kernel.smooth(signs, signs)
    for d in range(7):
        reach = 0.2 * (6 - 2 * d)
        expected = (np.sinh(reach) - reach) / kernel.scale
        np.testing.assert_allclose(covariance[distance == d], expected, atol=1e-12)


def test_the_posterior_is_that_of_conditioning_all_coalitions():
    """With a prior of large variance on the additive part, over all pairs at once."""
    kernel, every = random_kernel(6), half_of_all(6)
    chosen = np.array([0, *np.random.default_rng(1).permutation(np.arange(1, 32))[:15]])
    signs, flat = every[chosen], 1e7
    prior = whole_covariance(kernel, every, every) + flat * every @ every.T
    rows = (every > 0) @ (1 << np.arange(6))
    shapley = 2 * shapley_matrix(6)[:, rows]
    gain = np.linalg.solve(prior[np.ix_(chosen, chosen)], prior[chosen]).T
    odd = np.random.default_rng(2).normal(size=len(chosen))

    weights, amplitude = _posterior(kernel, signs, odd)
    np.testing.assert_allclose(weights, shapley @ gain, atol=1e-5)
    posterior = shapley @ (prior - gain @ prior[chosen]) @ shapley.T
    probes = every[1:] > 0
    probes = np.where((probes.sum(axis=1) > 3)[:, None], ~probes, probes)
    np.testing.assert_allclose(_variance(kernel, signs, weights, probes), np.diag(posterior), rtol=1e-4)
    fit = odd @ np.linalg.solve(prior[np.ix_(chosen, chosen)], odd)
    np.testing.assert_allclose(amplitude, fit / (len(chosen) - 6 - 2), rtol=1e-4)


def test_given_all_coalitions_the_posterior_is_the_shapley_value():
    every = half_of_all(6)
    weights, _ = _posterior(random_kernel(6), every, every[:, 0])
    rows = (every > 0) @ (1 << np.arange(6))
    np.testing.assert_allclose(weights, 2 * shapley_matrix(6)[:, rows], atol=1e-10)


@pytest.mark.parametrize("participants", [6, 20, 100])
def test_an_additive_game_is_exact_on_the_least_budget(participants: int):
    shares = np.random.default_rng(0).normal(size=(participants, 4))
    estimate = gaussian_process_shapley(Additive(shares), jax.random.key(0), budget=3 * (participants + 4))
    np.testing.assert_allclose(estimate.values, shares.mean(axis=1), atol=1e-10)
    np.testing.assert_allclose(estimate.stderr, shares.std(axis=1, ddof=1) / 2, rtol=1e-9)
    assert estimate.sampling_stderr.max() < 1e-10


def test_a_game_without_worth_has_no_values():
    estimate = gaussian_process_shapley(Additive(np.zeros((7, 3))), jax.random.key(0), budget=50)
    for array in (estimate.values, estimate.stderr):
        np.testing.assert_array_equal(array, 0.0)


@pytest.mark.parametrize("budget", [48, 101, 1000])
def test_values_are_efficient_linear_and_within_budget(budget: int):
    game = Memo(Smooth.of(0, 12))
    estimate = gaussian_process_shapley(game, jax.random.key(1), budget=budget)
    assert estimate.evaluations == game.evaluated == 2 * (budget // 2)
    assert estimate.table is not None
    np.testing.assert_array_equal(estimate.table.coefficients @ estimate.table.utilities, estimate.values)
    worth = game.utility_per_example(np.ones((1, 12), bool)).mean()
    np.testing.assert_allclose(estimate.values.sum(), worth, atol=1e-12)
    again = gaussian_process_shapley(game, jax.random.key(1), budget=budget)
    np.testing.assert_array_equal(again.values, estimate.values)
    np.testing.assert_array_equal(again.stderr, estimate.stderr)


def test_it_evaluates_what_leverage_shap_does_and_a_smaller_budget_is_part_of_it():
    game, key = Smooth.of(0, 10), jax.random.key(4)
    tables = [gaussian_process_shapley(game, key, budget=b).table for b in (42, 130)]
    tables.append(leverage_shap(game, key, budget=130).table)
    small, large, other = ({row.tobytes() for row in table.coalitions} for table in tables if table)
    assert small < large == other


def test_a_budget_for_all_is_exact():
    game = Smooth.of(0, 6)
    estimate = gaussian_process_shapley(game, jax.random.key(0), budget=64)
    np.testing.assert_array_equal(estimate.values, exact_shapley(game).values)
    assert not estimate.sampling_stderr.any()


def test_it_learns_a_smooth_game_and_knows_how_well():
    ours, theirs, misses = [], [], []
    for seed in range(25):
        game, key = Smooth.of(seed, 10), jax.random.key(seed)
        truth = exact_shapley(game).values
        estimate = gaussian_process_shapley(game, key, budget=100)
        ours.append(np.linalg.norm(estimate.values - truth))
        theirs.append(np.linalg.norm(leverage_shap(game, key, budget=100).values - truth))
        misses.append(np.abs(estimate.values - truth) / estimate.sampling_stderr)
    assert np.median(ours) < np.median(theirs) / 5
    assert 0.8 < np.mean(np.array(misses) < 2) < 0.995
    assert 0.6 < np.sqrt(np.mean(np.square(misses))) < 1.5


def test_where_there_is_nothing_to_learn_it_is_no_worse_than_the_regression():
    ours, theirs, misses = [], [], []
    for seed in range(25):
        game = Noise(np.random.default_rng(seed).normal(size=(2**9, 2)))
        game.table[0], key = 0.0, jax.random.key(seed)
        truth = exact_shapley(game).values
        estimate = gaussian_process_shapley(game, key, budget=100)
        ours.append(np.linalg.norm(estimate.values - truth))
        theirs.append(np.linalg.norm(leverage_shap(game, key, budget=100).values - truth))
        misses.append(np.abs(estimate.values - truth) / estimate.sampling_stderr)
    assert np.median(ours) < 1.1 * np.median(theirs)
    assert 0.85 < np.mean(np.array(misses) < 2) < 0.995


def test_the_choice_of_kernel_tells_smooth_from_rough():
    signs = half_of_all(8)[:100]
    smooth = Smooth.of(0, 8).utility_per_example(signs > 0)
    smooth -= Smooth.of(0, 8).utility_per_example(signs < 0)
    assert likeliest_kernel(signs, smooth).rough <= 1e-4
    assert likeliest_kernel(signs, np.random.default_rng(0).normal(size=(100, 3))).rough >= 1


@pytest.mark.parametrize("participants", [5, 17, 40])
def test_a_budget_that_does_not_suffice_is_refused_and_the_one_named_does(participants: int):
    game = Additive(np.ones((participants, 2)))
    with pytest.raises(ConfigError, match="gaussian-process: a budget of 10 coalitions") as refusal:
        gaussian_process_shapley(game, jax.random.key(0), budget=10)
    named = re.search(r"(\d+) do:", str(refusal.value))
    assert named
    gaussian_process_shapley(game, jax.random.key(0), budget=int(named[1]))


def test_a_budget_beyond_a_matrix_is_refused():
    with pytest.raises(ConfigError, match="give at most 8192, or use leverage-shap"):
        gaussian_process_shapley(Additive(np.ones((20, 2))), jax.random.key(0), budget=MAX_BUDGET + 1)
