"""The report is whole, self-contained and inert, whatever the inputs hold."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from relayjax.history import History
from relayjax.report import figures
from relayjax.report.html import render, time_a_leg, write_report

LEDGER = {"root": "ab" * 32, "origin": "relayjax.test/played", "size": 121}
HOSTILE = "<script>alert('$x^{$')</script>"


def _metrics(rounds: int) -> list[dict[str, object]]:
    return [
        {
            "round": number,
            "topology": "braid" if number in (1, 5) else "chain",
            "metrics": {"accuracy": 0.5 + number / 20},
            "seconds": {"train": 0.02, "ledger": 0.001 * number},
        }
        for number in range(1, rounds + 1)
    ]


BASELINES = {"pooled": {"accuracy": 0.931}, "alone": [{"accuracy": 0.3}, {"accuracy": 0.4}]}


@pytest.fixture(scope="module")
def page(played_run: History) -> str:
    return render(played_run, _metrics(8), BASELINES, LEDGER)


def test_equal_runs_write_equal_bytes(played_run: History, page: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(played_run, _metrics(8), BASELINES, ledger=LEDGER, path=path)
    assert path.read_bytes() == page.encode()


def test_report_has_everything(page: str) -> None:
    assert page.count("<svg") == 6
    for shown in (
        "90.0%",
        "93.1%",
        "35.0%",
        LEDGER["root"],
        "relayjax verify",
        "rules.royalty_decay",
        "v1",
        "<th>slashed</th>",
    ):
        assert str(shown) in page


@pytest.mark.parametrize("run", ["played_run", "played_derelayl"])
def test_report_without_metrics(run: str, request: pytest.FixtureRequest) -> None:
    page = render(request.getfixturevalue(run), [], None, LEDGER)
    assert page.count("<svg") == 5
    assert "nan" not in re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL).lower().replace(
        "maintenan", ""
    )


def test_report_of_a_run_that_has_not_begun(played_run: History) -> None:
    begun = dataclasses.replace(played_run, rounds=())
    assert "<svg" not in render(begun, [], None, LEDGER)


def test_report_needs_nothing_from_outside(page: str) -> None:
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert not re.search(r"<(script|link|iframe|object|embed|base|form)\b", page)
    loaded = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert {target.partition(":")[0] for target in loaded if not target.startswith("#")} <= {"data"}
    assert "@import" not in page
    identifiers = re.findall(r' id="([^"]+)"', page)
    assert not [name for name in identifiers if name.startswith(("figure", "axes", "text"))]


def test_nothing_injects_markup(played_run: History) -> None:
    config = {**played_run.genesis.config, HOSTILE: {HOSTILE: [HOSTILE]}}
    genesis = dataclasses.replace(played_run.genesis, config=config)
    metrics = _metrics(8)
    metrics[3]["seconds"] = {HOSTILE: 0.01}
    ledger = {"root": HOSTILE, "origin": HOSTILE, "size": 1}
    page = render(dataclasses.replace(played_run, genesis=genesis), metrics, BASELINES, ledger)
    assert "<script" not in page
    assert page.count("&lt;script") >= 5


def test_odd_metrics_are_left_out(played_run: History) -> None:
    odd = [
        {"round": 1, "topology": ["x"], "seconds": {"train": 1}},
        {"round": 2, "topology": "chain", "seconds": {"train": "fast", "store": float("inf")}},
        {"round": "3", "metrics": 4, "seconds": None},
        {"round": 99, "topology": "chain", "seconds": {"train": 1}},
        {"round": 4, "topology": "chain", "seconds": {"train": 0.5, "odd": -1}},
    ]
    assert time_a_leg(played_run, odd) == {"chain": {"train": 500.0, "odd": 0.0}}


def test_figures_are_deterministic_xml() -> None:
    draw = lambda: figures.loss_changes(["a", "b"], 3, [(1, "a", -0.2, True), (3, "b", None, False)])  # noqa: E731
    assert draw() == draw()
    assert ElementTree.fromstring(draw()).get("aria-label")
