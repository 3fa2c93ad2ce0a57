from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.valuation import (
    ESTIMATORS,
    Estimate,
    Memo,
    antithetic_shapley,
    exact_shapley,
    leave_one_out,
    owen_shapley,
    refine,
    stratified_shapley,
)

Table = Callable[..., Any]

KEY = jax.random.key(0)


def test_it_stops_when_the_target_is_reached(table_game: Table):
    game, seen = table_game.smooth(0, 12), []
    rough = stratified_shapley(game, KEY, budget=104).stderr.max()
    estimate = refine(
        stratified_shapley, game, KEY, budget=4000, target_stderr=rough / 3, progress=seen.append
    )
    assert estimate.stderr.max() <= rough / 3 < min(step.stderr.max() for step in seen[:-1])
    assert [step.evaluations for step in seen] == [104 * 2**k for k in range(len(seen))]
    assert seen[-1] is estimate and 104 < estimate.evaluations < 4000


def test_it_stops_where_only_more_examples_would_help(table_game: Table):
    rng = np.random.default_rng(0)
    game = table_game.smooth(1, 12, examples=20)
    present = np.arange(2**12)[:, None] >> np.arange(12) & 1
    noisy = table_game(game.table + present @ rng.normal(size=(12, 20)))  # each example has its own mind
    estimate = refine(antithetic_shapley, noisy, KEY, budget=4000, target_stderr=1e-6)
    assert estimate.evaluations < 4000 and estimate.stderr.min() > 1e-6
    assert (10 * estimate.sampling_stderr**2 <= estimate.stderr**2).all()


def test_it_stops_at_the_budget(table_game: Table):
    game, seen = table_game.smooth(2, 13), []
    estimate = refine(owen_shapley, game, KEY, budget=300, target_stderr=1e-9, first=70, progress=seen.append)
    np.testing.assert_array_equal(estimate.values, owen_shapley(game, KEY, budget=300).values)
    assert len(seen) == 4 and estimate.stderr.max() > 1e-9  # 70, 140, 280, 300


def test_without_a_target_the_budget_is_spent_at_once(table_game: Table, counted: Table):
    asked, seen = counted(table_game.smooth(3, 12)), []
    refine(antithetic_shapley, asked, KEY, budget=400, progress=seen.append)
    assert len(seen) == 1 and seen[0].evaluations == len(asked.asked)


@pytest.mark.parametrize("name", ["permutation", "orthogonal", "owen", "stratified", "banzhaf"])
def test_a_larger_budget_evaluates_only_the_difference(name: str, table_game: Table, counted: Table):
    asked = counted(table_game.smooth(4, 12))
    memo = Memo(asked)

    def spend(budget: int) -> Estimate:
        return refine(ESTIMATORS[name], memo, KEY, budget=budget, target_stderr=1e-9)

    first = spend(200)
    assert first.evaluations <= len(asked.asked) <= 200  # a step may hold units that the last one has too
    second = spend(700)
    assert len(asked.asked) == len(set(asked.asked)) == second.evaluations <= 700
    fresh = ESTIMATORS[name](asked.game, KEY, budget=700)
    np.testing.assert_array_equal(second.values, fresh.values)
    np.testing.assert_array_equal(second.stderr, fresh.stderr)


def test_steps_that_an_estimator_refuses_are_passed_over(table_game: Table):
    game, seen = table_game.smooth(5, 9), []
    estimate = refine(
        exact_shapley, game, KEY, budget=1000, target_stderr=1e-3, first=10, progress=seen.append
    )
    assert estimate.method == "exact" and len(seen) == 1
    with pytest.raises(ConfigError, match=r"a budget of 500 .* 512 do"):
        refine(exact_shapley, game, KEY, budget=500, target_stderr=1e-3)


def test_an_estimate_without_sampling_error_is_final(table_game: Table):
    seen: list[Estimate] = []
    game = table_game.random(0, 8)
    refine(leave_one_out, game, KEY, budget=1000, target_stderr=1e-9, progress=seen.append)
    assert len(seen) == 1 and seen[0].stderr.max() > 1e-9


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"target_stderr": 0.0}, "target_stderr"),
        ({"target_stderr": float("nan")}, "nan"),
        ({"first": 0}, "first"),
    ],
)
def test_impossible_wishes_are_refused(wrong: dict[str, Any], named: str, table_game: Table):
    with pytest.raises(ConfigError, match=named):
        refine(antithetic_shapley, table_game.smooth(0, 5), KEY, budget=40, **wrong)
