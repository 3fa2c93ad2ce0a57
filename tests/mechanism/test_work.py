"""What counts as work: the test of the slope, legs that no luck explains, what the end pays for them."""

from __future__ import annotations

import dataclasses

import pytest

from relayjax.mechanism.payout import attended, full_legs
from relayjax.mechanism.rules import COIN, MILLION, RelayJAXRules, Schedule
from relayjax.records import Settle

from .conftest import LUCK

RULES = RelayJAXRules(tolerance=COIN)
CHAIN = Schedule(rounds=9, participants=4, validators=3, braid_rounds=(1,))
EVEN = dict.fromkeys(("p0", "p1", "p2", "p3"), 2 * COIN)
FLOOR = LUCK * RULES.noise_floor // MILLION


def settled(play) -> Settle:
    settle = play.said[-1]
    assert isinstance(settle, Settle)
    return settle


def moved(play, reason: str) -> dict[str, int]:
    """Who received, or lost, how much for a reason in the last settlement."""
    moves = settled(play).transfers
    return {(target if source == "pot" else source): a for source, target, a, why in moves if why == reason}


def turn(play, **options) -> str:
    """Plays a chain round; returns whose turn it was."""
    for name, option in options.items():
        setattr(play, name, option)
    play.round(losses=EVEN)
    return next(iter(play.said[-1].accepted or play.said[-1].refused))


@pytest.mark.parametrize("over", [0, 1])
def test_a_delta_that_points_uphill_is_refused(player, over):
    """Its whole leaves the loss as it is; to first order it adds more than 30 % of it, or just not."""
    play = player(dataclasses.replace(CHAIN, braid_rounds=()), RULES)
    limit = play.parent_loss * RULES.slope_tolerance // MILLION
    name = turn(play, slopes=dict.fromkeys(EVEN, limit + over))
    assert (name in settled(play).refused) == bool(over)
    assert moved(play, "deposit forfeited") == ({f"escrow:{name}": RULES.deposit} if over else {})
    assert not play.state.worked.get(name)  # uphill is no work, accepted or not


def test_it_is_refused_in_a_braid_round_too(player):
    play = player(CHAIN, RULES)
    play.slopes = {"p1": play.parent_loss}
    play.round(losses=EVEN, values=dict.fromkeys(EVEN, 100))
    assert settled(play).refused == ("p1",)


@pytest.mark.parametrize(("slope", "counts"), [(0, 0), (-FLOOR, 0), (-FLOOR - 1, 1), (FLOOR + 1, 0)])
def test_a_leg_is_work_if_it_points_further_downhill_than_luck_explains(player, slope, counts):
    play = player(dataclasses.replace(CHAIN, braid_rounds=()), RULES)
    name = turn(play, slopes=dict.fromkeys(EVEN, slope))
    assert settled(play).accepted == (name,)
    assert play.state.worked.get(name, 0) == counts


def test_whoever_idles_in_chain_rounds_gets_less_of_the_remainder(player):
    """All are worth the same and have three turns; p3 works in the first one only."""
    play = player(CHAIN, RULES)
    play.round(losses=EVEN, values=dict.fromkeys(EVEN, 100))
    for _ in range(8):
        turn(play, slopes={"p3": 0})
    assert dict(play.state.worked) == {"p0": 3, "p1": 3, "p2": 3, "p3": 1}  # ⌈¾ · 3⌉ of them count
    shares = moved(play, "remainder")
    assert shares["p0"] == shares["p1"] == shares["p2"] == pytest.approx(3 * shares["p3"], abs=3)
    assert play.state.pot < 10


def test_legs_beyond_what_is_usual_earn_nothing_more():
    values = (("a", 10), ("b", 10), ("c", 20))
    worked = {"a": 1, "b": 4, "c": 9}
    assert full_legs(values, worked, RULES) == 3
    assert attended(values, worked, RULES) == (("a", 10), ("b", 30), ("c", 60))


def test_where_few_have_worked_value_alone_decides():
    values = (("a", 10), ("b", 30))
    assert attended(values, {}, RULES) == attended(values, {"b": 5}, RULES) == values
    assert attended((), {"a": 1}, RULES) == ()


@pytest.mark.parametrize(("round", "tolerance"), [(1, 1_000_000), (2, 762_500), (3, 525_000), (5, 50_000)])
def test_the_trust_region_narrows_towards_the_end(player, round, tolerance):
    assert RULES.tolerance_in(round, 5) == tolerance and RULES.tolerance_in(1, 1) == RULES.tolerance
    for over in (0, 1):
        play = player(Schedule(rounds=5, participants=4, validators=3, braid_rounds=()), RULES)
        for _ in range(1, round):
            turn(play)
        play.round(losses=dict.fromkeys(EVEN, play.parent_loss + tolerance + over))
        assert bool(settled(play).refused) == bool(over)


def test_who_is_matched_and_does_not_deposit_loses_what_it_bid(player):
    play = player(CHAIN, RULES)
    play.auction()
    play.present = lambda names: [name for name in sorted(names) if name != "p2"]
    play.deposit()
    del play.present
    for phase in (play.commit, play.reveal, play.test, play.value, play.settle):
        phase()
    assert moved(play, "deposit not paid") == {"p2": RULES.deposit}
    assert play.state.balances["p2"] == RULES.endowment - RULES.deposit


def test_it_cannot_lose_more_than_it_has(player):
    poor = dataclasses.replace(RULES, endowment=RULES.deposit)
    play = player(CHAIN, poor)
    play.auction()
    assert play.state.round.bids["p2"] == RULES.deposit
    play.present = lambda names: []
    play.deposit()
    del play.present
    play.settle()
    assert moved(play, "deposit not paid") == dict.fromkeys(EVEN, RULES.deposit)
    assert not any(play.state.balances[name] for name in EVEN)


def test_the_wage_of_a_silent_validator_goes_to_the_trainers(player):
    """Nobody among the validators gains by another's silence."""
    play = player(CHAIN, RULES)
    play.quorum = lambda expected: sorted(set(expected) - {"v2"})
    play.round(losses=EVEN, values=dict.fromkeys(EVEN, 100))
    assert moved(play, "maintenance") == dict.fromkeys(("v0", "v1"), RULES.wages // 3)
