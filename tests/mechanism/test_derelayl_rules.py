"""The `derelayl` rules, held to the paper's description and to an independent simulation of its figures."""

from __future__ import annotations

import random

import pytest

from relayjax.mechanism.rules import COIN, DeRelayLRules, Schedule
from relayjax.mechanism.state import Topology
from relayjax.mechanism.transitions import expected_match
from relayjax.records import Bid, Settle

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
    assert owners == set(play.said[-1].accepted) or play.state.round.number == 7


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
        held = state.versions[state.holdings[name]].round if name in state.holdings else 0
        assert play.rules.suggested_bid(state, name) == min(
            state.balances[name], (state.round.number - held + 1) * COIN
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
    for name in sorted(play.state.round.pairs)[:models]:
        made = play.submission(name)
        play.say(_commit(made))
    play.say(_close(play, "commit"))
    play.reveal()
    play.test()
    play.settle()
    assert len(play.said[-1].accepted) == accepted
    assert play.state.finished == (accepted == 0)


def _commit(made):
    from relayjax.records import Commit, commitment

    bound = commitment(bytes.fromhex(made.salt), made.delta, made.parent, made.round, made.author)
    return Commit(made.author, made.round, bound)


def _close(play, phase):
    from relayjax.records import Close

    return Close(play.state.orderer, play.state.round.number, phase)


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
                due[owner] = due.get(owner, 0) + COIN
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
        assert fees == [1_000 * n for n in (2 * pairs, models, 100 + models, models + models * 100)]


def test_the_relay_dies_when_nothing_is_accepted(player):
    play = player(schedule(16), RULES)
    play.away = 1.0
    play.round()
    assert play.state.finished and play.state.heads == () and play.state.head.number == 0


def test_supply_grows_with_the_square_of_the_rounds(player):
    """Twice the rounds, about four times the coins; everybody ends up with a recent version."""
    play, supply = player(schedule(64), RULES, random.Random(42)), {}
    for number in range(1, 201):
        noisy(play)
        supply[number] = play.state.minted - play.state.burned
    assert 3.5 < supply[200] / supply[100] < 4.3
    behind = [200 - play.state.versions[n].round for n in play.state.holdings.values()]
    latest = sum(1 for gap in behind if gap == 0) / 64
    assert len(behind) == 64 and 0.2 < latest < 0.45
