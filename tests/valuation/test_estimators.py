"""What holds for every estimator of the registry, on compositions; and what each promises of its own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from relayjax.errors import ConfigError, DataError
from relayjax.valuation import (
    ESTIMATORS,
    Composition,
    Memo,
    antithetic_shapley,
    aumann_shapley,
    banzhaf,
    estimator,
    exact_shapley,
    fixed_point,
    leave_one_out,
    orthogonal_shapley,
    owen_shapley,
    permutation_shapley,
    stratified_shapley,
)
from relayjax.valuation.banzhaf import _blocks
from relayjax.valuation.draws import Draws
from relayjax.valuation.exact import all_coalitions, shapley_matrix
from relayjax.valuation.orders import prefixes
from relayjax.valuation.orthogonal import orthogonal_orders
from relayjax.valuation.stratified import _means_of_strata, _regression, coefficients_of

Table = Callable[..., Any]

N, IN, HIDDEN, OUT, E = 7, 5, 8, 3, 40
P = (IN + OUT) * HIDDEN
ALL = 2**N

every_estimator = pytest.mark.parametrize("name", ESTIMATORS)
every_sampler = pytest.mark.parametrize(
    "name", [n for n in ESTIMATORS if n not in ("exact", "aumann-shapley")]
)
EFFICIENT = [n for n in ESTIMATORS if n not in ("banzhaf", "leave-one-out")]
TO_THE_BIT = ("exact", "permutation", "antithetic", "orthogonal", "owen", "leave-one-out", "aumann-shapley")
"""Those that give a participant who changes nothing exactly nothing."""

PINNED = ("0x1.63fccca66a84cp-3", "0x1.784d53c033258p-2", "0x1.47d06573394ecp-2")

TRACES: list[tuple[int, ...]] = []


def mlp_losses(inputs: jax.Array, labels: jax.Array, theta: jax.Array) -> jax.Array:
    TRACES.append(theta.shape)
    first, second = jnp.split(theta, [IN * HIDDEN])
    logits = jnp.tanh(inputs @ first.reshape(IN, HIDDEN)) @ second.reshape(HIDDEN, OUT)
    return jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


def mlp_game(seed: int = 0, scale: float = 1.0) -> Composition:
    keys = jax.random.split(jax.random.key(seed), 4)
    inputs = jax.random.normal(keys[0], (E, IN))
    labels = jax.random.randint(keys[1], (E,), 0, OUT)
    base = 0.3 * jax.random.normal(keys[2], (P,))
    deltas = scale * jax.random.normal(keys[3], (N, P))
    return Composition(Partial(mlp_losses, inputs, labels), base, deltas, jnp.full(N, 1 / N))


def linear_losses(rows: jax.Array, theta: jax.Array) -> jax.Array:
    return rows @ theta


def linear_game() -> tuple[Composition, np.ndarray]:
    """A game without interaction, and every example's own values, float64 [N, E]."""
    rng = np.random.default_rng(0)
    rows, deltas = rng.normal(size=(E, P)), rng.normal(size=(N, P))
    weights = rng.uniform(size=N)
    losses = Partial(linear_losses, jnp.float32(rows))
    game = Composition(losses, jnp.zeros(P), jnp.float32(deltas), jnp.float32(weights))
    return game, -weights[:, None] * (deltas @ rows.T)


def banzhaf_matrix(participants: int) -> np.ndarray:
    return np.where(all_coalitions(participants).T, 1.0, -1.0) / 2 ** (participants - 1)


def budgets(name: str) -> list[int]:
    """From what suffices to all coalitions."""
    return [ALL] if name == "exact" else [40, 41, 57, 90, 120, ALL]


