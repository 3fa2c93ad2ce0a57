"""Simulated populations: to the unit as the rules say, conserved, deterministic, and as in the paper."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.mechanism.rules import DeRelayLRules
from relayjax.simulation import paper, scan
from relayjax.simulation import population as populations
from relayjax.simulation.draws import Source
from relayjax.simulation.population import play, simulate
from relayjax.simulation.reference import Reference
from relayjax.simulation.settings import Population

SMALL = Population(participants=24, rounds=80)
CASES = {
    "the paper's": SMALL,
    "all accepted": dataclasses.replace(SMALL, rules=DeRelayLRules(places=2, accepted_share=1_000_000)),
    "odd": dataclasses.replace(SMALL, participants=31, success_rate=0.8, rules=DeRelayLRules(bid_margin=3)),
    "few accepted": dataclasses.replace(
        SMALL, participants=90, rules=DeRelayLRules(accepted_share=250_000, places=9)
    ),
    "equal gains": dataclasses.replace(SMALL, gain_deviation=0.0),
    "measured gains": dataclasses.replace(SMALL, gains=(0.5, -1.0, 2.0)),
    "no genesis": dataclasses.replace(SMALL, rules=DeRelayLRules(genesis_shares=0), cases=0),
    "very few": dataclasses.replace(SMALL, participants=9, success_rate=1.0),
    "ends": dataclasses.replace(SMALL, participants=5),
}


@pytest.mark.parametrize("seed", (1, 2, 3))
@pytest.mark.parametrize("population", CASES.values(), ids=CASES.keys())
def test_coins_and_versions_are_those_of_the_rules_to_the_unit(population: Population, seed: int):
    expected = Reference(population).play(Source(population, seed).draw(population.rounds))
    found = play(population, seed)
    assert found.coins.tolist() == expected.coins[-1]
    assert (found.minted, found.forfeited) == (expected.minted, expected.forfeited)
    np.testing.assert_allclose(found.curves.mean, np.mean(expected.coins, 1), rtol=1e-12)
    np.testing.assert_allclose(found.curves.deviation, np.std(expected.coins, 1), rtol=1e-9)
    np.testing.assert_array_equal(found.curves.low, np.min(expected.coins, 1))
    np.testing.assert_array_equal(found.curves.high, np.max(expected.coins, 1))
    for lags, held in zip(found.curves.lags, expected.newest, strict=True):
        behind = [12 if version < 0 else min(max(held) - version, 11) for version in held]
        np.testing.assert_array_equal(lags, np.bincount(behind, minlength=13))


@pytest.mark.parametrize("case", ("the paper's", "all accepted", "odd", "equal gains", "no genesis"))
def test_jax_gives_the_same_courses(case: str):
    population = dataclasses.replace(CASES[case], rounds=40, repetitions=2)
    told: list[int] = []
    for found, expected in zip(scan.play(population, told.append), simulate(population), strict=True):
        np.testing.assert_array_equal(found.coins, expected.coins)
        assert dataclasses.replace(found, curves=expected.curves, coins=expected.coins) == expected
        for curve, usual in zip(found.curves, expected.curves, strict=True):
            np.testing.assert_allclose(curve, usual, rtol=1e-12)
    assert sum(told) == 80


def test_little_room_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    population = dataclasses.replace(SMALL, participants=60, rules=DeRelayLRules(accepted_share=10**6))
    usual, begin = play(population, 5), populations.start

    def cramped(population: Population):
        members, versions, counts = begin(population)
        room = population.participants // 2 + 1
        return members, versions._replace(owner=versions.owner[:room], parent=versions.parent[:room]), counts

    monkeypatch.setattr(populations, "start", cramped)
    np.testing.assert_array_equal(play(population, 5).coins, usual.coins)


@pytest.mark.parametrize("chunk", (1, 7, 80))
def test_how_many_rounds_are_drawn_at_a_time_changes_nothing(chunk: int):
    usual, found = play(SMALL, 9), play(SMALL, 9, chunk=chunk)
    np.testing.assert_array_equal(found.coins, usual.coins)
    np.testing.assert_array_equal(found.curves.lags, usual.curves.lags)


def test_the_same_settings_give_the_same_course_and_other_seeds_others():
    population = dataclasses.replace(SMALL, seed=3, repetitions=3)
    told: list[int] = []
    first, second = simulate(population, told.append), simulate(population)
    assert sum(told) == 3 * population.rounds
    assert [course.seed for course in first] == [3, 4, 5]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.coins, other.coins)
    assert not np.array_equal(first[0].coins, first[1].coins)


@pytest.fixture(scope="module")
def papers() -> tuple[Population, list]:
    """The paper's population over some seeds, long enough for both of its figures to show."""
    population = Population(rounds=1_000, repetitions=12)
    return population, simulate(population)


