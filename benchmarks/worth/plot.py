"""One picture of what was measured: error against evaluations, many participants, speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from relayjax.report.style import FAINT, INK, MUTED
from worth.accuracy import FROM_MEANS, LEARNT, PEER
from worth.report import EXACT
from worth.speed import OURS

Row = dict[str, Any]

_COLOURS = {
    "permutation": "#999999",
    "antithetic": "#D55E00",
    "orthogonal": "#CC79A7",
    "owen": "#56B4E9",
    "stratified": "#009E73",
    "leverage-shap": "#E69F00",
    LEARNT: "#0072B2",
    FROM_MEANS: "#0072B2",
    PEER: INK,
    "aumann-shapley": "#882255",
}
_DASHES = {PEER: "--", FROM_MEANS: ":"}
_FIRST = (LEARNT, PEER)


def draw(figures: Row, path: Path) -> None:
    """Draws a panel a game, one for many participants, one for speed."""
    figure = plt.figure(figsize=(13, 7.8), layout="constrained")
    grid = figure.add_gridspec(2, 3)
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    axes = []
    for (row, column), game in zip(places, figures["games"].values(), strict=True):
        axes.append(axis := figure.add_subplot(grid[row, column]))
        _errors(axis, game)
        axis.set_xlabel("distinct coalitions evaluated" if row else "")
        axis.set_ylabel("" if column else "relative L2 error")
    _many(figure.add_subplot(grid[0, 2]), figures["many"])
    _speed(figure.add_subplot(grid[1, 2]), figures["speed"])
    lines = {str(line.get_label()): line for axis in axes for line in axis.get_lines()}
    names = [name for name in _COLOURS if name in lines]
    handles = [lines[name] for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8.5)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _errors(axis: Axes, game: Row) -> None:
    budgets: set[int] = set()
    for name, cells in game["estimators"].items():
        budgets |= set(cells)
        sampled = {budget: cell["error"] for budget, cell in cells.items() if cell["error"][1] > EXACT}
        if not sampled:
            continue
        low, middle, high = zip(*sampled.values(), strict=True)
        first, colour = name in _FIRST, _COLOURS.get(name, MUTED)
        axis.plot(
            list(sampled),
            middle,
            label=name,
            color=colour,
            linestyle=_DASHES.get(name, "-"),
            marker="o",
            markersize=3.5,
            linewidth=2.4 if first else 1.3,
            zorder=3 if first else 2,
        )
        if first:
            axis.fill_between(list(sampled), low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.xaxis.set_major_locator(FixedLocator(sorted(budgets)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    _titled(axis, f"{game['title']} (N = {game['participants']})")
    axis.grid(True, color=FAINT, linewidth=0.6)


def _many(axis: Axes, many: Row) -> None:
    rows = sorted(many["rows"], key=lambda row: -row["error"])
    for height, row in enumerate(rows):
        axis.plot(row["error"], height, "o", color=_COLOURS.get(row["value"], MUTED), markersize=7)
        axis.text(
            1.2 * row["error"], height, f"{row['error']:.2g}, rank {row['rank']:.4f}", va="center", size=8
        )
    axis.axvline(many["truth_stderr"], color=MUTED, linestyle=":", linewidth=1)
    axis.text(1.06 * many["truth_stderr"], 0, "uncertainty\nof the truth", va="center", color=MUTED, size=8)
    axis.set_xscale("log")
    axis.set_xlim(0.6 * many["truth_stderr"], 14 * rows[0]["error"])
    axis.set_yticks(range(len(rows)), [f"{row['value']}, {row['evaluations']}" for row in rows], size=8.5)
    axis.grid(True, axis="y", color=FAINT, linewidth=0.6)
    axis.set_xlabel("relative L2 error")
    _titled(axis, f"{many['participants']} siblings, against Shapley values")


def _speed(axis: Axes, speed: dict[str, dict[str, Row]]) -> None:
    """How many times longer everybody takes than RelayJAX, and how long that is."""
    ticks: dict[float, str] = {}
    height, longest = 0.0, 1.0
    for name, rows in reversed(speed.items()):
        for peer, row in reversed(rows.items()):
            low, middle, high = row["over_ours"]
            ours = peer.startswith(OURS)
            axis.barh(height, middle, color=_COLOURS[LEARNT] if ours else "#aab1bb", height=0.7)
            axis.plot([low, high], [height, height], color=INK, linewidth=1)
            each = 1e6 * row["seconds"][1] / row["evaluations"]
            text = f"  {each:,.0f} µs" if peer == OURS else f"  {middle:.1f} ×   {each:,.0f} µs"
            axis.text(max(high, middle), height, text, va="center", size=8)
            ticks[height] = peer
            longest, height = max(longest, high), height + 1
        axis.text(0.15, height - 0.2, name, size=8.5, color=MUTED, va="center")
        height += 1
    axis.set_xlim(0, 1.5 * longest)
    axis.set_ylim(-0.7, height - 0.6)
    axis.set_yticks(list(ticks), list(ticks.values()), size=8.5)
    axis.set_xlabel(f"time of an evaluation / {OURS}'s")
    _titled(axis, "speed, permutation sampling of 16 participants")


def _titled(axis: Axes, title: str) -> None:
    axis.set_title(title, loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
