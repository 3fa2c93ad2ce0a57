"""What counts of the time that a phase waits."""

from __future__ import annotations

import pytest

from relayjax.peers.patience import Patience


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


def looks(patience: Patience, clock: Clock, step: float, halvings: int = 0) -> int:
    """How many looks, so many seconds apart, it takes until the waiting ends."""
    for look in range(1, 1_000):
        clock.now += step
        patience.look()
        if patience.over(halvings):
            return look
    raise AssertionError("it waits for ever")


@pytest.mark.parametrize(
    "halvings, step, expected",
    [(0, 1.0, 31), (0, 10.0, 4), (0, 25.0, 4), (0, 1e6, 4), (1, 1.0, 16), (2, 5.0, 4), (2, 1e6, 4)],
)
def test_of_the_time_between_two_looks_a_third_of_what_is_waited_counts_at_most(
    halvings: int, step: float, expected: int
):
    clock = Clock()
    patience = Patience(30.0, clock)
    assert looks(patience, clock, step, halvings) == expected
    patience.begin()
    assert looks(patience, clock, step, halvings) == expected


def test_what_is_left_shrinks_as_the_clock_goes_by_what_counts_of_it():
    clock = Clock()
    patience = Patience(30.0, clock)
    assert patience.left == 30.0
    clock.now += 4.0
    assert patience.left == 26.0
    patience.look()
    assert not patience.over() and patience.left == 26.0
    clock.now += 1e6
    assert patience.left == 16.0
    patience.look()
    assert not patience.over() and patience.left == 16.0


def test_without_patience_any_time_is_enough_and_none_is_not():
    clock = Clock()
    patience = Patience(0.0, clock)
    patience.look()
    assert not patience.over()
    assert looks(patience, clock, 1e-6) == 1
