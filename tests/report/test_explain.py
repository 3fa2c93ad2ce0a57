"""The explanation says what happened and adds up."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest

from relayjax.errors import WorkdirError
from relayjax.history import History, SettledRound
from relayjax.report.explain import explain


@pytest.mark.parametrize("run", ["played_run", "played_derelayl"])
def test_every_account_adds_up(run: str, request: pytest.FixtureRequest) -> None:
    played: History = request.getfixturevalue(run)
    for name, balance in played.state.balances.items():
        text = explain(played, name).split("\nAccount\n")[1]
        rows = re.findall(r"^  (=?)[^(\d−]+([−\d,]+\.\d{6})$", text, flags=re.MULTILINE)
        amounts = [
            (bool(total), round(float(a.replace("−", "-").replace(",", "")) * 1e6)) for total, a in rows
        ]
        assert amounts.pop() == (True, balance)
        assert sum(amount for _, amount in amounts) == balance


def test_formulas_give_what_was_paid(played_run: History) -> None:
    text = explain(played_run, "p1")
    formulas = re.findall(r"([\d,.]+) × ([\d.]+) / ([\d.]+) \(.*\) = ([\d.]+) coins", text)
    assert len(formulas) == 2
    for formula in formulas:
        pot, value, total, paid = (round(float(part) * 1e6) for part in formula)
        assert pot * value // total == paid


def test_what_each_kind_of_member_is_told(played_run: History, played_derelayl: History) -> None:
    (refused,), (silent,) = (played_run.rounds[number - 1].settle.refused for number in (3, 7))
    harmful, idle = explain(played_run, refused), explain(played_run, "p3")
    liar, observer = explain(played_run, "v1"), explain(played_run, "observer")
    assert "+0.150000 nats  refused" in harmful
    assert "its licence covers version 6 and all earlier ones" in explain(played_run, "p2")
    assert "only a positive value earns" in idle
    assert "none: no valued version in the lineage" in idle
    assert "round 2: slashed 1.000000 coins, a figure lay 0.005000 nats from the median" in liar
    assert f"{'slashed':<20}{'−1.000000':>18}" in liar
    assert "an observer contributes nothing" in observer
    assert "it revealed nothing" in explain(played_run, silent)
    assert "4.000000 coins: 4 × 1.000000" in explain(played_derelayl, "p00")


def test_a_validator_is_told_why_it_was_slashed_or_not_paid(played_run: History) -> None:
    first = played_run.rounds[0]
    scores, values = dict(first.facts.scores), dict(first.facts.values)
    other = {**values, "v1": dataclasses.replace(values["v1"], composed="11" * 32)}
    shifted = dataclasses.replace(
        scores["v2"], parents=tuple((n, x + 5_000) for n, x in scores["v2"].parents)
    )
    two = {"scores": {"v1": scores["v1"], "v2": shifted}}
    for facts, told in (
        ({"scores": {n: s for n, s in scores.items() if n != "v1"}}, "it did not show the report"),
        ({"values": other}, "it stated other composed weights than the majority"),
        (two | {"pledges": {n: first.facts.pledges[n] for n in ("v1", "v2")}}, "not paid, half of the"),
        (_without(first, "v1"), "not paid, it stated no values"),
    ):
        changed = dataclasses.replace(first, facts=dataclasses.replace(first.facts, **facts))
        text = explain(dataclasses.replace(played_run, rounds=(changed, *played_run.rounds[1:])), "v1")
        line = next(line for line in text.splitlines() if "round 1: " in line)
        assert told in line
        assert line.strip().startswith("round 1: not paid" if "not paid" in told else "round 1: slashed")


def _without(settled: SettledRound, name: str) -> dict[str, Mapping[str, Any]]:
    """A round's facts when a validator stays away from its valuation."""
    kept = {"values": settled.facts.values, "appraisals": settled.facts.appraisals}
    return {field: {n: made for n, made in facts.items() if n != name} for field, facts in kept.items()}


def test_a_value_within_the_noise_floor_says_so(played_run: History) -> None:
    first = played_run.rounds[0]
    noisy = {
        name: dataclasses.replace(value, chance=tuple((trainer, 30_000) for trainer, _ in value.chance))
        for name, value in first.facts.values.items()
    }
    paid = [version for version in played_run.state.versions if version.round == 1]
    versions = tuple(
        dataclasses.replace(v, values=tuple(p for p in v.values if p[1] > 90_450)) if v in paid else v
        for v in played_run.state.versions
    )
    told = dataclasses.replace(
        played_run,
        state=dataclasses.replace(played_run.state, versions=versions),
        rounds=(
            dataclasses.replace(first, facts=dataclasses.replace(first.facts, values=noisy)),
            *played_run.rounds[1:],
        ),
    )
    assert "within the noise floor of 0.090449 nats (3 standard deviations" in explain(told, "p1")


def test_unknown_name_lists_the_members(played_run: History) -> None:
    with pytest.raises(WorkdirError, match=r"'nobody'.*p0, p1, p2, p3, v0, v1, v2, observer"):
        explain(played_run, "nobody")