@every_estimator
def test_contract(name: str, counted: Table):
    game, key = mlp_game(), jax.random.key(3)
    for budget in budgets(name):
        estimate = ESTIMATORS[name](game, key, budget=budget)
        for array in (estimate.values, estimate.stderr, estimate.sampling_stderr):
            assert array.shape == (N,)
            assert array.dtype == np.float64
        assert (estimate.stderr > 0).all() and (estimate.sampling_stderr >= 0).all()
        assert estimate.stderr.min() >= estimate.sampling_stderr.min()
        assert estimate.evaluations <= budget

        again = ESTIMATORS[name](game, key, budget=budget)
        for attribute in ("values", "stderr", "sampling_stderr"):
            np.testing.assert_array_equal(getattr(again, attribute), getattr(estimate, attribute))

        table = estimate.table
        if table is None:
            assert name == "aumann-shapley"
            assert estimate.evaluations == N * min(16, budget // N)
            continue
        assert estimate.evaluations == len(table.coalitions) == len(np.unique(table.coalitions, axis=0))
        assert table.coalitions.dtype == np.bool_ and table.coefficients.shape == (N, len(table.coalitions))
        np.testing.assert_array_equal(table.coefficients @ table.utilities, estimate.values)
        np.testing.assert_array_equal(table.utilities, game.utility(table.coalitions))
        asked = counted(game)
        ESTIMATORS[name](asked, key, budget=budget)
        assert set(asked.asked) == {coalition.tobytes() for coalition in table.coalitions}


@every_sampler
def test_a_larger_budget_goes_on_where_a_smaller_one_ended(name: str, counted: Table):
    game = mlp_game()
    asked, memo, key = counted(game), None, jax.random.key(5)
    memo = Memo(asked)
    before: set[bytes] = set()
    for budget in budgets(name):
        resumed = ESTIMATORS[name](memo, key, budget=budget)
        fresh = ESTIMATORS[name](game, key, budget=budget)
        for attribute in ("values", "stderr", "sampling_stderr"):
            np.testing.assert_array_equal(getattr(resumed, attribute), getattr(fresh, attribute))
        assert fresh.table is not None
        coalitions = {coalition.tobytes() for coalition in fresh.table.coalitions}
        assert before <= coalitions
        before = coalitions
    assert len(asked.asked) == len(set(asked.asked)) == memo.evaluated == len(before) <= ALL


@every_estimator
def test_too_small_a_budget_is_refused_and_told_what_suffices(name: str):
    game = mlp_game()
    with pytest.raises(ConfigError, match=f"{name}: a budget of 3 .* for {N} participants; ") as caught:
        ESTIMATORS[name](game, jax.random.key(0), budget=3)
    (enough,) = map(int, re.findall(r"; (\d+) do", str(caught.value)))
    for seed in range(5):
        assert ESTIMATORS[name](game, jax.random.key(seed), budget=enough).evaluations <= enough
    assert enough <= 4 * (N + 2) or name == "exact"


@every_estimator
def test_a_second_game_of_the_same_shapes_is_not_compiled_again(name: str):
    ESTIMATORS[name](mlp_game(seed=0), jax.random.key(0), budget=ALL)
    compiled = len(TRACES)
    assert compiled > 0
    ESTIMATORS[name](mlp_game(seed=1), jax.random.key(1), budget=ALL)
    assert len(TRACES) == compiled


@pytest.mark.parametrize("name", EFFICIENT)
def test_values_add_up_to_the_worth_of_all(name: str):
    game = mlp_game()
    worth = game.utility(np.ones((1, N), bool))[0]
    assert abs(worth) > 0.01
    for budget in budgets(name):
        estimate = ESTIMATORS[name](game, jax.random.key(0), budget=budget)
        np.testing.assert_allclose(estimate.values.sum(), worth, atol=1e-4 if budget < 16 * N else 1e-5)


@every_estimator
def test_without_interaction_everyone_gets_what_they_bring(name: str):
    game, shares = linear_game()
    for budget in budgets(name):
        estimate = ESTIMATORS[name](game, jax.random.key(0), budget=budget)
        np.testing.assert_allclose(estimate.values, shares.mean(axis=1), atol=1e-5)
        np.testing.assert_allclose(estimate.stderr, shares.std(axis=1, ddof=1) / np.sqrt(E), rtol=1e-4)


@every_estimator
def test_a_zero_delta_earns_nothing(name: str):
    game = mlp_game()
    idle = Composition(game.losses, game.base, game.deltas.at[2].set(0.0), game.weights)
    for budget in budgets(name):
        estimate = ESTIMATORS[name](idle, jax.random.key(0), budget=budget)
        if name in TO_THE_BIT or (budget == ALL):
            assert abs(estimate.values[2]) < 1e-15
            assert fixed_point(estimate.values)[2] == 0
        else:
            assert abs(estimate.values[2]) < 4 * estimate.sampling_stderr[2] + 1e-15


@every_estimator
def test_one_validation_example_gives_no_standard_error(name: str):
    game = mlp_game()
    assert isinstance(game.losses, Partial)
    losses = Partial(mlp_losses, *(array[:1] for array in game.losses.args))
    with pytest.raises(DataError, match="hold out 2 or more"):
        ESTIMATORS[name](
            Composition(losses, game.base, game.deltas, game.weights), jax.random.key(0), budget=ALL
        )


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if n not in ("exact", "aumann-shapley")])
def test_a_budget_beyond_all_coalitions_of_a_game_too_large_to_enumerate(
    name: str, table_game: Table, monkeypatch: pytest.MonkeyPatch
):
    game = table_game.random(0, 6)
    exact = (shapley_matrix(6) if name != "banzhaf" else banzhaf_matrix(6)) @ game.table.mean(axis=1)
    monkeypatch.setattr("relayjax.valuation.exact.MAX_PARTICIPANTS", 5)
    estimate = ESTIMATORS[name](game, jax.random.key(0), budget=500)
    assert estimate.evaluations <= 64
    if name in ("stratified", "banzhaf"):
        np.testing.assert_allclose(estimate.values, exact, atol=1e-10)
        np.testing.assert_allclose(estimate.sampling_stderr, 0, atol=1e-10)
    elif name != "leave-one-out":
        assert np.linalg.norm(estimate.values - exact) < np.linalg.norm(exact)


