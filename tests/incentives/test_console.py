"""`relayjax audit` as a person meets it: verdict, exit status, files, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from relayjax.cli import main
from relayjax.errors import WorkdirError
from relayjax.history import History
from relayjax.incentives import observed as module
from relayjax.incentives.observed import observed
from relayjax.incentives.settings import World

FEW = ["--assume.play.seeds=3", "--assume.play.identities=2", "--workers=1", "--nosearch"]


def test_rules_that_hold_exit_with_0_and_are_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    plot, data = tmp_path / "gains.svg", tmp_path / "audit.json"
    asked = ["--assume.play.deviations=free rider,lies,vandal: sign flip", f"--plot={plot}", f"--json={data}"]
    assert main(["audit", "--config=digits", *FEW, *asked]) == 0
    out = capsys.readouterr().out
    assert "IR and IC hold" in out and "free rider" in out and "a leg" in out
    found = json.loads(data.read_text())
    assert found["holds"] and {one["name"] for one in found["deviations"]} == {
        "free rider",
        "lies",
        "vandal: sign flip",
    }
    assert all(one["gain"] < 0 and one["interval"][1] < 0 for one in found["deviations"])
    assert "<svg" in plot.read_text()


def test_rules_that_fail_exit_with_1_and_say_by_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = tmp_path / "audit.json"
    asked = ["--assume.play.deviations=scores without measuring", f"--json={data}"]
    assert main(["audit", "--config=digits:derelayl", *FEW, *asked]) == 1
    assert "scores without measuring: do not launch" in capsys.readouterr().err
    assert not json.loads(data.read_text())["holds"]  # what was found is kept all the same


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--assume.play.seeds=1", "must be an integer ≥ 2"),
        ("--assume.prices.leg=-1", "≥ 0"),
        ("--assume.play.deviations=nonsense", "there is no nonsense; choose from"),
        ("--plot=gains.pdf", "must end in .png or .svg"),
        ("--measured=nowhere", "nowhere"),
        ("--config.rules.deposit=-1", "deposit"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_played(
    flag: str, problem: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["audit", *FEW, flag]) == 1
    assert problem in capsys.readouterr().err


def test_a_world_is_fitted_to_the_ledger_of_a_relay(played_run: History):
    world = observed(played_run, World())
    assert world.opening == pytest.approx(played_run.state.opening * 1e-6)
    assert 0 < world.stretch <= 2 and world.laps > 0 and world.spread > 0
    assert world.loss(0) == world.opening and world.marginal == World().marginal


def test_the_fit_recovers_the_curve_that_made_the_losses(
    played_run: History, monkeypatch: pytest.MonkeyPatch
):
    truth = dataclasses.replace(World(), opening=played_run.state.opening * 1e-6, laps=1.7, stretch=0.8)
    laps = [0.5, 1.0, 2.0, 4.0, 8.0]
    monkeypatch.setattr(module, "legs_done", lambda past: [int(4 * lap) for lap in laps])
    monkeypatch.setattr(module, "head_losses", lambda past: [round(1e6 * truth.loss(lap)) for lap in laps])
    seats = len([m for m in played_run.state.members.values() if m.role == "participant"])
    world = observed(played_run, World())
    assert world.stretch == pytest.approx(0.8, rel=1e-4)
    assert world.laps == pytest.approx(1.7 * 4 / seats, rel=1e-4)
    assert math.isclose(world.opening, truth.opening)


def test_without_a_valued_round_there_is_nothing_to_fit(played_run: History):
    none = dataclasses.replace(played_run, state=dataclasses.replace(played_run.state, opening=0))
    with pytest.raises(WorkdirError, match="let the relay run until"):
        observed(none, World())
