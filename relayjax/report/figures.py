"""The report's figures: each function takes plain data and returns an inline SVG.

Losses and values are nats per example, amounts coins. Participants are given in one order throughout, which
fixes their colours and lanes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter, MaxNLocator, PercentFormatter

from relayjax.report.style import (
    FAINT,
    INK,
    MUTED,
    STAGE_COLOURS,
    WIDTH,
    Span,
    bands,
    colour,
    drawn,
    lanes,
    lanes_height,
    legend_above,
)


@drawn("Accuracy of the head on the test set, and its validation loss, over the legs of the relay")
def progress(
    legs: Sequence[int],
    losses: Sequence[float | None],
    accuracies: Sequence[float | None],
    braids: Sequence[Span],
    pooled: float | None = None,
    alone: float | None = None,
) -> Figure:
    """Accuracy and validation loss of the head after each round.

    Args:
      legs: how many had been run by then.
      losses: of the head, None where unknown.
      accuracies: of the head, 0–1, None where unknown.
      braids: spans of the braid rounds, in legs.
      pooled: accuracy of training on everybody's data.
      alone: mean accuracy of training alone.
    """
    known = any(a is not None for a in accuracies)
    figure = Figure(figsize=(WIDTH, 4.6 if known else 2.4))
    rows: list[Axes] = list(
        figure.subplots(2, sharex=True, height_ratios=(2, 1)) if known else [figure.subplots()]
    )
    if known:
        _accuracy(rows[0], legs, accuracies, braids, pooled, alone)
    bottom = rows[-1]
    bands(bottom, braids)
    measured = [(leg, loss) for leg, loss in zip(legs, losses, strict=True) if loss is not None and loss > 0]
    if measured:
        bottom.plot(*zip(*measured, strict=True), color=INK, linewidth=1.1)
        bottom.set_yscale("log")
        bottom.yaxis.set_major_formatter("{x:g}")
        bottom.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
    bottom.set(xlabel="legs run", ylabel="validation loss\n(nats, log scale)", xlim=(0, max(legs, default=1)))
    bottom.grid(axis="y")
    return figure


def _accuracy(
    axes: Axes,
    legs: Sequence[int],
    accuracies: Sequence[float | None],
    braids: Sequence[Span],
    pooled: float | None,
    alone: float | None,
) -> None:
    bands(axes, braids)
    axes.plot(legs, [_or_nan(a) for a in accuracies], color=colour(0), linewidth=1.6, label="relay")
    if pooled is not None:
        axes.axhline(pooled, color=colour(1), linestyle="--", label=f"pooled training: {pooled:.1%}")
    if alone is not None:
        axes.axhline(alone, color=MUTED, linestyle=":", label=f"alone, mean: {alone:.1%}")
    axes.set(ylabel="test accuracy", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="y")
    axes.legend(loc="lower right")


@drawn("Change of the validation loss by each leg: participants by rounds")
def loss_changes(
    names: Sequence[str], rounds: int, changes: Sequence[tuple[int, str, float | None, bool]]
) -> Figure:
    """Heat map of what each leg did to the validation loss.

    Args:
      names: of the participants.
      rounds: how many were settled.
      changes: (round, trainer, change or None if nothing was revealed, accepted).
    """
    lane = {name: index for index, name in enumerate(names)}
    grid = np.full((len(names), rounds), np.nan)
    for round, name, change, _ in changes:
        grid[lane[name], round - 1] = _or_nan(change)
    size = np.abs(grid[np.isfinite(grid)])
    limit = max(float(np.quantile(size, 0.98)), 1e-5) if size.size else 1.0
    norm = SymLogNorm(linthresh=limit / 30, vmin=-limit, vmax=limit)
    figure = Figure(figsize=(WIDTH, lanes_height(len(names))))
    axes = figure.subplots()
    axes.imshow(
        grid,
        aspect="auto",
        interpolation="nearest",
        cmap="RdBu_r",
        norm=norm,
        extent=(0.5, rounds + 0.5, len(names) - 0.5, -0.5),
    )
    for edge in range(1, len(names)):
        axes.axhline(edge - 0.5, color=FAINT, linewidth=0.5)
    refused = [(round, lane[name]) for round, name, _, accepted in changes if not accepted]
    if refused:
        axes.plot(*zip(*refused, strict=True), "x", color="white", markersize=7, markeredgewidth=3)
        axes.plot(*zip(*refused, strict=True), "x", color=INK, markersize=5, label="refused")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1))
    lanes(axes, names)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    ticks = [-limit, -limit / 10, 0, limit / 10, limit]
    bar = figure.colorbar(ScalarMappable(norm, "RdBu_r"), ax=axes, ticks=ticks, pad=0.01, aspect=30)
    bar.ax.set_yticks([], minor=True)
    bar.set_ticklabels([f"{tick:+.2g}".replace("-", "−") if tick else "0" for tick in ticks])
    bar.set_label("loss change (nats)")
    return figure


@drawn("Lineage of the newest version: who trained each version from which")
def lineage(
    names: Sequence[str],
    versions: Sequence[tuple[int, tuple[str, ...]]],
    line: Sequence[int],
    refused: Sequence[tuple[int, str]],
) -> Figure:
    """Versions in the lanes of their trainers, joined along the head's lineage.

    Args:
      names: of the participants.
      versions: (round, owners) of each version by number; the genesis has no owners.
      line: numbers of the head's lineage, oldest first.
      refused: (round, trainer) of the legs that were not accepted.
    """
    lane = {name: index for index, name in enumerate(names)}
    middle = (len(names) - 1) / 2
    figure = Figure(figsize=(WIDTH, lanes_height(len(names))))
    axes = figure.subplots()
    heights = [float(np.mean([lane[o] for o in owners])) if owners else middle for _, owners in versions]
    places = [(versions[number][0], heights[number]) for number in line]
    axes.plot(*zip(*places, strict=True), color="#aab1bb", linewidth=0.8, zorder=1)
    axes.plot(0, middle, "s", color=INK, markersize=5, zorder=3)
    ancestors = set(line)
    for number, (round, owners) in enumerate(versions[1:], 1):
        rows = [lane[owner] for owner in owners]
        if len(rows) > 1:
            axes.plot((round, round), (min(rows), max(rows)), color=INK, linewidth=1.6, zorder=2)
        for row in rows:
            face = colour(row) if number in ancestors else "white"
            axes.plot(round, row, "o", color=colour(row), markerfacecolor=face, markersize=4.2, zorder=3)
    for round, name in refused:
        axes.plot(round, lane[name], "x", color=colour(lane[name]), markersize=5, zorder=3)
    lanes(axes, names)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.margins(x=0.01)
    braided = any(len(owners) > 1 for _, owners in versions)
    legend_above(axes, _lineage_keys(braided, len(line) < len(versions), bool(refused)))
    return figure


def _lineage_keys(braided: bool, beside: bool, refused: bool) -> list[Line2D]:
    def key(label: str, **look: Any) -> Line2D:
        return Line2D([], [], **({"color": MUTED, "linestyle": "", "markersize": 5} | look), label=label)

    keys = [
        (True, key("genesis", marker="s", color=INK)),
        (True, key("in the head's lineage", marker="o")),
        (beside, key("accepted beside it", marker="o", markerfacecolor="white")),
        (braided, key("braid: several owners", linestyle="-", color=INK, linewidth=1.6)),
        (refused, key("refused", marker="x")),
    ]
    return [handle for present, handle in keys if present]


@drawn("Where the time of a leg goes, by stage")
def time_split(kinds: Mapping[str, Mapping[str, float]]) -> Figure:
    """Stacked bars of the stages' times.

    Args:
      kinds: kind of round → stage → milliseconds a leg.
    """
    stages = list(dict.fromkeys(stage for split in kinds.values() for stage in split))
    shades = [STAGE_COLOURS[index % len(STAGE_COLOURS)] for index in range(len(stages))]
    figure = Figure(figsize=(WIDTH, 1.1 + 0.45 * len(kinds)))
    axes = figure.subplots()
    for lane, split in enumerate(kinds.values()):
        left = 0.0
        for stage, shade in zip(stages, shades, strict=True):
            axes.barh(
                lane, split.get(stage, 0.0), 0.6, left=left, color=shade, edgecolor="white", linewidth=0.5
            )
            left += split.get(stage, 0.0)
        axes.text(left, lane, f" {left:.3g} ms", va="center")
    lanes(axes, list(kinds))
    axes.set_xlabel("milliseconds a leg (median round)")
    axes.margins(x=0.08)
    legend_above(axes, [Patch(color=shade, label=stage) for stage, shade in zip(stages, shades, strict=True)])
    return figure


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
