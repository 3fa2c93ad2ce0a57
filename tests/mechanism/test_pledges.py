"""Validators are bound to their reports before they see any, and lose coins by withheld or false ones."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax.errors import ProtocolError
from relayjax.mechanism.apply import apply
from relayjax.mechanism.rules import COIN, MILLION, DeRelayLRules, RelayJAXRules, Schedule
from relayjax.mechanism.settlement import book
from relayjax.mechanism.state import Phase, Role
from relayjax.records import Close, Pledge, Score, Value, report_commitment

BRAID = Schedule(rounds=3, participants=3, validators=3, braid_rounds=(1, 2))
RULES = RelayJAXRules(tolerance=10 * COIN, slash=2 * COIN)
FAR = RULES.score_tolerance + 1
WAGE = RULES.wages // 3
NAMES = ("p0", "p1", "p2")
LOSSES, VALUES = dict.fromkeys(NAMES, 2 * MILLION), dict.fromkeys(NAMES, 50)


def refused(state, record, *words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        apply(state, record)
    assert all(word in str(caught.value) for word in (record.KIND, *words)), caught.value


def slashed(play) -> dict[str, int]:
    """What the last settlement took from whom."""
    moves = play.said[-1].transfers
    return {source: amount for source, target, amount, why in moves if (target, why) == ("pot", "slashed")}


def paid(play) -> set[str]:
    """Who got the wage of the last round."""
    return {target for _, target, _, why in play.said[-1].transfers if why == "maintenance"}


def judged(player, schedule: Schedule = BRAID, rules=RULES, **options):
    """A player after one round in which some validators did as the options say."""
    play = player(schedule, rules)
    for name, option in options.items():
        setattr(play, name, option)
    play.round(losses=LOSSES, values=VALUES)
    return play


def absent(play, name: str) -> None:
    """Has one maintainer stay away from now on."""
    play.quorum = lambda expected: sorted(set(expected) - {name})


@pytest.mark.parametrize(("showing", "kind"), [(Phase.SCORING, Score), (Phase.VALUATION, Value)])
def test_who_pledged_nothing_cannot_copy_what_was_shown(player, showing, kind):
    play = player(BRAID, RULES)
    absent(play, "v2")
    play.until(showing)
    shown = play.reports["v0"]
    assert isinstance(shown, kind)
    play.say(shown)
    copied = dataclasses.replace(shown, author="v2")
    refused(play.state, copied, "made no pledge")
    refused(play.state, Pledge("v2", 1, report_commitment(copied)), "testing and appraisal phases")


@pytest.mark.parametrize("showing", [Phase.SCORING, Phase.VALUATION])
def test_somebody_elses_pledge_cannot_be_reused(player, showing):
    """v2 repeats the commitment of v0, which it has seen, and then the report of v0, salt and all."""
    play, honest = player(BRAID, RULES), {}

    def say(record):
        if isinstance(record, Pledge):
            honest.setdefault(record.author, record)
            if record.author == "v2":
                record = dataclasses.replace(record, commitment=play.state.round.pledges.get("v0", ""))
                if play.state.round.phase is Phase.APPRAISAL:
                    record = dataclasses.replace(record, commitment=play.state.round.appraisals["v0"])
        plain(record)

    plain, play.say = play.say, say
    play.withheld = {"v2"}
    play.until(showing)
    shown = play.reports["v0"]
    refused(apply(play.state, shown), dataclasses.replace(shown, author="v2"), "is not what was pledged")
    play.show(showing)
    if showing is Phase.SCORING:
        play.value()
    play.settle()
    assert set(slashed(play)) == {"v2"}


@pytest.mark.parametrize("showing", [Phase.SCORING, Phase.VALUATION])
def test_a_report_is_shown_as_it_was_pledged_to_or_not_at_all(player, showing):
    play = player(BRAID, RULES).until(showing)
    good = play.reports["v1"]
    for field in dataclasses.fields(good):
        stated = getattr(good, field.name)
        if field.name in ("author", "round"):
            continue
        if isinstance(stated, tuple):
            changed = tuple((name, figure + 1) for name, figure in stated) or (("p0", 1),)
        else:
            changed = {"salt": "11" * 16, "composed": "11" * 32, "loss": -1}[field.name]
        refused(play.state, dataclasses.replace(good, **{field.name: changed}), "is not what was pledged")
    refused(play.state, dataclasses.replace(good, salt="00"), "salt")
    state = apply(play.state, good)
    refused(state, good, "already")


def test_a_pledge_is_made_once_by_a_maintainer_in_its_phase(player):
    play = player(BRAID, RULES)
    seen = []
    play.watch = lambda before, record: seen.append((before, record))
    play.until(Phase.VALUATION)
    pledges = [(before, record) for before, record in seen if isinstance(record, Pledge)]
    assert len(pledges) == 6
    for before, record in pledges:
        refused(before, dataclasses.replace(record, author="p0"), "does not maintain")
        refused(before, dataclasses.replace(record, commitment="x"), "64 hexadecimal digits")
        after = apply(before, record)
        refused(after, record)
        if after.round.phase is before.round.phase:
            refused(after, dataclasses.replace(record, commitment="22" * 32), "has pledged already")
    refused(player(BRAID, RULES).until(Phase.TESTING).state, pledges[0][1], "not drawn yet")


def test_a_pledge_to_a_score_binds_to_no_value(player):
    play = player(BRAID, RULES).until(Phase.SCORING)
    score = play.reports["v1"]
    play.show(Phase.SCORING)
    assert not play.state.round.appraisals
    play.appraise()
    refused(play.state, score, "scoring phase, this is valuation")
    now = play.state.round
    assert not set(now.appraisals.values()) & set(now.pledges.values())


def test_a_pledge_to_a_score_shown_again_is_no_pledge_to_a_value(player):
    """Whoever orders the records has it, signed, and could keep its author from reporting any value."""
    play = player(BRAID, RULES).until(Phase.APPRAISAL)
    old = next(said for said in play.said if isinstance(said, Pledge) and said.author == "v1")
    refused(play.state, old, "a value has another")
    apply(play.state, dataclasses.replace(old, commitment="ab" * 32))


@pytest.mark.parametrize("rules", [RULES, DeRelayLRules()])
def test_a_round_keeps_its_pledges(player, rules):
    schedule = dataclasses.replace(BRAID, participants=8, braid_rounds=(1,) if rules is RULES else ())
    play = player(schedule, rules).until(Phase.SETTLEMENT)
    now = play.state.round
    assert now.scores and set(now.pledges) == set(now.scores)
    assert set(now.appraisals) == set(now.values)
    assert all(report_commitment(score) == now.pledges[name] for name, score in now.scores.items())


@pytest.mark.parametrize("kind", [Score, Value])
def test_who_withholds_a_report_is_slashed(player, kind):
    play = player(BRAID, RULES)
    plain = play.show

    def show(phase):
        play.withheld = {"v1"} if (phase is Phase.SCORING) == (kind is Score) else set()
        plain(phase)

    play.show = show
    play.round(losses=LOSSES, values=VALUES)
    assert slashed(play) == {"v1": RULES.slash} and paid(play) == {"v0", "v2"}
    assert play.state.balances["v1"] == RULES.endowment - RULES.slash
    assert "v1" not in play.state.licences


def test_the_pot_gets_what_is_slashed(player):
    honest, lied = (judged(player, lies=lies) for lies in ({}, {"v2": FAR}))
    assert slashed(honest) == {} and slashed(lied) == {"v2": RULES.slash}
    assert lied.state.pot == honest.state.pot + RULES.slash + WAGE
    assert lied.state.minted == honest.state.minted and lied.state.burned == 0


FIGURES = ["parents", "children", "slopes", "chance", "echoes"]
FIGURES += ["values", "stderr", "chance", "shapley", "shapley_stderr", "loss", "composed"]


@pytest.mark.parametrize("field", FIGURES)
@pytest.mark.parametrize(("far", "lost"), [(FAR - 1, {}), (FAR, {"v1": RULES.slash})])
def test_every_figure_is_held_against_the_median(player, field, far, lost):
    def stated(report):
        if report.author != "v1" or not hasattr(report, field):
            return report
        figure = getattr(report, field)
        if field == "composed":
            return report if far < FAR else dataclasses.replace(report, composed="11" * 32)
        if field == "loss":
            return dataclasses.replace(report, loss=figure + far)
        (name, first), *others = figure
        return dataclasses.replace(report, **{field: ((name, first + far), *others)})

    play = judged(player, stated=stated)
    assert slashed(play) == lost
    assert paid(play) == {"v0", "v1", "v2"} - set(lost)


def test_nobody_loses_more_than_it_has(player):
    play = player(BRAID, dataclasses.replace(RULES, endowment=3 * COIN))
    left = []
    for _ in range(3):
        play.lies = {"v1": FAR}
        play.round(losses=LOSSES, values=VALUES)
        left.append((play.state.balances["v1"], slashed(play)))
    assert left == [(COIN, {"v1": 2 * COIN}), (0, {"v1": COIN}), (0, {})]


def test_of_two_that_disagree_nobody_can_tell_who_lies(player):
    """Neither is slashed nor paid, whoever of them lies and whichever way."""
    two = dataclasses.replace(BRAID, validators=2)
    for lies in ({"v0": FAR}, {"v1": FAR}, {"v0": -FAR}, {"v1": -FAR}):
        play = judged(player, two, lies=lies)
        assert (slashed(play), paid(play)) == ({}, set())
    assert paid(judged(player, two, lies={"v0": FAR - 1})) == {"v0", "v1"}
    assert paid(judged(player, two, composed={"v0": "11" * 32})) == set()


def test_one_alone_is_believed(player):
    play = judged(player, dataclasses.replace(BRAID, validators=1), lies={"v0": 10**9})
    assert (slashed(play), paid(play)) == ({}, {"v0"})


@pytest.mark.parametrize(
    ("lies", "lost", "earned"),
    [
        ({"v3": FAR}, {"v3"}, {"v0", "v1", "v2"}),
        ({"v3": -FAR}, {"v3"}, {"v0", "v1", "v2"}),
        ({"v2": FAR, "v3": FAR}, set(), set()),
        ({"v2": FAR, "v3": 3 * FAR}, {"v3"}, set()),
        ({"v2": -FAR, "v3": 3 * FAR}, {"v2", "v3"}, {"v0", "v1"}),
        ({"v1": FAR // 2, "v2": FAR, "v3": FAR}, set(), {"v1", "v2", "v3"}),
    ],
)
def test_of_an_even_number_both_middle_figures_count(player, lies, lost, earned):
    """Who lies beyond both is slashed; who lies near both is paid."""
    play = judged(player, dataclasses.replace(BRAID, validators=4), lies=lies)
    assert (set(slashed(play)), paid(play)) == (lost, earned)


def test_who_only_scores_where_values_are_asked_for_is_not_paid(player):
    play = player(BRAID, RULES).until(Phase.APPRAISAL)
    absent(play, "v1")
    play.value()
    play.settle()
    assert slashed(play) == {} and paid(play) == {"v0", "v2"}


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 7), st.integers(-(10**9), 10**9), st.sampled_from(["children", "values"]))
def test_truth_is_the_best_reply_to_truth(player, validators, lie, field):
    def balance(amount: int) -> int:
        def stated(report):
            if report.author != "v1" or not hasattr(report, field):
                return report
            pairs = tuple((name, figure + amount) for name, figure in getattr(report, field))
            return dataclasses.replace(report, **{field: pairs})

        schedule = dataclasses.replace(BRAID, validators=validators)
        return judged(player, schedule, stated=stated).state.balances["v1"]

    wage = RULES.wages // validators
    cost = wage + RULES.slash if abs(lie) > RULES.score_tolerance else 0
    assert balance(lie) == balance(0) - cost


def test_founding_maintainers_get_the_endowment_later_ones_do_not(player, joining):
    play = player(dataclasses.replace(BRAID, participants=3), RULES)
    assert all(play.state.balances[name] == RULES.endowment for name in ("v0", "v1", "v2", *NAMES))
    assert play.state.balances["observer"] == 0
    assert play.state.minted == 6 * RULES.endowment
    gone = {name: member for name, member in play.state.members.items() if name != "v2"}
    balances = {name: coins for name, coins in play.state.balances.items() if name != "v2"}
    minted = play.state.minted - RULES.endowment
    play.state = dataclasses.replace(play.state, members=gone, balances=balances, minted=minted)
    play.round(losses=LOSSES, values=VALUES)
    play.say(joining("v2", Role.MAINTAINER))
    assert (
        play.state.balances["v2"] == 0 and play.state.minted == minted + RULES.emission * 3 - 2 * RULES.wages
    )


def test_a_balance_is_a_source_as_far_as_it_reaches(player):
    state = player(BRAID, RULES).state
    booked = book(state, [("v1", "pot", RULES.endowment, "slashed")])
    assert booked.balances["v1"] == 0 and booked.pot == RULES.endowment and booked.minted == state.minted
    with pytest.raises(ProtocolError, match="slashed: v1 holds less than"):
        book(state, [("v1", "pot", RULES.endowment + 1, "slashed")])
    with pytest.raises(ProtocolError, match="there is no account 'nobody'"):
        book(state, [("nobody", "pot", 0, "slashed")])


def test_the_orderer_cannot_close_on_the_reports_of_a_minority(player):
    play = player(BRAID, RULES).until(Phase.SCORING)
    play.say(play.reports["v0"])
    refused(play.state, Close("v0", 1, "scoring"), "no majority of the maintainers has reported")