def test_estimators_are_found_by_name():
    assert estimator("owen") is ESTIMATORS["owen"]
    with pytest.raises(ConfigError, match="no estimator 'ovven'; choose one of exact, permutation"):
        estimator("ovven")


SAMPLERS = {
    "permutation": permutation_shapley,
    "antithetic": antithetic_shapley,
    "orthogonal": orthogonal_shapley,
    "owen": owen_shapley,
    "stratified": stratified_shapley,
}


@pytest.mark.parametrize("name", [*SAMPLERS, "banzhaf"])
@pytest.mark.parametrize("budget", [66, 200])
def test_the_error_is_what_the_standard_error_says(name: str, budget: int, table_game: Table):
    game = table_game.smooth(5, 10)
    exact = (banzhaf if name == "banzhaf" else exact_shapley)(game, jax.random.key(0), budget=1024).values
    errors, stderrs = [], []
    for seed in range(60):
        estimate = ESTIMATORS[name](game, jax.random.key(seed), budget=budget)
        errors.append(estimate.values - exact)
        stderrs.append(estimate.stderr)
    ratio = np.sqrt(np.mean(np.square(errors)) / np.mean(np.square(stderrs)))
    assert 0.7 < ratio < 1.3
    # No estimator errs to one side: over the keys, the mean error is small beside the error.
    bias = np.linalg.norm(np.mean(errors, axis=0)) / np.sqrt(np.mean(np.sum(np.square(errors), axis=1)))
    assert bias < 0.35  # of 60 independent keys, 0.13 is expected


