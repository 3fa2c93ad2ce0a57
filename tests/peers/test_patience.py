"""What counts of the time that a phase waits."""

from __future__ import annotations

import pytest

from relayjax.peers.patience import Patience


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


def looks(patience: Patience, clock: Clock, step: float) -> int:
    """How many looks, so many seconds apart, it takes until the waiting ends."""
    for look in range(1, 1_000):
        clock.now += step
        if patience.ends():
            return look
    raise AssertionError("it waits for ever")


@pytest.mark.parametrize("step, expected", [(1.0, 31), (10.0, 4), (25.0, 4), (1e6, 4)])
def test_of_the_time_between_two_looks_a_third_of_the_patience_counts_at_most(step: float, expected: int):
    clock = Clock()
    patience = Patience(30.0, clock)
    assert looks(patience, clock, step) == expected
    patience.begin()
    assert looks(patience, clock, step) == expected


def test_what_is_left_shrinks_as_the_clock_goes_by_what_counts_of_it():
    clock = Clock()
    patience = Patience(30.0, clock)
    assert patience.left == 30.0
    clock.now += 4.0
    assert patience.left == 26.0
    assert not patience.ends() and patience.left == 26.0
    clock.now += 1e6
    assert patience.left == 16.0
    assert [patience.ends(), patience.left] == [False, 16.0]


def test_without_patience_any_time_is_enough_and_none_is_not():
    clock = Clock()
    patience = Patience(0.0, clock)
    assert not patience.ends()
    assert looks(patience, clock, 1e-6) == 1
