"""Retraining through a prefix tree, against retraining from the start."""

from __future__ import annotations

import gc
import weakref

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax.errors import ConfigError, DataError
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.leg import LegSettings
from relayjax.learning.placement import place
from relayjax.learning.schemes import Setup
from relayjax.learning.tasks.digits import Digits
from relayjax.valuation import Memo, Retraining, averaged_path, exact_shapley
from relayjax.valuation.exact import all_coalitions

E = 5
RNG = np.random.default_rng(2)
TARGETS = RNG.normal(size=(E, 3)).astype(np.float32)
MAPS = (0.3 * RNG.normal(size=(8, 3, 3))).astype(np.float32)
START = np.ones(3, np.float32)


def losses(state: np.ndarray) -> np.ndarray:
    return ((TARGETS - state) ** 2).sum(axis=1)


def train(state: np.ndarray, participant: int, position: int) -> np.ndarray:
    return state + np.tanh(MAPS[participant] @ state) / np.float32(1 + position)


def naive(coalition: np.ndarray, schedule: list[int]) -> np.ndarray:
    state = START
    for position, participant in enumerate(schedule):
        if coalition[participant]:
            state = train(state, participant, position)
    return losses(START).astype(np.float64) - losses(state)


@pytest.mark.parametrize("participants", range(1, 9))
def test_a_lap_takes_a_leg_a_coalition_and_gives_what_naive_retraining_gives(participants: int):
    told: list[tuple[int, int]] = []
    game = Retraining(
        train, losses, START, range(participants), progress=lambda done, needed: told.append((done, needed))
    )
    coalitions = all_coalitions(participants)
    table = game.utility_per_example(coalitions)
    schedule = list(range(participants))
    np.testing.assert_array_equal(table, [naive(coalition, schedule) for coalition in coalitions])
    assert game.legs_trained == 2**participants - 1
    assert told == [(n + 1, game.legs_trained) for n in range(game.legs_trained)]
    assert not table[0].any()


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data())
def test_any_schedule_and_any_coalitions_give_what_naive_retraining_gives(
    schedule: list[int], data: st.DataObject
):
    asked = st.lists(st.integers(0, 31), min_size=1, max_size=20)
    coalitions = all_coalitions(5)[data.draw(asked)]
    game = Retraining(train, losses, START, schedule, 5)
    needed = game.legs_needed(coalitions)
    assert game.legs_trained == 0
    table = game.utility_per_example(coalitions)
    np.testing.assert_array_equal(table, [naive(coalition, schedule) for coalition in coalitions])
    legs = [[p for p, who in enumerate(schedule) if coalition[who]] for coalition in coalitions]
    prefixes = {tuple(leg[:length]) for leg in legs for length in range(1, len(leg) + 1)}
    assert game.legs_trained == needed == len(prefixes)


def test_a_leg_is_told_its_position_in_the_full_schedule():
    seen: set[tuple[int, int]] = set()

    def noting(state: np.ndarray, participant: int, position: int) -> np.ndarray:
        seen.add((position, participant))
        return state

    schedule = [2, 0, 1, 1, 0, 2]
    game = Retraining(noting, losses, START, schedule)
    game.utility_per_example(np.array([[True, False, False], [True, False, True]]))
    assert seen == {(position, who) for position, who in enumerate(schedule) if who != 1}


def test_who_has_no_turn_or_changes_nothing_is_worth_nothing():
    idle = lambda state, who, position: state if who == 1 else train(state, who, position)  # noqa: E731
    estimate = exact_shapley(Retraining(idle, losses, START, [0, 1, 2, 0, 1, 2], 4))
    assert abs(estimate.values[[1, 3]]).max() < 1e-15
    assert abs(estimate.values[[0, 2]]).min() > 1e-3


def test_states_are_let_go_of_as_the_tree_is_left():
    class Version:
        """A state of which it is known whether anybody still holds it."""

        def __init__(self, legs: int):
            self.legs = legs
            held.add(self)

    held: weakref.WeakSet[Version] = weakref.WeakSet()
    most = 0

    def counting(state: Version, participant: int, position: int) -> Version:
        nonlocal most
        after = Version(state.legs + 1)
        gc.collect(0)
        most = max(most, len(held))
        return after

    participants, laps = 6, 5
    schedule = list(range(participants)) * laps
    game = Retraining(counting, lambda state: np.full(2, -state.legs), Version(0), schedule)
    table = game.utility_per_example(all_coalitions(participants))
    np.testing.assert_array_equal(table[:, 0], laps * all_coalitions(participants).sum(axis=1))
    assert most <= participants + 2
    assert game.legs_trained > 500


def test_nothing_that_a_memo_holds_is_trained_again():
    game = Retraining(train, losses, START, range(4))
    memo = Memo(game)
    everyone = memo.utility_per_example(all_coalitions(4))
    np.testing.assert_array_equal(memo.utility_per_example(all_coalitions(4)), everyone)
    assert game.legs_trained == 15


@pytest.mark.parametrize(
    ("schedule", "participants", "named"),
    [
        ([], None, "one a leg"),
        ([0, -1], None, "from 0"),
        ([0, 3], 3, "participant 3 of 3"),
        ([0.5], 1, "numbers"),
    ],
)
def test_impossible_schedules_are_refused(schedule: list, participants: int | None, named: str):
    with pytest.raises(ConfigError, match=named):
        Retraining(train, losses, START, schedule, participants)


def test_ill_formed_coalitions_are_refused():
    with pytest.raises(ConfigError, match="coalitions"):
        Retraining(train, losses, START, range(3)).utility_per_example(np.ones((1, 4), bool))


def test_losses_that_cannot_be_compared_are_refused_and_their_coalition_named():
    coalitions = np.array([[True, False, True]])
    diverging = lambda state: np.full(E, np.nan) if (state != START).any() else np.zeros(E)  # noqa: E731
    with pytest.raises(DataError, match=r"coalition \[0, 2\] is not finite"):
        Retraining(train, diverging, START, range(3)).utility_per_example(coalitions)
    with pytest.raises(DataError, match="one a validation example"):
        Retraining(train, lambda state: 0.5, START, range(3)).utility_per_example(coalitions)


def test_a_relay_on_digits():
    task = Digits(hidden=(8,)).build(5, seed=0)
    setup = Setup(task, LegSettings(steps=10, batch_size=32, prior_anneal=0.0), legs=5, seed=0)
    evaluator, validation = Evaluator(task, setup.leg.baton.params), place(task.validation)
    drawn = np.arange(100, dtype=np.int32)
    measure = lambda theta: np.asarray(evaluator.losses(theta, validation, drawn))  # noqa: E731
    leg = lambda theta, who, position: setup.train(theta, who, who, position)  # noqa: E731

    theta = setup.genesis()
    game = Retraining(leg, measure, theta, range(5))
    coalitions = all_coalitions(5)
    table = game.utility_per_example(coalitions)
    assert game.legs_trained == 31
    child = theta
    for who in (1, 2, 4):
        child = leg(child, who, who)
    np.testing.assert_array_equal(table[0b10110], measure(theta).astype(np.float64) - measure(child))

    truth = exact_shapley(game)
    np.testing.assert_allclose(truth.values.sum(), table[-1].mean(), atol=1e-12)
    some, every = (averaged_path(leg, measure, theta, 5, jax.random.key(0), orders=n) for n in (12, 120))
    assert every.evaluations == 5 + 20 + 60 + 120 + 120
    assert not every.sampling_stderr.any()
    assert (np.abs(some.values - every.values) < 4 * some.sampling_stderr).all()