def test_nothing_appears_or_vanishes_unbooked(papers: tuple[Population, list]):
    for course in papers[1]:
        assert course.coins.sum() == course.minted - course.forfeited
        assert course.coins.min() >= 0
        assert (course.curves.lags.sum(1) == 256).all()


def test_shares_of_versions_are_the_papers(papers: tuple[Population, list]):
    for figure in paper.shares(*papers):
        assert figure.paper is not None
        assert abs(figure.mean - figure.paper) < 0.3, figure
        assert figure.half < 0.2


def test_coins_after_100_rounds_are_the_papers(papers: tuple[Population, list]):
    mean, deviation, low, high = paper.coins(*papers, round=100)
    assert mean.inside
    assert low.mean == low.paper == 0
    assert deviation.paper is not None and abs(deviation.mean / deviation.paper - 1) < 0.15
    assert high.paper is not None and high.low < 1.3 * high.paper


def test_supply_grows_as_the_papers(papers: tuple[Population, list]):
    for round, supply in ((500, 4.93e6), (1_000, 19.7e6)):
        mean = paper.coins(*papers, round=round)[0].mean
        assert abs(256 * mean / supply - 1) < 0.003


def test_a_relay_without_an_accepted_model_ends():
    course = play(dataclasses.replace(SMALL, success_rate=0.0), 1)
    assert course.ended == 1
    assert course.coins.sum() == course.minted == (4 + 0 + 100 + 0) * 1_000  # only the writers are paid, once
    assert (course.curves.lags[-1] == [1] + 11 * [0] + [23]).all()


def test_other_settings_are_not_compared_with_the_paper():
    assert paper.is_papers(Population(rounds=7, seed=1, repetitions=2))
    assert not paper.is_papers(Population(participants=255))
    assert not paper.is_papers(Population(participants=1_000_000, rounds=100))
    assert all(figure.paper is None for figure in paper.shares(SMALL, [play(SMALL, 1)]))


def test_the_interval_of_a_mean_is_students():
    figure = paper.compared("", np.array([1.0, 2.0, 3.0]), 2.5)
    assert figure.half == pytest.approx(4.302652729911275 / np.sqrt(3))
    assert figure.inside
    assert np.isnan(paper.compared("", np.array([1.0]), None).half)


@pytest.mark.parametrize(
    "bad",
    (
        {"participants": 3},
        {"rounds": 0},
        {"success_rate": 1.5},
        {"gain_deviation": -1.0},
        {"repetitions": 0},
        {"gains": (float("nan"),)},
        {"participants": 10_000_000, "rounds": 1_000_000},
    ),
)
def test_settings_out_of_range_are_refused(bad: dict):
    with pytest.raises(ConfigError):
        Population(**bad)


def test_an_engine_that_cannot_is_refused():
    with pytest.raises(ConfigError, match="numba, jax"):
        simulate(SMALL, engine="fortran")
    with pytest.raises(ConfigError, match="use numba"):
        simulate(Population(participants=5_000), engine="jax")
