"""The explanation says what happened and adds up."""

from __future__ import annotations

import dataclasses
import re

import pytest

from relayjax.errors import WorkdirError
from relayjax.history import History
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
