"""The `derelayl` rules, held to the paper's description and to its published figures."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from relayjax.mechanism.rules import COIN, DeRelayLRules, Schedule
from relayjax.mechanism.state import Topology
from relayjax.mechanism.transitions import expected_match
from relayjax.records import Bid, Settle, Submit

RULES = DeRelayLRules()


def schedule(participants: int, rounds: int = 1000) -> Schedule:
    return Schedule(rounds=rounds, participants=participants, braid_rounds=(), draw=100)


def noisy(play, failing: float = 0.1) -> None:
    """One round as the paper simulates training: it fails now and then, else moves by chance."""
    play.auction()
    play.deposit()
    play.away = failing
    play.commit()
    play.away = 0.0
    play.reveal()
    play.losses = {name: play.dice.randint(0, 10**9) for name in play.state.round.submissions}
    play.test()
    play.settle()


def test_owners_and_trainers_are_half_and_the_rest_maintains(player):
    play = player(schedule(32), RULES)
    for _ in range(6):
        state, rules = play.state, play.rules
        owners, trainers, others = (
            set(rules.owners(state)),
            set(rules.trainers(state)),
            set(rules.maintainers(state)),
        )
        assert rules.topology(state) is Topology.TREE
        assert len(owners | trainers) == 16 and not owners & trainers
        assert others == {f"p{i:02}" for i in range(32)} - owners - trainers
        noisy(play)


def test_winners_own_the_next_round_best_first(player):
    play = player(schedule(16), RULES)
    play.auction()
    trainers = list(play.state.round.pairs)
    assert len(trainers) == RULES.places
    losses = dict(zip(trainers, (40, 10, 30, 20), strict=True))
    play.deposit()
    play.commit()
    play.reveal()
    play.losses = losses
    play.test()
    play.settle()
    assert list(play.rules.owners(play.state)) == [trainers[1], trainers[3]]
    assert play.state.head.owners == (trainers[1],)


def test_bids_follow_the_gap_between_versions(player):
    play = player(schedule(16), RULES)
    for _ in range(8):
        noisy(play)
    state = play.state
    for name in play.rules.trainers(state):
        held = state.holdings.get(name, 0)
        assert play.rules.suggested_bid(state, name) == min(
            state.balances[name], (state.round.number - 1 - held + 1) * COIN
        )
    for name in play.rules.owners(state):
        assert play.rules.suggested_bid(state, name) == min(state.balances[name], 1_000) // 4


def test_each_owner_in_turn_takes_the_best_bidders_left_at_most_four(player):
    play = player(schedule(64), RULES, random.Random(5))
    for _ in range(12):
        noisy(play)
    state, number = play.state, play.state.round.number
    bids = {name: play.rules.suggested_bid(state, name) for name in play.rules.bidders(state)}
    for name, amount in bids.items():
        play.say(Bid(name, number, amount))
    queue = sorted(play.rules.trainers(state), key=lambda n: -bids[n])
    pairs = dict(expected_match(play.state).pairs)
    assert len(pairs) == min(len(queue), 4 * len(play.rules.owners(state)))
    for version in play.rules.owners(state).values():
        taken, queue = queue[:4], queue[4:]
        assert sorted(bids[n] for n, v in pairs.items() if v == version) == sorted(bids[n] for n in taken)


@pytest.mark.parametrize(("models", "accepted"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_the_best_half_rounded_down_is_accepted(player, models, accepted):
    play = player(schedule(16), RULES)
    play.auction()
    play.deposit()
    play.present = lambda names: sorted(names)[:models]
    play.commit()
    play.reveal()
    play.present = sorted
    play.test()
    play.settle()
    assert len(play.said[-1].accepted) == accepted
    assert play.state.finished == (accepted == 0)


def test_every_ancestor_is_paid_a_coin_for_every_accepted_model(player):
    play = player(schedule(32), RULES, random.Random(2))
    for _ in range(10):
        noisy(play, failing=0.0)
        settle = play.said[-1]
        assert isinstance(settle, Settle)
        due: dict[str, int] = {}
        for _, _, parent in settle.versions:
            for version in play.state.lineage(parent):
                owner = version.owners[0] if version.owners else "p00"
                due[owner] = due.get(owner, 0) + (COIN if version.owners else 2 * COIN)
        assert {t: a for s, t, a, why in settle.transfers if why == "lineage"} == due


def test_deposits_of_the_refused_and_their_owners_burn_the_others_return(player):
    play = player(schedule(32), RULES, random.Random(2))
    for _ in range(8):
        play.auction()
        play.deposit()
        state, owner_of = play.state, {v: n for n, v in play.rules.owners(play.state).items()}
        play.commit()
        play.reveal()
        play.test()
        play.settle()
        settle = play.said[-1]
        lost = {
            t: state.round.bids[t] + state.round.bids[owner_of[state.round.pairs[t]]] for t in settle.refused
        }
        assert play.state.burned - state.burned == sum(lost.values())


def test_maintainers_are_paid_per_item_of_each_block(player):
    play = player(schedule(64), RULES)
    for _ in range(3):
        noisy(play)
        pairs = len(play.said[-1].accepted) + len(play.said[-1].refused)
        models = sum(
            1
            for record in play.said
            if record.KIND == "submit" and record.round == play.state.round.number - 1
        )
        fees = [amount for _, _, amount, why in play.said[-1].transfers if why == "maintenance"]
        assert fees == [1_000 * n for n in (pairs, models, 100 + models, models + models * 100)]


def test_the_relay_dies_when_nothing_is_accepted(player):
    play = player(schedule(16), RULES)
    play.away = 1.0
    play.round()
    assert play.state.finished and play.state.heads == () and play.state.head.number == 0


def test_the_published_figures_come_out(player):
    """Twice the rounds, four times the coins; models in the field are as old as the paper's simulation says.

    There, who trained holds its own model as the newest, accepted or not.
    """
    play, supply, trained, ages = player(schedule(64), RULES, random.Random(42)), {}, {}, Counter()
    for number in range(1, 141):
        noisy(play)
        supply[number] = play.state.minted - play.state.burned
        trained |= {r.author: number for r in play.said if isinstance(r, Submit)}
        play.said.clear()
        if number > 30:
            ages.update(number - latest for latest in trained.values())
    assert 3.7 < supply[140] / supply[70] < 4.3
    for age, percent in enumerate((31.5, 25.5, 16.2, 10.1, 6.2, 4.0, 2.5)):
        assert abs(100 * ages[age] / ages.total() - percent) < 1.5
