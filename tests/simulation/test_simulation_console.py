"""The verb: tables beside the paper's, figures, files, and flags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relayjax.cli import main

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
