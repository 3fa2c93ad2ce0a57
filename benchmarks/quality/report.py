"""Tables and plots of what was measured, and the JSON that keeps it."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from rich.table import Table

Row = dict[str, Any]

_SKEWS = {"0.05": 0, "0.1": 1, "1": 2, "even": 3}

COLUMNS = {
    "accuracy": ("accuracy", "{:.4f}"),
    "loss": ("loss", "{:.4f}"),
    "worst": ("worst", "{:.3f}"),
    "forgetting": ("lost", "{:+.3f}"),
    "moved": ("MB", "{:.1f}"),
    "rate": ("rate", "{:g}"),
}


def keep(path: Path, rows: list[Row]) -> list[Row]:
    """Writes the rows; those of other trainings that the file holds already stay. Returns all of them."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else []
    merged = {(row["task"], row["skew"], row["scheme"], row["seed"]): row for row in [*known, *rows]}
    everything = list(merged.values())
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in everything) + "\n]\n", "utf-8")
    return everything


def grouped(rows: list[Row]) -> dict[tuple[str, str], dict[str, list[Row]]]:
    """(task, skew) → scheme → its rows over the seeds."""
    groups: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["skew"]), {}).setdefault(row["scheme"], []).append(row)
    return groups


def mean(rows: list[Row], name: str) -> float:
    """Mean of a figure over the seeds."""
    return statistics.fmean(row[name] for row in rows)


def tables(rows: list[Row]) -> list[Table]:
    """One table for each task and skew: means over the seeds, with the main figure's standard deviation."""
    found = []
    for (task, skew), schemes in grouped(rows).items():
        seeds = max(len(each) for each in schemes.values())
        table = Table(title=f"{task}, skew {skew}: means over {seeds} seeds", title_justify="left")
        table.add_column("scheme")
        for heading, _ in COLUMNS.values():
            table.add_column(heading, justify="right")
        first = "loss" if task == "text" else "accuracy"
        for scheme, each in sorted(schemes.items(), key=lambda item: _badness(task, item[1])):
            cells = []
            for name, (_, style) in COLUMNS.items():
                figure = mean(each, name) / (1e6 if name == "moved" else 1)
                spread = f" ± {statistics.pstdev([row[name] for row in each]):.4f}" if name == first else ""
                cells.append(style.format(figure) + spread)
            table.add_row(scheme, *cells)
        found.append(table)
    return found


def below_pooled(rows: list[Row], margin: float) -> list[str]:
    """A line for each relay whose mean accuracy lies more than a margin below that of pooled training."""
    found = []
    for (task, skew), schemes in grouped(rows).items():
        for scheme, each in schemes.items():
            gap = mean(schemes["pooled"], "accuracy") - mean(each, "accuracy")
            if scheme.startswith("relay") and gap > margin:
                found.append(f"{task}, skew {skew}: {scheme} is {gap:.4f} below pooled (allowed: {margin})")
    return found


def draw(rows: list[Row], path: Path) -> None:
    """Draws a panel for each task and skew: a dot a scheme, a small one a seed, the worst as a mark.

    Axes reach as far as differences matter; what lies beyond is written at the edge.
    """
    found = grouped(rows)
    skews = Counter(task for task, _ in found)
    groups = dict(
        sorted(found.items(), key=lambda item: (-skews[item[0][0]], item[0][0], _SKEWS.get(item[0][1], 9)))
    )
    across = min(max(skews.values(), default=1), 4) if len(skews) > 1 else math.ceil(math.sqrt(len(groups)))
    counts = [len(schemes) for schemes in groups.values()]
    tallest = [max(counts[start : start + across]) for start in range(0, len(counts), across)]
    figure, axes = plt.subplots(
        len(tallest),
        across,
        figsize=(4.6 * across, sum(1.2 + 0.24 * count for count in tallest)),
        height_ratios=[1.2 + 0.24 * count for count in tallest],
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[len(groups) :]:
        axis.set_axis_off()
    for place, ((task, skew), schemes) in enumerate(groups.items()):
        _panel(axes.flat[place], task, skew, schemes, tallest[place // across])
    figure.suptitle(
        "large dots: mean over seeds, ours in blue · small: seeds · orange: worst participant or kind",
        x=0.01,
        ha="left",
    )
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _panel(axis: Axes, task: str, skew: str, schemes: dict[str, list[Row]], room: int) -> None:
    name = "loss" if task == "text" else "accuracy"
    ordered = sorted(schemes.items(), key=lambda item: _badness(task, item[1]), reverse=True)
    best = mean(ordered[-1][1], name)
    low, high = (0.97 * best, 1.6 * best) if name == "loss" else (best - 0.3, best + 0.02)
    for height, (scheme, each) in enumerate(ordered):
        ours = scheme.startswith(("relay", "chain", "braid"))
        colour, figure = "#2a7f9e" if ours else "#7d8590", mean(each, name)
        axis.axhline(height, color="#e8eaed", linewidth=0.8, zorder=0)
        axis.scatter([row[name] for row in each], [height] * len(each), s=7, color="#1b1f24", zorder=3)
        axis.scatter(mean(each, "worst"), height, marker="|", s=70, color="#c2410c", zorder=2)
        axis.scatter(figure, height, s=42, color=colour, zorder=4)
        if not low <= figure <= high:
            axis.text(low, height, f" ‹ {figure:.2f}", va="center", ha="left", fontsize=8, color=colour)
    axis.set_xlim(low, high)
    axis.set_ylim(len(ordered) - room - 0.6, len(ordered) - 0.4)  # rows of one height in all panels
    axis.set_yticks(range(len(ordered)), [scheme for scheme, _ in ordered], fontsize=9)
    axis.set_title(f"{task}, skew {skew}", loc="left")
    axis.set_xlabel(f"{'nats a byte, less is better' if name == 'loss' else 'test accuracy'}")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _badness(task: str, rows: list[Row]) -> float:
    return mean(rows, "loss") if task == "text" else -mean(rows, "accuracy")
