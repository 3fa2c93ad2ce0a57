"""The verb: tables beside the paper's, figures, files, and flags."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from relayjax import backend, settings
from relayjax.cli import main
from relayjax.measured import legs
from relayjax.mechanism.state import Topology
from relayjax.simulation.settings import Population

QUICK = ("--config=configs/derelayl_paper.py:versions", "--config.repetitions=3")


def test_simulate_prints_shares_and_coins_beside_the_papers(tmp_path: Path, capsys: pytest.CaptureFixture):
    plot, data = tmp_path / "figure.svg", tmp_path / "figures.json"
    assert main(["simulate", *QUICK, f"--plot={plot}", f"--json={data}"]) == 0
    printed = capsys.readouterr().out
    assert "256 participants, 100 rounds, populations of seeds 42 to 44" in printed
    assert "31.5" in printed and "8,812" in printed
    assert plot.read_text().startswith("<svg")
    written = json.loads(data.read_text())
    assert written["coins"]["100"][0]["name"] == "mean"
    assert written["shares"][0]["paper"] == 31.5
    assert written["population"]["rounds"] == 100


def test_a_population_that_ends_is_named_and_left_out(capsys: pytest.CaptureFixture):
    assert main(["simulate", *QUICK, "--config.success_rate=0"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("ended in round 1") == 3
    assert "participants by newest version" not in printed


def test_every_setting_is_a_flag(capsys: pytest.CaptureFixture):
    assert main(["simulate", "--help"]) == 0
    shown = set(re.findall(r"--config\.(\S+)", capsys.readouterr().out))
    assert shown == set(settings.flatten(Population()))
    assert {"participants", "rules.accepted_share", "rules.places", "success_rate", "gains"} < shown


@pytest.mark.parametrize(
    "flag",
    (
        "participants=40",
        "rules.accepted_share=250000",
        "rules.places=2",
        "rules.bid_margin=2",
        "rules.genesis_shares=1",
        "success_rate=0.5",
        "gain_deviation=0",
        "gains=1,2",
    ),
)
def test_every_flag_tells(flag: str, tmp_path: Path):
    coins = []
    for extra in ([], [f"--config.{flag}"]):
        data = tmp_path / f"{len(extra)}.json"
        assert main(["simulate", "--config=derelayl_paper:smoke", *extra, f"--json={data}"]) == 0
        coins.append(json.loads(data.read_text())["coins"])
    assert coins[0] != coins[1]


@pytest.mark.usefixtures("compiled_once")
def test_gains_come_from_a_live_run(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    data = tmp_path / "figures.json"
    arguments = ["simulate", "--config=derelayl_paper:smoke", f"--measured={tiny_run}", f"--json={data}"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    chain = [leg for leg in legs(backend.read_history(tiny_run)) if leg.topology is Topology.CHAIN]
    assert f"gains of {len(chain)} legs measured in {tiny_run}: mean" in printed
    assert f"100.0% of {len(chain)} legs were revealed" in printed
    population = json.loads(data.read_text())["population"]
    assert [float(gain) for gain in population["gains"]] == [-(leg.change or 0) * 1e-6 for leg in chain]
    assert population["success_rate"] == "1.0"


def test_a_run_without_legs_is_no_measure(
    tiny_snapshots: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
):
    """After the first round, a braid, nobody has trained alone yet."""
    for source, message in (
        (tiny_snapshots[0], "let the relay run on"),
        (tiny_snapshots[1], "let the relay run on"),
        (tmp_path, "no run here"),
    ):
        assert main(["simulate", f"--measured={source}"]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("flag", ("gains=1,2", "gain_mean=2", "success_rate=1"))
def test_measured_and_chosen_gains_exclude_each_other(
    flag: str, tiny_run: Path, capsys: pytest.CaptureFixture
):
    assert main(["simulate", f"--measured={tiny_run}", f"--config.{flag}"]) == 1
    assert f"--config.{flag.partition('=')[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        (["--config=digits"], "not a Population"),
        (["--config=derelayl_paper:none"], "versions"),
        (["--config.places=3"], "places"),
        (["--plot=figure.pdf"], ".svg"),
        (["--config.rules.places=0"], "trainers an owner may take"),
        (["somewhere"], "unexpected argument"),
    ),
)
def test_what_cannot_be_simulated_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture
):
    assert main(["simulate", *arguments]) == 1
    assert message in capsys.readouterr().err
