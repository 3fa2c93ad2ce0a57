"""What the audit says: verdicts on rules that hold, on rules that do not, and its own arithmetic."""

from __future__ import annotations

import dataclasses
from statistics import fmean

import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.incentives import game
from relayjax.incentives.audit import Row, Setup, Verdict, interval, jobs_of, participation, play, verdicts
from relayjax.incentives.catalogue import AWAY, HONEST, Case, cases, conspiracy, vandals
from relayjax.incentives.game import Cast, Game
from relayjax.incentives.luck import Luck
from relayjax.incentives.result import audit_incentives
from relayjax.incentives.search import dearest_leg, fewest_honest, smallest_deposit
from relayjax.incentives.settings import Assumptions, Play, Prices, World
from relayjax.incentives.table import Table
from relayjax.incentives.utility import Tally, tallies
from relayjax.mechanism.rules import COIN, DeRelayLRules, RelayJAXRules, Schedule
from relayjax.valuation import sharing

FEW = Assumptions(play=Play(seeds=6, identities=(2, 16)))
PAPER = Schedule(rounds=40, participants=10, validators=1, braid_rounds=())


def found(schedule, rules, assumptions=FEW) -> dict[str, Verdict]:
    result = audit_incentives(schedule, rules, assumptions, search=False)
    return {verdict.case.name: verdict for verdict in result.verdicts}


@pytest.fixture(scope="module")
def default(short):
    schedule, rules = short
    setup = Setup(schedule, rules, World())
    played = cases(schedule, rules, FEW.play)
    return played, play(setup, jobs_of(played, FEW), 1, lambda: None)


def by_name(default, prices=FEW.prices) -> dict[str, Verdict]:
    return {verdict.case.name: verdict for verdict in verdicts(*default, prices)}


def test_what_brings_no_value_is_paid_nothing(default):
    """All of the honest pay is lost, and no more work than that is saved."""
    for name in ("free rider", "noise", "copy of a sibling", "replay of old work", "bids nothing"):
        verdict = by_name(default)[name]
        assert verdict.holds and verdict.gain <= -0.9 * verdict.honest


def test_junk_costs_more_than_it_was_paid_for(default):
    for name in ("sign flip", "label flip", "withholds", "bids without depositing"):
        assert by_name(default)[name].gain < -by_name(default)[name].honest


@pytest.mark.parametrize("name", ["constant figures", "lies", "silent", "shows no report"])
def test_a_validator_that_does_not_report_truthfully_loses_its_wage(default, name):
    verdict = by_name(default)[name]
    assert verdict.holds and verdict.gain <= -0.99 * verdict.honest


def test_second_places_do_not_pay(default):
    assert game.DEARER == sharing.DEARER
    for places in (2, 16):
        assert by_name(default)[f"{places} places with a leg each"].gain < 0


def test_honest_members_come_away_with_something(default):
    _, rows = default
    for one in participation(rows, FEW.prices):
        assert one.holds and one.lowest > 0 and one.mean > one.lowest
    assert not all(one.holds for one in participation(rows, Prices(leg=100.0, evaluation=100.0)))


def test_a_verdict_is_the_mean_of_paired_differences(default):
    played, rows = default
    case = next(case for case in played if case.name == "stale model")
    by = {(row.case, row.seed): row.actors.utility(FEW.prices) for row in rows}
    gains = [by[case.name, seed] - by[HONEST, seed] for seed in range(6)]
    verdict = by_name(default)[case.name]
    assert verdict.gain == pytest.approx(fmean(gains))
    assert (verdict.least, verdict.most) == interval(gains)
    assert verdict.holds == (verdict.most <= 0)


def test_the_interval_is_that_of_a_mean():
    gains = np.random.default_rng(1).normal(3.0, 2.0, 400)
    half = 1.96 * gains.std() / 20
    ends = gains.mean() - half, gains.mean() + half
    assert interval(gains.tolist()) == pytest.approx(ends, abs=0.1 * half)


def test_what_never_gains_does_not_pay_however_seldom_it_is_caught():
    """A normal distribution would have an upper end above 0."""
    gains = [0.0] * 98 + [-150.0] * 2
    assert interval(gains)[1] <= 0 < np.mean(gains) + 1.96 * np.std(gains) / 10


def test_utility_counts_coins_model_and_costs():
    prices = Prices(leg=2.0, evaluation=0.5, nat=10.0)
    assert Tally(coins=7.0, nats=0.3, legs=2.0, scored=4.0).utility(prices) == pytest.approx(4.0)
    assert (Tally(1, 2, 3, 4) + Tally(10, 20, 30, 40)) == Tally(11, 22, 33, 44)


def test_whoever_stays_away_has_a_utility_of_nothing(default):
    _, rows = default
    away = [row for row in rows if row.case == AWAY]
    assert away and all(row.actors == Tally() for row in away)


def test_what_one_does_changes_nobody_s_luck(short):
    schedule, _ = short
    one, other = (Luck(World(), 7, 4, schedule.rounds) for _ in range(2))
    assert all((a.value == b.value).all() for a, b in zip(one.seats, other.seats, strict=True))
    assert one.beacon(3) == other.beacon(3) != one.beacon(4)
    assert not (one.seats[0].value == one.seats[1].value).any()