@pytest.mark.parametrize("name", [*SAMPLERS, "banzhaf"])
def test_more_coalitions_err_less(name: str, table_game: Table):
    game = table_game.smooth(6, 11)
    exact = (banzhaf if name == "banzhaf" else exact_shapley)(game, jax.random.key(0), budget=2048).values
    means = []
    for budget in (64, 256, 1024):
        estimates = [ESTIMATORS[name](game, jax.random.key(seed), budget=budget) for seed in range(11)]
        means.append(np.mean([np.linalg.norm(estimate.values - exact) for estimate in estimates]))
    assert means[0] > 1.5 * means[1] > 1.5**2 * means[2] > 0


def test_pairs_and_what_is_known_of_the_game_lower_the_error(table_game: Table):
    game = table_game.smooth(7, 12)
    exact = exact_shapley(game).values
    error = {
        name: np.mean(
            [
                np.linalg.norm(sampler(game, jax.random.key(seed), budget=300).values - exact)
                for seed in range(11)
            ]
        )
        for name, sampler in SAMPLERS.items()
    }
    assert error["antithetic"] < error["permutation"] / 2
    assert error["stratified"] < error["antithetic"] / 1.2


# Orders


def test_antithetic_has_no_sampling_error_where_only_pairs_interact(table_game: Table):
    coalitions = all_coalitions(5).astype(float)
    rng = np.random.default_rng(0)
    own, pairwise = rng.normal(size=5), rng.normal(size=(5, 5))
    worth = coalitions @ own + np.einsum("ci,ij,cj->c", coalitions, pairwise, coalitions)
    game = table_game(np.stack([worth, worth], axis=1))
    for sampler in (antithetic_shapley, orthogonal_shapley, owen_shapley, stratified_shapley):
        estimate = sampler(game, jax.random.key(0), budget=26)
        assert estimate.evaluations < 32
        np.testing.assert_allclose(estimate.values, exact_shapley(game).values, atol=1e-12)
        np.testing.assert_allclose(estimate.stderr, 0, atol=1e-7)


def test_values_of_orders_are_mean_marginal_contributions(table_game: Table):
    game = table_game.random(0, 6)
    estimate = antithetic_shapley(game, jax.random.key(4), budget=40)
    worth = game.table.mean(axis=1)
    orders = Draws(jax.random.key(4)).orders(16, 6)
    met: set[int] = set()
    gains = []
    for order in orders:
        walked, gain = [], np.zeros(6)
        for walk in (order, order[::-1]):
            before = 0
            for player in walk:
                gain[player] += (worth[before | 1 << player] - worth[before]) / 2
                before |= 1 << int(player)
                walked.append(before)
        if len(met | set(walked) | {0}) > 40:
            break
        met |= {*walked, 0}
        gains.append(gain)
    assert 2 < len(gains) < 16 and estimate.evaluations == len(met)
    np.testing.assert_allclose(estimate.values, np.mean(gains, axis=0), atol=1e-12)
    sampling = np.std(gains, axis=0, ddof=1) / np.sqrt(len(gains))
    np.testing.assert_allclose(estimate.sampling_stderr, sampling, atol=1e-12)


def test_orders_without_repeats_do_not_run_on_for_ever(table_game: Table):
    # All but one coalition: no order is new any more, and none is the last.
    estimate = antithetic_shapley(table_game.random(0, 4), jax.random.key(0), budget=15)
    assert estimate.evaluations <= 15


@pytest.mark.parametrize("participants", [2, 3, 9])
def test_orthogonal_orders_are_orders_and_uniform_with_their_reverses(participants: int):
    orders = orthogonal_orders(jax.random.key(0), 4000, participants)
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(participants), (4000, 1)))
    np.testing.assert_array_equal(orders[:7], orthogonal_orders(jax.random.key(0), 7, participants))
    ends = np.bincount(orders[:, [0, -1]].ravel(), minlength=participants) / 8000
    np.testing.assert_allclose(ends, 1 / participants, atol=5 * np.sqrt(1 / participants / 8000))


