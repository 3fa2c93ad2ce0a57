"""For how long the others wait for somebody who stays away, comes late, or works."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayjax.mechanism.state import Phase
from relayjax.peers.lapses import Lapses
from relayjax.peers.patience import Patience
from relayjax.records import Bid, Score, Submit

PATIENCE = 64.0
WORK = [Submit("p0", 1, "", "", 0, "", "", ""), Score("p0", 1, "", (), (), (), (), ())]


class Ground:
    """One member, and somebody who waits for it with a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting = Patience(PATIENCE, lambda: self.now)
        self.lapses = Lapses(self.waiting)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 16)):  # powers of two add up exactly
            self.now += 1 / 16
            self.waiting.look()

    def waits(self, phase: Phase = Phase.AUCTION) -> float:
        """Seconds that a phase waits for the member, which is heard of before and left behind at its end."""
        self.lapses.hear("p0")
        self.waiting.begin()
        begun = self.now
        while self.lapses.awaited(["p0"], phase):
            self.pass_time(1 / 16)
        assert self.lapses.leave_behind(["p0"]) == ["p0"]
        return self.now - begun


def test_each_time_somebody_is_left_behind_the_wait_halves_and_each_piece_of_work_doubles_it():
    ground = Ground()
    assert [round(ground.waits()) for _ in range(4)] == [64, 32, 16, 8]
    for record in WORK:
        ground.lapses.take(record)
    assert round(ground.waits(Phase.TESTING)) == 16
    for record in 3 * WORK:
        ground.lapses.take(record)
    assert round(ground.waits(Phase.APPRAISAL)) == 64, "work is not hoarded beyond the patience"


def test_where_staying_away_has_its_price_the_whole_patience_is_waited():
    ground = Ground()
    for _ in range(3):
        ground.waits()
    paid = [Phase.DEPOSIT, Phase.COMMIT, Phase.REVEAL, Phase.SCORING, Phase.VALUATION]
    assert {round(ground.waits(phase)) for phase in paid} == {64}


def test_who_is_silent_is_not_waited_for_until_it_is_heard_of_and_others_are():
    ground = Ground()
    ground.waits()
    ground.waiting.begin()
    assert not ground.lapses.awaited(["p0"], Phase.COMMIT)
    assert ground.lapses.awaited(["p0", "p1"], Phase.AUCTION)
    ground.pass_time(40)
    assert ground.lapses.awaited(["p1"], Phase.AUCTION), "another's conduct is not held against it"
    assert ground.lapses.leave_behind(["p1", "p0"]) == ["p1"]


def test_a_bid_in_the_second_half_of_its_time_counts_like_one_that_did_not_come():
    ground = Ground()
    ground.pass_time(32)
    ground.lapses.take(Bid("p0", 1, 1))
    assert ground.lapses._count["p0"] == 0
    ground.pass_time(1 / 16)
    ground.lapses.take(Bid("p0", 1, 1))
    assert round(ground.waits()) == 32


@given(st.lists(st.booleans(), max_size=60))
def test_nobody_costs_more_than_twice_the_patience_and_once_more_for_each_piece_of_work(course: list[bool]):
    ground, cost = Ground(), 0.0
    for works in course:
        if works:
            ground.lapses.take(WORK[0])
        else:  # what `waits` comes to, without letting so much time pass in small steps
            cost += PATIENCE / 2 ** ground.lapses._count["p0"]
            ground.lapses.hear("p0")
            ground.lapses.leave_behind(["p0"])
    assert cost <= PATIENCE * (2 + sum(course))