def test_the_same_settings_give_the_same_figures_on_any_number_of_processes(short):
    schedule, rules = short
    assumptions = dataclasses.replace(FEW, play=Play(seeds=2, deviations=("noise", "lies")))
    setup = Setup(schedule, rules, World())
    jobs = jobs_of(cases(schedule, rules, assumptions.play), assumptions)
    assert play(setup, jobs, 1, lambda: None) == play(setup, jobs, 2, lambda: None)


def test_pay_for_legs_instead_of_value_is_found_out(short):
    """Where everything left at the end goes by legs that luck may explain, idle noise pays."""
    schedule, rules = short
    careless = dataclasses.replace(rules, noise_floor=0, slash=0, score_tolerance=10**12)
    verdict = found(schedule, careless)["constant figures"]
    assert not verdict.holds and verdict.gain > 0  # it keeps its wage, and saves the work


def test_without_a_deposit_vandalism_is_free(short):
    schedule, rules = short
    free = dataclasses.replace(rules, deposit=0)
    assumptions = dataclasses.replace(FEW, play=Play(seeds=6, deviations=("vandal: sign flip",)))
    dear = dataclasses.replace(assumptions, prices=Prices(leg=0.0))
    assert not found(schedule, free, dear)["vandal: sign flip"].holds
    assert found(schedule, rules, dear)["vandal: sign flip"].holds


def test_the_smallest_deposit_lies_between_too_little_and_enough(short):
    schedule, rules = short
    setup = Setup(schedule, rules, World())
    assumptions = dataclasses.replace(FEW, prices=Prices(leg=0.0))
    least = smallest_deposit(setup, assumptions, 1, lambda: None)
    assert least is not None and 0 < least <= rules.deposit / COIN
    spiteful = dataclasses.replace(assumptions, prices=Prices(spite=1_000.0))
    assert smallest_deposit(setup, spiteful, 1, lambda: None) is None
    assert smallest_deposit(Setup(PAPER, DeRelayLRules(), World()), FEW, 1, lambda: None) is None


def test_a_majority_of_the_validators_has_to_be_honest(short):
    schedule, rules = short
    assert fewest_honest(Setup(schedule, rules, World()), FEW, 1, lambda: None) == 2


def test_dear_legs_make_idling_pay(default):
    played, rows = default
    leg = dearest_leg(played, rows, FEW.prices)
    assert leg > FEW.prices.leg
    holding = {name for name, v in by_name(default).items() if v.holds}
    dearer = by_name(default, dataclasses.replace(FEW.prices, leg=1.01 * leg))
    assert not all(dearer[name].holds for name in holding)
    cheaper = by_name(default, dataclasses.replace(FEW.prices, leg=0.99 * leg))
    assert all(cheaper[name].holds for name in holding)


def test_the_paper_s_rules_fail_where_they_are_known_to():
    result = audit_incentives(PAPER, DeRelayLRules(), FEW)
    half, whole = result.supply
    assert whole > 3 * half  # supply grows with the square of the rounds
    assert result.free > 0.01  # a bid of nothing still gets a model
    assert "scores without measuring" in result.failed and not result.holds
    assert result.deposit is None and result.honest_validators is None


def test_a_coalition_deviates_together(short):
    schedule, rules = short
    cast, actors = Case("x", HONEST, 2, trainers=vandals(1)[0].trainers).cast(schedule, 4, 3)
    assert actors == ("p3", "p0") and set(cast.behaviours) == {"p3", "p0"}
    with pytest.raises(ConfigError, match="there are 4 participants"):
        cases(schedule, rules, Play(coalition=5))


def test_an_unknown_deviation_is_refused_with_the_known_ones(short):
    with pytest.raises(ConfigError, match="there is no x; choose from free rider"):
        cases(*short, Play(deviations=("x",)))


def test_conspirators_are_counted_together(short):
    schedule, rules = short
    _, lying = conspiracy(1)
    cast, actors = lying.cast(schedule, 4, 0)
    assert set(actors) == {"p0", "v0"} and cast.accomplices == {"p0"}
    luck = Luck(World(), 0, 4, schedule.rounds)
    game = Game(Table(schedule, rules, tuple(cast.seats)), World(), luck, cast).play()
    assert tallies(game, World())["v0"].coins < 0  # slashed: two others told the truth


def test_a_row_knows_who_the_others_are(default):
    _, rows = default
    honest = [row for row in rows if row.case == HONEST]
    for row in honest:
        everybody = [tally for role in row.members.values() for tally in role]
        total = sum(tally.coins for tally in everybody)
        assert isinstance(row, Row) and row.actors.coins + row.others.coins == pytest.approx(total)


def test_honest_play_in_a_world_of_luck_only_needs_its_places():
    with pytest.raises(ConfigError, match="at most 256 participants"):
        cases(Schedule(participants=250), RelayJAXRules(), Play(identities=(16,)))
    assert Cast({"p0": 0}).behaviours == {}


def test_every_deviation_can_be_named_by_a_flag(short):
    """Lists are separated by commas."""
    assert not [case.name for case in cases(*short, FEW.play) if "," in case.name]
