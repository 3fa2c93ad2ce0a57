"""Tables of what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from worth.goals import Goal

Row = dict[str, Any]

EXACT = 1e-6
"""An error below is rounding: all coalitions were evaluated."""


def game_table(game: Row, budgets: Sequence[int], keys: int) -> Table:
    """Errors of every estimator, a row each: median, and how many values lie within two standard errors."""
    title = (
        f"{game['title']}: N = {game['participants']}, v(N) = {game['worth']:.3f}; relative L2 error, "
        f"median of {keys} keys;\nshare of values within two sampling standard errors"
    )
    table = _table(title, ["estimator", *map(str, budgets), "beside, ms"])
    for name, cells in game["estimators"].items():
        last = cells[max(cells)]["seconds"] if cells else None
        table.add_row(name, *_cells(cells, budgets), "" if last is None else f"{1e3 * last:,.0f}")
    return table


def others_table(game: Row, budgets: Sequence[int]) -> Table:
    """Values of other kinds: errors from their own definition, and how near that is to Shapley's."""
    title = (
        f"{game['title']}: other values; error from their own definition, and how far this is from Shapley's"
    )
    table = _table(title, ["value", *map(str, budgets), "from Shapley", "rank"])
    for name, row in game["others"].items():
        known = _cells(row["cells"], budgets, calibrated=name == "banzhaf")
        table.add_row(name, *known, f"{row['from_shapley']:.3f}", _rank(row["rank"]))
    return table


def many_table(many: Row) -> Table:
    """Everything beside Shapley values of many participants."""
    own = many["own"]
    title = (
        f"{many['participants']} siblings. Aumann–Shapley values with {own['nodes']} nodes, against "
        f"{own['points']} points: error {own['error']:.2g}, rank {_rank(own['rank'])}.\n"
        f"Against Shapley values (from {many['truth_evaluations']} evaluations, uncertain by "
        f"{many['truth_stderr']:.2g}):"
    )
    table = _table(title, ["values", "evaluations", "relative L2 error", "rank", "s"])
    for row in many["rows"]:
        figures = f"{row['error']:.2g}", _rank(row["rank"]), f"{row['seconds']:.3f}"
        table.add_row(row["value"], str(row["evaluations"]), *figures)
    return table


def speed_table(name: str, rows: dict[str, Row]) -> Table:
    """Everybody's time for the same valuation."""
    count = next(iter(rows.values()))["evaluations"]
    table = _table(
        f"{name}: permutation sampling, 16 participants, {count} evaluations",
        ["", "ms", "µs each", "time / ours", "processor / ours"],
    )
    for place, (peer, row) in enumerate(rows.items()):
        each = row["seconds"][1] / row["evaluations"]
        ratios = [_range(row[ratio], ".2f") for ratio in ("over_ours", "processor_over_ours")]
        ms = _range([1e3 * seconds for seconds in row["seconds"]], ",.1f")
        table.add_row(peer, ms, f"{1e6 * each:,.1f}", *(ratios if place else ("", "")))
    return table


def legs_table(count: int, legs: dict[str, Row]) -> Table:
    """How long all legs of a long relay take."""
    table = _table(f"{count} legs of a 64-128-10 perceptron, 500 rows", ["valued by", "s", "compilation, s"])
    for name, row in legs.items():
        table.add_row(name, f"{row['seconds']:.2f}", f"{row['compilation']:.2f}")
    return table


def goals_table(goals: Iterable[Goal]) -> Table:
    """What was aimed at."""
    table = _table("aims", ["", "measured", "aim", "met"], wrapped=True)
    for goal in goals:
        sign, met = "≥" if goal.least else "≤", "[green]yes" if goal.met else "[red]no"
        table.add_row(goal.what, f"{goal.measured:.4g}", f"{sign} {goal.limit:g}", met)
    return table


def _cells(cells: Row, budgets: Sequence[int], calibrated: bool = True) -> list[str]:
    return [_cell(cells[budget], calibrated) if budget in cells else "—" for budget in budgets]


def _cell(cell: Row, calibrated: bool) -> str:
    middle, within = cell["error"][1], cell["within"]
    text = "exact" if middle < EXACT else f"{middle:.2g}"
    return text if within is None or text == "exact" or not calibrated else f"{text} {within:.0%}"


def _rank(correlation: float | None) -> str:
    return "—" if correlation is None else f"{correlation:.4f}"


def _range(values: Sequence[float], form: str) -> str:
    low, middle, high = (format(value, form) for value in values)
    return f"{middle} [{low}–{high}]"


def _table(title: str, headings: Sequence[str], wrapped: bool = False) -> Table:
    table = Table(title=title, title_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=not place and not wrapped)
    return table