def test_orthogonal_orders_resemble_each_other_less_than_independent_ones():
    def mean_squared_correlation(orders: np.ndarray) -> float:
        ranks = orders.argsort(axis=1) - 3.5
        ranks = ranks.reshape(-1, 7, 8) / np.linalg.norm(ranks[0])
        products = ranks @ ranks.swapaxes(1, 2)
        return float(np.mean(products[:, ~np.eye(7, dtype=bool)] ** 2))

    orthogonal = orthogonal_orders(jax.random.key(1), 700, 8)
    independent = Draws(jax.random.key(1)).orders(700, 8)
    assert mean_squared_correlation(orthogonal) < mean_squared_correlation(independent) / 5


def test_truncation_walks_as_far_as_it_should(table_game: Table):
    game, tolerance, budget = table_game.smooth(3, 8), 0.1, 60
    estimate = permutation_shapley(game, jax.random.key(2), budget=budget, tolerance=tolerance)
    worth = game.table.mean(axis=1)
    met, gains = {0, 255}, []
    for order in Draws(jax.random.key(2)).orders(200, 8):
        if budget - len(met) < 7 or len(gains) == 4 * (58 // 7):
            break
        before, gain = 0, np.zeros(8)
        for player in order:
            if abs(worth[255] - worth[before]) <= tolerance:
                break
            gain[player] = worth[before | 1 << int(player)] - worth[before]
            before |= 1 << int(player)
            met.add(before)
        gains.append(gain)
    assert estimate.table is not None
    assert {int(c @ (1 << np.arange(8))) for c in estimate.table.coalitions} == met
    np.testing.assert_allclose(estimate.values, np.mean(gains, axis=0), atol=1e-12)
    np.testing.assert_array_equal(estimate.table.coefficients @ estimate.table.utilities, estimate.values)

    whole = permutation_shapley(game, jax.random.key(2), budget=budget)
    assert len(gains) > 1.2 * (58 / 7)
    assert 0 < worth[255] - estimate.values.sum() <= tolerance + 1e-12
    np.testing.assert_allclose(whole.values.sum(), worth[255], atol=1e-12)


def test_truncation_goes_on_where_a_smaller_budget_ended(table_game: Table, counted: Table):
    asked = counted(table_game.smooth(4, 9))
    memo, before = Memo(asked), set()
    for budget in (18, 25, 60, 200):
        estimate = permutation_shapley(memo, jax.random.key(1), budget=budget, tolerance=0.05)
        fresh = permutation_shapley(asked.game, jax.random.key(1), budget=budget, tolerance=0.05)
        np.testing.assert_array_equal(estimate.values, fresh.values)
        assert estimate.table is not None and estimate.evaluations <= budget
        coalitions = {coalition.tobytes() for coalition in estimate.table.coalitions}
        assert before <= coalitions
        before = coalitions
    assert len(asked.asked) == len(before)


def test_truncation_without_tolerance_is_no_truncation(table_game: Table):
    game = table_game.random(4, 7)
    cut = permutation_shapley(game, jax.random.key(1), budget=60, tolerance=0.0)
    whole = permutation_shapley(game, jax.random.key(1), budget=60)
    assert cut.table is not None and whole.table is not None
    np.testing.assert_allclose(cut.values.sum(), whole.values.sum(), atol=1e-12)
    with pytest.raises(ConfigError, match=r"tolerance is -0\.1"):
        permutation_shapley(game, jax.random.key(1), budget=60, tolerance=-0.1)
    with pytest.raises(ConfigError, match="14 do"):
        permutation_shapley(game, jax.random.key(1), budget=13, tolerance=0.1)


def test_prefixes_are_who_came_first():
    np.testing.assert_array_equal(
        prefixes(np.array([2, 0, 1])), np.array([[0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1]], bool)
    )


def test_draws_are_pinned_and_begin_alike():
    # What was drawn for a posted estimate must be drawn for ever.
    draws = Draws(jax.random.key(7)).uniform(3)
    pinned = [float.fromhex(text) for text in PINNED]
    np.testing.assert_array_equal(draws, pinned)
    np.testing.assert_array_equal(Draws(jax.random.key(7)).uniform(2, 5).ravel()[:3], draws)
    assert Draws(jax.random.key(8)).uniform(1)[0] != draws[0]
    normal = Draws(jax.random.key(0)).normal(20_000)
    np.testing.assert_allclose([normal.mean(), normal.std()], [0, 1], atol=0.03)


# Owen, strata, Banzhaf, leave-one-out


def test_owen_covers_sizes_evenly(table_game: Table):
    estimate = owen_shapley(table_game.smooth(0, 12), jax.random.key(0), budget=1000)
    assert estimate.table is not None
    # Every participant's coefficients: a contribution to one of each size from 0 to N − 1 weighs about 1 / N.
    joined = np.where(estimate.table.coalitions.T, estimate.table.coefficients, 0)
    by_size = np.stack(
        [joined[:, estimate.table.coalitions.sum(axis=1) == s].sum(axis=1) for s in range(1, 13)]
    )
    np.testing.assert_allclose(by_size.sum(axis=0), 1, atol=1e-9)
    np.testing.assert_allclose(by_size[1:-1].mean(axis=1), 1 / 12, atol=0.03)


@pytest.mark.parametrize("participants", [5, 6, 8])
def test_strata_of_all_pairs_are_the_shapley_value(participants: int):
    coalitions = all_coalitions(participants)
    sizes = 2 * coalitions.sum(axis=1)
    one_side = (sizes < participants) | ((sizes == participants) & coalitions[:, 0])
    pairs = coalitions[one_side][1:]  # without the empty one
    of_worth, of_pairs = coefficients_of(pairs, *_regression(pairs))
    odd = np.random.default_rng(0).normal(size=len(pairs) + 1)
    utilities = np.zeros(2**participants)
    places = 1 << np.arange(participants)
    utilities[-1] = odd[0]
    utilities[pairs @ places] = odd[1:]
    np.testing.assert_allclose(
        of_worth * odd[0] + of_pairs @ odd[1:], shapley_matrix(participants) @ utilities, atol=1e-12
    )


def test_features_of_the_fit_have_the_shapley_values_they_are_given():
    participants = 8
    coalitions = all_coalitions(participants)
    features, _, values = _regression(coalitions)
    assert features.shape[1] == 2 * (participants - 1) + 1
    # A feature is v(S) − v(N \ S), so half of it is a game whose odd part it is.
    np.testing.assert_allclose(shapley_matrix(participants) @ features / 2, values, atol=1e-12)


def test_means_of_strata_are_means():
    pairs = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0]], bool)
    contributions = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    first = 1 / 4 * (1 + (8 + 16) / 2 - (2 + 4) / 2)
    last = 1 / 4 * (0 - (8 + 16) / 2 - (1 + 2 + 4) / 3)
    means = _means_of_strata(pairs) @ contributions
    np.testing.assert_allclose(means[[0, 3]], [first, last])


