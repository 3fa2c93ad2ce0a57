"""The `relayjax` rules: bounded supply, payout by value, trust region, royalties that decay."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax import records
from relayjax.errors import ConfigError, ProtocolError
from relayjax.mechanism.rules import COIN, MILLION, RelayJAXRules, Schedule
from relayjax.mechanism.settlement import split
from relayjax.mechanism.state import Phase, Role, Round, Topology
from relayjax.mechanism.transitions import expected_match
from relayjax.records import Bid, Close, Draw, Score, Settle, Value

RULES = RelayJAXRules(tolerance=COIN, tolerance_left=MILLION)
BRAIDS = Schedule(rounds=4, participants=4, validators=3, braid_rounds=(1, 2, 3, 4))
NAT = MILLION
EVEN = {"p0": 2 * COIN, "p1": 2 * COIN, "p2": 2 * COIN, "p3": 2 * COIN}


def paid(play, reason: str) -> dict[str, int]:
    """What the last settlement paid from the pot for a reason, by name."""
    settle = play.said[-1]
    assert isinstance(settle, Settle)
    return {target: amount for _, target, amount, why in settle.transfers if why == reason}


def supply_of(play) -> int:
    """What its trainers are paid in the whole relay."""
    return (RULES.emission - RULES.emission // 10) * play.state.schedule.rounds


def all_of(pairs, figure: int):
    """The same figure under every name."""
    return tuple((name, figure) for name, _ in pairs)


def braid(player, values: dict[str, int], schedule: Schedule = BRAIDS, **options):
    play = player(schedule, RULES)
    for name, option in options.items():
        setattr(play, name, option)
    play.round(losses=EVEN, values=values)
    return play


def test_who_adds_nothing_is_paid_nothing_and_licensed_nothing(player):
    play = braid(player, {"p0": 300, "p1": 0, "p2": 100, "p3": -50})
    due = supply_of(play) * 400 // (2 * NAT)
    assert paid(play, "value") == {"p0": due * 3 // 4, "p2": due // 4}
    assert set(play.state.licences) == {"p0", "p2", "v0", "v1", "v2"}
    assert play.state.balances["p1"] == play.state.balances["p3"] == RULES.endowment


def test_a_value_within_the_noise_floor_is_not_paid(player):
    """Floors: 3 · √(30² + 40²) = 150 and, without any noise, 0."""
    play = braid(player, {"p0": 150, "p1": 151, "p2": 1, "p3": -1}, noise={"p0": (30, 40), "p1": (30, 40)})
    assert set(paid(play, "value")) == {"p1", "p2"}
    assert set(play.state.licences) == {"p1", "p2", "v0", "v1", "v2"}


@pytest.mark.parametrize("order", [("p1", "p2"), ("p2", "p1")])
def test_an_echo_is_refused_and_earns_nothing(player, order):
    limit = RULES.echo_limit
    play = braid(player, dict.fromkeys(EVEN, 9), echoes={order[0]: limit, order[1]: limit + 1})
    settle = play.said[-1]
    assert settle.refused == (order[1],)
    assert (f"escrow:{order[1]}", order[1], RULES.deposit, "deposit returned") in settle.transfers
    assert set(paid(play, "value")) == set(EVEN) - {order[1]}
    assert order[1] not in play.state.licences


def test_one_validator_cannot_move_what_guards_the_pay(player):
    """v1 states no noise, no likeness and other values, v2 the contrary; v0 decides."""
    play = player(BRAIDS, RULES)
    play.echoes, play.noise = {"p3": RULES.echo_limit + 1}, {"p0": (30, 40), "p1": (30, 40)}
    lies = {"v1": (0, 0, 10), "v2": (MILLION, 10**6, -10)}

    def stated(report):
        if report.author not in lies:
            return report
        echo, noise, value = lies[report.author]
        if isinstance(report, Score):
            return dataclasses.replace(report, echoes=all_of(report.echoes, echo))
        values = tuple((name, figure + value) for name, figure in report.values)
        noises = all_of(report.stderr, noise)
        return dataclasses.replace(report, values=values, stderr=noises, chance=noises)

    play.stated = stated
    play.round(losses=EVEN, values={"p0": 150, "p1": 151, "p2": 20, "p3": 9})
    settle = play.said[-1]
    assert settle.refused == ("p3",)
    assert set(paid(play, "value")) == {"p1", "p2"}
    assert dict(play.state.versions[1].values) == {"p1": 151, "p2": 20}


def test_of_two_that_disagree_the_stricter_counts(player):
    play = player(dataclasses.replace(BRAIDS, validators=2), RULES)

    def stated(report):
        if isinstance(report, Score):
            high = RULES.echo_limit + 1 if report.author == "v0" else 0
            return dataclasses.replace(report, echoes=((("p0", high), *report.echoes[1:])))
        return dataclasses.replace(report, stderr=all_of(report.stderr, 3 if report.author == "v0" else 0))

    play.stated = stated
    play.round(losses=EVEN, values=dict.fromkeys(EVEN, 9) | {"p1": 10})
    assert play.said[-1].refused == ("p0",)
    assert set(paid(play, "value")) == {"p1"}


@pytest.mark.parametrize("field", ["echoes", "stderr", "chance", "shapley_stderr"])
@pytest.mark.parametrize("figure", [-1, -(10**15), MILLION + 1])
def test_figures_that_cannot_be_are_refused(player, field, figure):
    play = player(BRAIDS, RULES)

    def stated(report):
        if not hasattr(report, field):
            return report
        return dataclasses.replace(report, **{field: all_of(getattr(report, field), figure)})

    play.stated = stated
    if field != "echoes" and figure > 0:
        play.round(losses=EVEN, values=dict.fromkeys(EVEN, 9))  # an error has no upper end
        return
    with pytest.raises(ProtocolError, match="is not possible"):
        play.round(losses=EVEN, values=dict.fromkeys(EVEN, 9))


def test_who_lies_about_likeness_or_value_gets_no_wage(player):
    play, far = player(BRAIDS, RULES), RULES.score_tolerance + 1

    def stated(report):
        if isinstance(report, Score) and report.author == "v1":
            return dataclasses.replace(report, echoes=all_of(report.echoes, far))
        if isinstance(report, Value) and report.author == "v2":
            return dataclasses.replace(report, values=all_of(report.values, -far))
        return report

    play.stated = stated
    play.round(losses=EVEN, values=dict.fromkeys(EVEN, 1))
    assert set(paid(play, "maintenance")) == {"v0"}


def test_the_price_is_that_of_the_first_valued_round(player):
    """A chain round at another loss, and a braid round that values nothing, do not fix it."""
    play = player(dataclasses.replace(BRAIDS, braid_rounds=(2, 3)), RULES)
    play.round(losses=EVEN)
    play.parent_loss = 5 * NAT
    play.round(losses=dict.fromkeys(EVEN, 5 * NAT), values=dict.fromkeys(EVEN, 0))
    assert play.state.opening == 0
    play.parent_loss = 4 * NAT
    play.round(losses=dict.fromkeys(EVEN, 4 * NAT), values=dict.fromkeys(EVEN, 10_000))
    assert play.state.opening == 4 * NAT
    assert sum(paid(play, "value").values()) == supply_of(play) * 40_000 // (4 * NAT)


def test_chain_rounds_report_no_echoes(player):
    play = player(dataclasses.replace(BRAIDS, braid_rounds=(4,)), RULES)
    play.round(losses=EVEN)
    assert [record.echoes for record in play.said if isinstance(record, Score)] == [(), (), ()]
    play.echoes_of = lambda trainers: tuple((trainer, 0) for trainer in trainers)
    with pytest.raises(ProtocolError, match="score"):
        play.round(losses=EVEN)


def test_a_nat_is_worth_the_same_in_every_round(player):
    """All that trainers will be paid is minted at the start; the price is that over the opening loss."""
    schedule = dataclasses.replace(BRAIDS, rounds=10, braid_rounds=(1, 2, 7, 30))
    play = player(schedule, RULES)
    minted, paid_out = [], []
    for value in (50_000, 1_000, 0, 0, 0, 0, 200):
        even = dict.fromkeys(EVEN, play.parent_loss)
        play.round(losses=even, values=dict.fromkeys(EVEN, value))
        minted.append(play.said[-1].transfers[0][2])
        paid_out.append(sum(paid(play, "value").values()) + sum(paid(play, "royalty").values()))
        play.parent_loss = NAT  # what comes later does not move the price
    supply, wages = 10 * (RULES.emission - RULES.emission // 10), RULES.emission // 10
    assert minted == [wages + supply, *[wages] * 6]
    due = [supply * 4 * value // (2 * NAT) for value in (50_000, 1_000, 0, 0, 0, 0, 200)]
    assert paid_out == pytest.approx(due, abs=9)


def test_no_more_is_due_than_the_pot_holds(player):
    play = braid(player, dict.fromkeys(EVEN, 50 * NAT))
    assert sum(paid(play, "value").values()) == pytest.approx(supply_of(play), abs=9)
    assert 0 <= play.state.pot < 9


def test_royalties_go_to_earlier_valued_versions_and_decay(player):
    play = player(BRAIDS, RULES)
    for owner in ("p0", "p1", "p2"):
        play.round(losses=EVEN, values=dict.fromkeys(EVEN, 0) | {owner: 50_000})
    due = supply_of(play) * 50_000 // (2 * NAT)
    royalty = due * RULES.royalty_share // MILLION
    assert paid(play, "value") == {"p2": due - royalty}
    nearest = royalty * (MILLION - RULES.royalty_decay) // MILLION
    assert paid(play, "royalty") == {"p1": nearest, "p0": royalty - nearest}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_royalties_never_exceed_their_share(player, seed, count):
    schedule = Schedule(rounds=5, participants=count, validators=1, braid_rounds=(1, 2, 3, 4))
    play = player(schedule, RULES, random.Random(seed))
    for _ in range(4):
        play.round(losses=dict.fromkeys(play.rules.bidders(play.state), 2 * COIN))
        value, royalty = sum(paid(play, "value").values()), sum(paid(play, "royalty").values())
        assert royalty * MILLION <= (value + royalty + play.state.pot) * RULES.royalty_share


def test_what_is_left_at_the_end_is_shared_by_all_value_measured(player):
    schedule = dataclasses.replace(BRAIDS, rounds=3, braid_rounds=(1, 2))
    play = player(schedule, RULES)
    for values in ({"p0": 7, "p1": 11, "p2": 13, "p3": 0}, {"p0": 0, "p1": 9, "p2": 0, "p3": -4}):
        play.round(losses=EVEN, values=values)
    before = play.state.pot
    play.round(losses=dict.fromkeys(EVEN, 10 * COIN))
    assert play.state.finished and play.state.pot < 10
    rest = before + RULES.wages + RULES.deposit  # nobody scored nearer than another; one trainer was refused
    rest -= sum(paid(play, "maintenance").values())
    assert paid(play, "remainder") == {
        name: rest * v // 40 for name, v in (("p0", 7), ("p1", 20), ("p2", 13))
    }


def test_a_last_round_that_values_pays_by_the_remainder_alone(player):
    play = player(dataclasses.replace(BRAIDS, rounds=2, braid_rounds=(1, 2)), RULES)
    for values in ({"p0": 7, "p1": 3, "p2": 0, "p3": 0}, {"p0": 0, "p1": 4, "p2": 6, "p3": -1}):
        play.round(losses=EVEN, values=values)
    assert not paid(play, "value") and not paid(play, "royalty")
    shares = paid(play, "remainder")
    assert shares["p0"] == shares["p1"] == pytest.approx(shares["p2"] * 7 / 6, abs=2) and play.state.pot < 5


def test_without_a_valued_version_the_pot_waits(player):
    play = player(dataclasses.replace(BRAIDS, rounds=2, braid_rounds=()), RULES)
    play.round()
    play.round()
    assert play.state.finished
    assert play.state.pot == 2 * RULES.emission - 6 * (RULES.emission // 10 // 3)


AMOUNTS, WEIGHTS = st.integers(0, 10**13), st.lists(st.integers(0, 10**9), min_size=1, max_size=6)


@given(AMOUNTS, WEIGHTS, WEIGHTS)
def test_splitting_oneself_never_pays_more(amount, identities, others):
    """A value cut into k positive parts is paid at most what the whole is, and others no less."""
    rest = [(f"o{i}", weight) for i, weight in enumerate(others)]
    whole = dict(split(amount, (("me", sum(identities)), *rest)))
    cut = dict(split(amount, (*((f"me{i}", w) for i, w in enumerate(identities)), *rest)))
    assert sum(part for name, part in cut.items() if name.startswith("me")) <= whole.get("me", 0)
    assert all(cut.get(name) == whole.get(name) for name, _ in rest)
    assert (
        amount - len(cut) < sum(cut.values()) <= amount
        or not cut
        or not sum(dict(rest).values()) + sum(identities)
    )


def test_refused_work_forfeits_its_deposit_and_the_head_stays(player):
    play = player(dataclasses.replace(BRAIDS, braid_rounds=()), RULES)
    play.auction()
    (trainer,) = play.state.round.pairs
    play.deposit()
    play.commit()
    play.reveal()
    play.losses = {trainer: play.parent_loss + RULES.tolerance + 1}
    play.test()
    play.settle()
    assert play.said[-1].refused == (trainer,)
    assert play.state.balances[trainer] == RULES.endowment - RULES.deposit
    assert play.state.heads == (0,) and not play.state.licences


def test_a_rise_within_the_tolerance_is_accepted(player):
    play = player(dataclasses.replace(BRAIDS, braid_rounds=()), RULES)
    play.round(losses=dict.fromkeys(EVEN, play.parent_loss + RULES.tolerance))
    assert play.state.heads == (1,) and play.state.versions[1].parent == 0
    assert play.state.balances == {**dict.fromkeys(EVEN, RULES.endowment), **_rest(play)}


def _rest(play) -> dict[str, int]:
    return {name: coins for name, coins in play.state.balances.items() if name not in EVEN}


def test_who_never_reveals_forfeits(player):
    play = player(BRAIDS, RULES).until(Phase.REVEAL)
    for name in ("p0", "p2", "p3"):
        play.say(play.submission(name))
    play.say(Close("v0", 1, "reveal"))
    play.losses = EVEN
    for step in (play.test, play.value, play.settle):
        step()
    assert play.said[-1].refused == ("p1",)
    assert play.state.balances["p1"] == RULES.endowment - RULES.deposit
    play.round()
    assert play.state.round.number == 3


@pytest.mark.parametrize("missing", ["bids", "deposits", "commitments", "reveals", "approval"])
def test_an_empty_round_settles_and_the_relay_goes_on(player, missing):
    play = player(BRAIDS, RULES)
    if missing == "bids":
        play.say(expected_match(play.state))
    else:
        play.auction()
        steps = {"deposits": play.deposit, "commitments": play.commit, "reveals": play.reveal}
        for name, step in steps.items():
            if missing == name:
                play.away = 1.0
                step()
                break
            step()
    play.away = 0.0
    play.losses = dict.fromkeys(EVEN, 99 * COIN)
    for step in (play.test, play.value, play.settle):
        step()
    assert play.said[-1].accepted == () and play.state.heads == (0,)
    play.round(losses=EVEN, values=dict.fromkeys(EVEN, 1))
    assert play.state.head.number == 1 and paid(play, "value") == dict.fromkeys(EVEN, 18)


def test_a_validator_far_from_the_median_is_not_paid(player):
    near, far = RULES.score_tolerance, RULES.score_tolerance + 1
    play = braid(player, dict.fromkeys(EVEN, 1), lies={"v1": -near, "v2": far})
    assert set(paid(play, "maintenance")) == {"v0", "v1"}
    assert "v2" not in play.state.licences


def test_lying_about_the_parent_alone_is_not_paid_either(player):
    play = player(BRAIDS, RULES).until(Phase.TESTING)
    play.losses = EVEN
    honest = play.score

    def score(name):
        said = honest(name)
        return (
            dataclasses.replace(said, parents=(("0", said.parents[0][1] + 10**6),)) if name == "v2" else said
        )

    play.score = score
    for step in (play.test, play.value, play.settle):
        step()
    assert set(paid(play, "maintenance")) == {"v0", "v1"}


def test_one_lying_validator_of_three_moves_nothing(player):
    values = {"p0": 3, "p1": 1, "p2": 1, "p3": 1}
    honest, lied = (braid(player, values, lies=lies) for lies in ({}, {"v2": 10**9}))
    assert paid(lied, "value") and "v2" not in paid(lied, "maintenance")
    assert honest.state.versions == lied.state.versions


def test_a_trainer_may_be_named_like_a_version(player, joining):
    """Scores name parents by number and trainers by name; the two must not mix."""
    play = player(dataclasses.replace(BRAIDS, participants=5), RULES)
    assert play.state.members["p4"].role is Role.PARTICIPANT
    members = {("0" if name == "p4" else name): member for name, member in play.state.members.items()}
    members["0"] = dataclasses.replace(members["0"], name="0")
    balances = {("0" if name == "p4" else name): coins for name, coins in play.state.balances.items()}
    play.state = dataclasses.replace(play.state, members=members, balances=balances)
    play.round(losses=EVEN | {"0": 3 * COIN}, values=dict.fromkeys((*EVEN, "0"), 1))
    assert set(paid(play, "maintenance")) == {"v0", "v1", "v2"}


def test_a_head_that_raises_the_loss_makes_no_version_and_pays_no_value(player):
    values = dict.fromkeys(EVEN, 1)
    kept = braid(player, values, composed_loss=2 * COIN + RULES.tolerance)
    worse = braid(player, values, composed_loss=2 * COIN + RULES.tolerance + 1)
    assert kept.state.head.number == 1 and paid(kept, "value")
    assert worse.state.head.number == 0 and not paid(worse, "value")
    assert all(worse.state.balances[name] == RULES.endowment for name in EVEN)
    assert not worse.state.licences


def test_the_majority_of_the_validators_says_what_was_composed(player):
    values = dict.fromkeys(EVEN, 1)
    agreed = braid(player, values, composed={"v2": "dd" * 32}, composed_loss=0)
    split_up = braid(player, values, composed={"v1": "aa" * 32, "v2": "dd" * 32}, composed_loss=0)
    assert agreed.state.head.digest == "cc" * 32
    assert split_up.state.head.number == 0 and not paid(split_up, "value")


def test_a_majority_counts_all_maintainers_not_those_who_came(player):
    schedule = dataclasses.replace(BRAIDS, validators=5)
    play = player(schedule, RULES).until(Phase.TESTING)
    play.losses = EVEN
    play.test()
    play.composed, play.composed_loss, play.values = {"v2": "dd" * 32}, 0, dict.fromkeys(EVEN, 1)
    play.quorum = lambda expected: ["v0", "v1", "v2"]
    play.value()
    play.settle()
    assert play.state.head.number == 0


def test_chain_rounds_go_to_who_has_waited_longest_whatever_others_bid(player):
    schedule = Schedule(rounds=9, participants=4, validators=1, braid_rounds=())
    play, seen = player(schedule, RULES), []
    for _ in range(8):
        assert play.rules.topology(play.state) is Topology.CHAIN
        play.round(losses=dict.fromkeys(EVEN, 0))
        seen += [settle.accepted[0] for settle in play.said[-1:]]
    assert sorted(seen[:4]) == sorted(EVEN) and seen[:4] == seen[4:]
    for name in EVEN:
        play.say(Bid(name, 9, COIN if name == seen[0] else 2 * COIN))
    play.say(expected_match(play.state))
    assert set(play.state.round.pairs) == {seen[0]}


def test_the_draw_of_a_braid_round_orders_the_lap_after_it(player):
    play, seen = player(Schedule(rounds=9, participants=4, validators=1, braid_rounds=(1,)), RULES), []
    known = [play.state.lot(name) for name in EVEN]  # to who joins in the first round, and chooses a name
    play.composed_loss = 0
    play.round(losses=dict.fromkeys(EVEN, 0), values=dict.fromkeys(EVEN, 0))
    (draw,) = (record for record in play.said if isinstance(record, Draw))
    lots = {
        name: dataclasses.replace(play.state, round=Round(1, bytes.fromhex(draw.seed))).lot(name)
        for name in EVEN
    }
    assert play.state.lots == lots and not set(lots.values()) & set(known)
    for _ in range(8):
        play.round(losses=dict.fromkeys(EVEN, 0))
        seen += [settle.accepted[0] for settle in play.said[-1:]]
    assert seen == sorted(lots, key=lots.__getitem__) * 2


@pytest.mark.parametrize("highest", ["p0", "p1", "p2"])
def test_of_those_who_have_waited_alike_the_lot_decides_not_the_bid(player, highest):
    play = player(Schedule(rounds=9, participants=4, validators=1, braid_rounds=()), RULES)
    for name in ("p0", "p1", "p2"):
        play.say(Bid(name, 1, 3 * COIN if name == highest else COIN))
    play.say(expected_match(play.state))
    assert set(play.state.round.pairs) == {min(("p0", "p1", "p2"), key=play.state.lot)}


def test_a_bid_below_the_least_deposit_gets_no_place(player):
    play = player(BRAIDS, RULES)
    play.say(Bid("p0", 1, COIN - 1))
    play.say(expected_match(play.state))
    assert not play.state.round.pairs


@pytest.mark.parametrize(
    ("participants", "validators"), [(1, 1), (10, 3), (100, 33), (200, 3), (256, 1), (256, 33)]
)
def test_the_settlement_of_the_largest_relay_fits_into_a_record(participants, validators):
    """Every name as long as may be, everybody accepted, paid, licensed, with the largest amounts."""
    schedule = Schedule(participants=participants, validators=validators)
    length, most = schedule.longest_name, 2**53 - 1
    assert length >= len(f"p{participants - 1}")
    names = [f"{i:03}".ljust(length, "x")[:length] for i in range(participants)]
    judges = [f"{i:02}".ljust(length, "y")[:length] for i in range(validators)]
    transfers = [("mint", "pot", most, "emission")]
    transfers += [("escrow:" + name, name, most, "deposit returned") for name in names]
    transfers += [("pot", name, most, "maintenance") for name in judges]
    transfers += [("pot", name, most, reason) for reason in ("value", "royalty") for name in names]
    licences = tuple((name, 10**6) for name in (*names, *judges))
    version = (10**6, "c" * 64, 10**6)
    settle = Settle("v" * length, 10**6, tuple(names), (), tuple(transfers), (version,), (10**6,), licences)
    assert records.decode(records.encode(settle)) == settle


@pytest.mark.parametrize(("field", "value"), [("participants", 257), ("participants", 0), ("validators", 34)])
def test_a_relay_too_large_for_its_records_is_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field}={value}: must be an integer ≥ 1 and ≤"):
        Schedule(**{field: value})
