"""Path values averaged over orders, of legs that are maps of a plane."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from relayjax.errors import ConfigError, DataError
from relayjax.valuation import Estimate, averaged_path, exact_shapley

E = 7

# A state is a point; losses are distances from E targets. Legs are linear maps, which do not commute.
RNG = np.random.default_rng(1)
TARGETS = RNG.normal(size=(E, 2))
STEPS = RNG.normal(size=(12, 2))
TURNS = 0.4 * RNG.normal(size=(12, 2, 2))


def distances(state: np.ndarray) -> np.ndarray:
    return ((TARGETS - state) ** 2).sum(axis=1)


def adding(state: np.ndarray, participant: int, position: int) -> np.ndarray:
    return state + STEPS[participant]


def turning(state: np.ndarray, participant: int, position: int) -> np.ndarray:
    return state + TURNS[participant] @ state + STEPS[participant] / (1 + position)


Leg = Callable[[np.ndarray, int, int], np.ndarray]


def averaged(train: Leg, participants: int, seed: int, **given: Any) -> Estimate:
    return averaged_path(train, distances, np.zeros(2), participants, jax.random.key(seed), **given)


def brute(train: Leg, participants: int, laps: int = 1) -> np.ndarray:
    """Every example's own values from all orders, each run from the start, float64 [N, E]."""
    orders = list(itertools.permutations(range(participants)))
    shares = np.zeros((participants, E))
    for order in orders:
        state = np.zeros(2)
        for position, participant in enumerate(order * laps):
            after = train(state, participant, position)
            shares[participant] += (distances(state) - distances(after)) / len(orders)
            state = after
    return shares


@pytest.mark.parametrize("train", [adding, turning])
@pytest.mark.parametrize("laps", [1, 2])
def test_all_orders_give_the_mean_over_orders_without_sampling_error(train: Leg, laps: int):
    estimate, shares = averaged(train, 4, 0, orders=24, laps=laps), brute(train, 4, laps)
    np.testing.assert_allclose(estimate.values, shares.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(estimate.stderr, shares.std(axis=1, ddof=1) / np.sqrt(E), atol=1e-12)
    assert not estimate.sampling_stderr.any()
    assert estimate.method == "averaged-path"


class Sums:
    """What is worth what when the legs of a coalition commute."""

    participants = 4

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        return np.stack([distances(np.zeros(2)) - distances(c @ STEPS[:4]) for c in coalitions])


def test_where_legs_commute_the_average_over_all_orders_is_the_shapley_value():
    estimate = averaged(adding, 4, 0, orders=1000)
    exact = exact_shapley(Sums())
    np.testing.assert_allclose(estimate.values, exact.values, atol=1e-12)
    np.testing.assert_allclose(estimate.stderr, exact.stderr, atol=1e-12)


@pytest.mark.parametrize("participants", [1, 2, 3])
def test_few_participants_have_few_orders(participants: int):
    estimate = averaged(turning, participants, 0, orders=16)
    np.testing.assert_allclose(estimate.values, brute(turning, participants).mean(axis=1), atol=1e-12)
    assert estimate.evaluations == [1, 4, 15][participants - 1]


@pytest.mark.parametrize("participants", [5, 10])
@pytest.mark.parametrize("orders", [12, 40])
def test_the_error_of_sampled_orders_is_what_the_standard_error_says(participants: int, orders: int):
    if participants == 5:
        expected = brute(turning, 5).mean(axis=1)
    else:
        expected = averaged(turning, 10, 99, orders=4000).values
    squares, variances = [], []
    for seed in range(60):
        estimate = averaged(turning, participants, seed, orders=orders)
        squares.append((estimate.values - expected) ** 2)
        variances.append(estimate.sampling_stderr**2)
    assert 0.8 < np.sqrt(np.mean(squares) / np.mean(variances)) < 1.25


@pytest.mark.parametrize("participants", [4, 11])
def test_no_beginning_is_trained_twice_and_more_orders_go_on_from_fewer(participants: int):
    trained: list[tuple[int, ...]] = []

    def recording(state: tuple[int, ...], participant: int, position: int) -> tuple[int, ...]:
        assert position == len(state)
        trained.append((*state, participant))
        return trained[-1]

    def run(orders: int) -> tuple[Estimate, set[tuple[int, ...]]]:
        trained.clear()
        told: list[tuple[int, int]] = []
        losses = lambda state: np.array([len(state), 1.0])  # noqa: E731
        key = jax.random.key(5)
        estimate = averaged_path(
            recording,
            losses,
            (),
            participants,
            key,
            orders=orders,
            progress=lambda done, needed: told.append((done, needed)),
        )
        assert told == [(n + 1, len(trained)) for n in range(len(trained))]
        return estimate, {prefix for prefix in trained if len(prefix) == participants}

    small, few = run(6)
    assert len(trained) == len(set(trained)) == small.evaluations
    assert {order[::-1] for order in few} == few and len(few) == 6
    _, many = run(14)
    assert few < many and len(many) == 14


def test_averaged_path_is_efficient_for_every_draw():
    # Legs that commute end at the same place in every order.
    worth = (distances(np.zeros(2)) - distances(STEPS[:6].sum(axis=0))).mean()
    for seed in range(5):
        np.testing.assert_allclose(averaged(adding, 6, seed, orders=4).values.sum(), worth, atol=1e-12)


def test_who_changes_nothing_is_worth_nothing_in_every_order():
    idle = lambda state, who, position: state if who == 2 else turning(state, who, position)  # noqa: E731
    estimate = averaged(idle, 6, 0, orders=8)
    assert estimate.values[2] == 0.0 == estimate.stderr[2]
    again = averaged(idle, 6, 0, orders=8)
    np.testing.assert_array_equal(again.values, estimate.values)
    np.testing.assert_array_equal(again.stderr, estimate.stderr)


@pytest.mark.parametrize(
    ("given", "named"),
    [({"orders": 5}, "even"), ({"orders": 2}, "even"), ({"laps": 0}, "0 laps")],
)
def test_averaged_path_refuses_numbers_out_of_range(given: dict[str, int], named: str):
    with pytest.raises(ConfigError, match=named):
        averaged(adding, 3, 0, **given)


@pytest.mark.parametrize(
    ("losses", "named"),
    [
        (lambda state: np.full(E, np.nan) if state.any() else np.zeros(E), r"after the legs of \[\d\]"),
        (lambda state: np.zeros(E if state.any() else E + 1), r"\[8\] became \[7\]"),
        (lambda state: 0.5, "one a validation example"),
        (lambda state: np.zeros(1), "hold out 2 or more"),
    ],
)
def test_averaged_path_refuses_losses_that_cannot_be_compared(losses: Any, named: str):
    with pytest.raises(DataError, match=named):
        averaged_path(adding, losses, np.zeros(2), 3, jax.random.key(0), orders=4)