def test_banzhaf_is_the_mean_over_all_coalitions(table_game: Table):
    game = table_game.random(0, 5)
    worth, expected = game.table.mean(axis=1), np.zeros(5)
    for player, coalition in itertools.product(range(5), range(32)):
        if not coalition >> player & 1:
            expected[player] += (worth[coalition | 1 << player] - worth[coalition]) / 16
    estimate = banzhaf(game, jax.random.key(0), budget=32)
    np.testing.assert_allclose(estimate.values, expected, atol=1e-12)
    assert (estimate.sampling_stderr == 0).all()


def test_banzhaf_errs_little_where_only_pairs_interact(table_game: Table):
    coalitions = all_coalitions(8).astype(float)
    pairwise = np.random.default_rng(0).normal(size=(8, 8))
    worth = np.einsum("ci,ij,cj->c", coalitions, pairwise, coalitions)
    game = table_game(np.stack([worth, worth], axis=1))
    exact = banzhaf(game, jax.random.key(0), budget=256).values
    np.testing.assert_allclose(banzhaf(game, jax.random.key(0), budget=40).values, exact, atol=1e-12)


@pytest.mark.parametrize("participants", [2, 5, 8, 13])
def test_columns_of_banzhaf_blocks_are_orthogonal(participants: int):
    order = 2 ** int(np.ceil(np.log2(participants)))
    for block in _blocks(jax.random.key(1), 3, order, participants).reshape(3, order, participants):
        signs = np.where(block, 1, -1)
        np.testing.assert_array_equal(signs.T @ signs, order * np.eye(participants))
    many = _blocks(jax.random.key(2), 500, order, participants)
    np.testing.assert_allclose(many.mean(axis=0), 0.5, atol=5 * 0.5 / np.sqrt(500))


