"""The live state machine and the simulated population play the same rules: equal coins after every round."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from relayjax.mechanism.rules import DeRelayLRules, Schedule
from relayjax.mechanism.state import Phase, Role
from relayjax.simulation import compiled, scan
from relayjax.simulation import population as populations
from relayjax.simulation.course import LAGS, Curves, numbers_of
from relayjax.simulation.draws import BLOCKS, Draws
from relayjax.simulation.reference import Reference
from relayjax.simulation.settings import Population

NOTHING_LEARNT = 10**9
"""Loss of the genesis version, micro-nats; whatever a model gains is taken off it."""

POPULATIONS = {
    "the paper's": Population(participants=24, rounds=30),
    "a small one": Population(participants=9, rounds=40, success_rate=1.0),
    "the smallest": Population(participants=4, rounds=10, rules=DeRelayLRules(accepted_share=1_000_000)),
    "one that ends": Population(participants=7, rounds=20, success_rate=0.4),
    "larger": Population(participants=48, rounds=12, cases=7),
    "odd, few places": Population(
        participants=21, rounds=20, rules=DeRelayLRules(places=1, accepted_share=900_000, bid_margin=3)
    ),
    "other numbers": Population(
        participants=30,
        rounds=20,
        cases=2,
        rules=DeRelayLRules(
            accepted_share=700_000,
            places=3,
            lineage_reward=700_001,
            fee=13,
            owner_bid=1_000_003,
            genesis_shares=5,
            bid_margin=0,
        ),
    ),
}


class Live:
    """A live relay in which dice say who trains a model and what it gains; it keeps what was drawn."""

    def __init__(self, player, population: Population, seed: int):
        schedule = Schedule(
            rounds=population.rounds,
            participants=population.participants,
            validators=1,
            braid_rounds=(),
            draw=population.cases,
        )
        self.dice = random.Random(seed)
        self.population = population
        self.play = player(schedule, population.rules)
        self.play.present = self.present
        self.participants = self.play.state.named(Role.PARTICIPANT)
        self.gained = {0: 0}
        self.lots: list[list[int]] = []
        self.trained: list[list[bool]] = []
        self.gains: list[list[int]] = []
        self.coins: list[list[int]] = []

    def round(self) -> None:
        """Plays one round; gains are few whole numbers, so that models tie."""
        before, everybody = self.play.state, self.participants
        places = {name: place for place, name in enumerate(sorted(everybody, key=before.lot))}
        self.lots.append([places[name] for name in everybody])
        self.trained.append([self.dice.random() < self.population.success_rate for _ in everybody])
        self.gains.append([self.dice.randint(-1, 3) for _ in everybody])
        self.play.round()
        for version in self.play.state.versions[len(before.versions) :]:
            self.gained[version.number] = NOTHING_LEARNT - self.play.losses[version.owners[0]]
        self.coins.append([self.play.state.balances[name] for name in everybody])

    def present(self, names) -> list[str]:
        """Whoever fails to train does not commit; everybody else acts always."""
        now = self.play.state.round
        if now.phase is not Phase.COMMIT:
            return sorted(names)
        succeeds = dict(zip(self.participants, self.trained[-1], strict=True))
        gains = dict(zip(self.participants, self.gains[-1], strict=True))
        for name, parent in now.pairs.items():
            self.play.losses[name] = NOTHING_LEARNT - self.gained[parent] - gains[name]
        return [name for name in sorted(names) if succeeds[name]]

    def draws(self) -> Draws:
        """What a simulation has to be given; the writers are the first maintainers by lot, in turn."""
        return Draws(
            np.array(self.lots, np.int32),
            np.array(self.trained),
            np.array(self.gains, np.float64),
            np.tile(np.arange(BLOCKS, dtype=np.int32), (len(self.lots), 1)),
        )


@pytest.fixture(params=[(case, seed) for case in POPULATIONS for seed in (1, 2, 3)], ids=str)
def live(request, player) -> Live:
    """A live relay, played until it ends."""
    case, seed = request.param
    live = Live(player, POPULATIONS[case], seed)
    while not live.play.state.finished:
        live.round()
    return live


def test_everybody_has_the_same_coins_after_every_round(live: Live):
    rounds, draws = len(live.coins), live.draws()
    population = dataclasses.replace(live.population, rounds=rounds)
    expected = Reference(population).play(draws)
    assert expected.coins == live.coins
    assert (expected.minted, expected.forfeited) == (live.play.state.minted, live.play.state.burned)

    members, versions, counts = populations.start(population)
    curves = Curves(
        np.zeros((rounds, LAGS), np.int64), *(np.zeros(rounds, t) for t in (float, float, int, int))
    )
    scratch = populations.new_scratch(population.participants)
    for number in range(rounds):
        drawn = Draws(*(array[number : number + 1] for array in draws))
        assert (
            compiled.advance(members, versions, curves, counts, scratch, drawn, numbers_of(population)) == 1
        )
        assert members.coins.tolist() == live.coins[number], f"round {number + 1}"


@pytest.mark.parametrize("case", ["the paper's", "other numbers"])
def test_the_jax_program_has_them_too(player, case: str):
    import jax

    live = Live(player, POPULATIONS[case], 4)
    while not live.play.state.finished:
        live.round()
    with jax.enable_x64(True):
        carry = jax.tree.map(lambda array: array[None], scan.start(live.population))
        draws = Draws(*(array[None] for array in live.draws()))
        after, _ = scan.advance(carry, draws, numbers_of(live.population))
    assert after.coins[0].tolist() == live.coins[-1]


def test_models_tie_and_relays_go_on_for_long_enough(player):
    """Else the comparison above would say little."""
    live = Live(player, POPULATIONS["the paper's"], 1)
    ties = 0
    while not live.play.state.finished:
        live.round()
        losses = [live.play.losses[name] for name in live.play.state.versions[-1].owners]
        ties += sum(list(live.play.losses.values()).count(loss) > 1 for loss in losses)
    assert len(live.coins) == live.population.rounds
    assert ties > 5