def test_leave_one_out_is_what_the_whole_loses():
    game = mlp_game()
    estimate = leave_one_out(game)
    everyone = np.ones(N, bool)
    for player in range(N):
        others = everyone & (np.arange(N) != player)
        lost = game.utility(everyone[None])[0] - game.utility(others[None])[0]
        np.testing.assert_allclose(estimate.values[player], lost, atol=1e-12)
    assert estimate.evaluations == N + 1 and (estimate.sampling_stderr == 0).all()


# Aumann–Shapley


def test_aumann_shapley_agrees_with_a_fine_riemann_sum():
    game = mlp_game()
    moves = game.weights[:, None] * game.deltas
    gradient = jax.grad(lambda theta: game.losses(theta).mean())
    steps = 1000
    times = (jnp.arange(steps) + 0.5) / steps
    gradients = jax.lax.map(lambda t: gradient(game.base + t * moves.sum(axis=0)), times)
    expected = -np.asarray(moves, np.float64) @ np.asarray(gradients, np.float64).mean(axis=0)
    np.testing.assert_allclose(aumann_shapley(game).values, expected, atol=1e-6)


def test_aumann_shapley_of_a_zero_delta_is_zero_to_the_bit():
    game = mlp_game()
    idle = Composition(game.losses, game.base, game.deltas.at[2].set(0.0), game.weights)
    estimate = aumann_shapley(idle)
    assert estimate.values[2] == 0.0 == estimate.stderr[2]


@pytest.mark.parametrize("identities", [2, 16])
def test_splitting_a_delta_gains_nothing_under_aumann_shapley(identities: int):
    whole = mlp_game()
    parts = jnp.tile(whole.deltas[:1] / identities, (identities, 1))
    split = Composition(
        whole.losses,
        whole.base,
        jnp.concatenate([parts, whole.deltas[1:]]),
        jnp.full(identities + N - 1, 1 / N),
    )
    before, after = aumann_shapley(whole).values, aumann_shapley(split).values
    np.testing.assert_allclose(after[:identities].sum(), before[0], atol=1e-6)
    np.testing.assert_allclose(after[identities:], before[1:], atol=1e-6)


def test_aumann_shapley_refuses_what_it_cannot_integrate(table_game: Table):
    with pytest.raises(ConfigError, match="nodes is 0"):
        aumann_shapley(mlp_game(), nodes=0)
    with pytest.raises(ConfigError, match="a Composition, which a TableGame is not"):
        ESTIMATORS["aumann-shapley"](table_game.random(0, 3), jax.random.key(0), budget=100)


@pytest.mark.parametrize(
    ("nats", "micro_nats"),
    [
        (0.1, 100_000),
        (-0.25, -250_000),
        (-0.0, 0),
        (2**-7, 7812),
        (3 * 2**-7, 23438),
        (2.0**70, 2**70 * 10**6),
    ],
)
def test_fixed_point_rounds_half_to_even(nats: float, micro_nats: int):
    assert fixed_point(np.array([nats])) == [micro_nats]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_fixed_point_refuses_what_is_not_finite(bad: float):
    with pytest.raises(DataError, match="value 1 is"):
        fixed_point([0.0, bad])
