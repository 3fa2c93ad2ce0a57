"""Tables, plot and JSON of what was measured."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from rich.table import Table

from echoing.attacks import NOISED
from echoing.measure import HONEST, LIMIT, Row
from relayjax.report.style import BAND, INK, colour, saved

DRAWN = (0.1, 0.2, 0.3, 0.5, 1.0)
"""Noise on the replays whose curves are drawn."""

TITLES = {"digits": "digits", "fashion_mnist": "Fashion-MNIST"}
LEFT_EDGE = 1e-3
"""Where the ROC curve has what no honest delta reaches: on its axis there is no zero."""


def keep(path: Path, rows: list[Row]) -> list[Row]:
    """Writes the rows and returns all; those of other tasks and seeds that the file holds already stay."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else []
    fresh = {(row["task"], row["seed"]) for row in rows}
    everything = [row for row in known if (row["task"], row["seed"]) not in fresh] + rows
    everything.sort(key=lambda row: (row["task"], row["seed"]))  # stable: laps and attacks keep their order
    path.write_text("[\n" + ",\n".join(map(json.dumps, everything)) + "\n]\n", "utf-8")
    return everything


def tables(rows: list[Row]) -> list[Table]:
    """Two for each task: attacks, and what honest work keeps."""
    found = []
    for task in _distinct(rows, "task"):
        own = [row for row in rows if row["task"] == task]
        found += [_of_attacks(task, own), _of_honest(task, own)]
    return found


def _of_attacks(task: str, rows: list[Row]) -> Table:
    seeds = len(_distinct(rows, "seed"))
    table = Table(title=f"{task}: braid rounds of {seeds} relays", title_justify="left")
    table.add_column("sent in place of one's own work")
    for heading in ("refused", "paid, of the rest", "pay (honest: 1)"):
        table.add_column(heading, justify="right")
    honest = {(row["seed"], row["lap"]): row["pay"] for row in rows if row["attack"] == HONEST}
    for name in _distinct(rows, "attack"):
        own = [row for row in rows if row["attack"] == name]
        tried, refused, paid = (sum(row[count] for row in own) for count in ("tried", "refused", "paid"))
        rest = f"{paid / (tried - refused):.1%}" if tried > refused else "–"
        pay = sum(row["pay"] for row in own) / sum(honest[row["seed"], row["lap"]] for row in own)
        table.add_row(name, f"{refused / tried:.1%}", rest, f"{pay:.3f}")
    return table


def _of_honest(task: str, rows: list[Row]) -> Table:
    table = Table(title=f"{task}: honest work", title_justify="left")
    for heading in ("braid round at lap", "largest echo", "refused", "mean value, 10⁻³ nats", "kept", "paid"):
        table.add_column(heading, justify="right")
    honest = [row for row in rows if row["attack"] == HONEST]
    for lap in _laps(honest):
        own = [row for row in honest if row["lap"] == lap]
        whole, new = (statistics.fmean(row[name] for row in own) for name in ("whole", "pay"))
        tried, refused, paid = (sum(row[count] for row in own) for count in ("tried", "refused", "paid"))
        largest = max(max(row["echoes"]) for row in own)
        cells = f"{largest:.3f}", f"{refused / tried:.1%}", f"{1e3 * whole:.1f}"
        table.add_row(str(lap), *cells, f"{new / whole:.2f}", f"{paid / tried:.0%}")
    return table


def draw(rows: list[Row], path: Path) -> None:
    """The ROC curves of the limit on echoes, and below them what honest work and noised replays look like."""
    label = "ROC curves of the check for echoes, and distributions of the likeness, honest work and replays"
    path.write_bytes(saved(lambda: _figure(rows), label, "png"))


def _figure(rows: list[Row]) -> Figure:
    tasks = _distinct(rows, "task")
    figure = Figure(figsize=(4.2 * len(tasks) + 1.6, 6.6))
    axes = figure.subplots(2, len(tasks), squeeze=False, sharey="row")
    for column, task in enumerate(tasks):
        own = [row for row in rows if row["task"] == task]
        _roc(axes[0, column], own)
        _distributions(axes[1, column], own)
        title = f"{TITLES.get(task, task)}, {len(_distinct(own, 'seed'))} relays"
        axes[0, column].set_title(title, loc="left")
    axes[0, 0].set_ylabel("replays refused")
    axes[1, 0].set_ylabel("share of deltas that echo less")
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "alignment": "left"}
    axes[0, -1].legend(title="noise on a replay\nof length 1", **beside)
    axes[1, -1].legend(title="honest work of the\nbraid round at", **beside)
    return figure


def _roc(axes: Axes, rows: list[Row]) -> None:
    honest = _echoes(rows, HONEST)
    for place, noise in enumerate(DRAWN):
        replays = _echoes(rows, NOISED.format(noise))
        limits = np.unique(np.concatenate([honest, replays, [0.0, 1.0]]))[::-1]
        false = np.array([max((honest > limit).mean(), LEFT_EDGE) for limit in limits])
        caught = np.array([(replays > limit).mean() for limit in limits])
        look: dict[str, Any] = {"color": colour(place), "zorder": 3}
        axes.step(false, caught, where="post", linewidth=1.6, label=f"{noise:g}", **look)
        at = max((honest > LIMIT).mean(), LEFT_EDGE), (replays > LIMIT).mean()
        axes.plot(*at, "o", markersize=6, markeredgecolor="white", clip_on=False, **look)
    axes.axvspan(LEFT_EDGE, 0.01, color=BAND, linewidth=0, zorder=0)
    axes.set(xscale="log", xlim=(LEFT_EDGE, 1.05), ylim=(-0.03, 1.03))
    axes.set_xticks([LEFT_EDGE, 0.01, 0.1, 1], ["none", "1 %", "10 %", "all"])
    axes.set_xlabel(f"honest work refused (dots: at the limit, {LIMIT:g})")
    _shares(axes)


def _distributions(axes: Axes, rows: list[Row]) -> None:
    """Distribution functions over 1 − echo, which spreads out what is nearly 1."""
    laps = _laps(row for row in rows if row["attack"] == HONEST)
    for lap, shade in zip(laps, np.linspace(0.75, 0.1, len(laps)), strict=True):
        honest = _echoes([row for row in rows if row["lap"] == lap], HONEST)
        axes.step(*_rising(honest), where="post", color=str(shade), linewidth=1.3, label=f"lap {lap}")
    for place, noise in enumerate(DRAWN):
        replays = _echoes(rows, NOISED.format(noise))
        axes.step(*_rising(replays), where="post", color=colour(place), linewidth=1.6)
    axes.axvline(1 - LIMIT, color=INK, linestyle="--", linewidth=1)
    beside: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points"}
    axes.annotate("limit", (1 - LIMIT, 1.0), va="top", **beside)
    axes.set(xscale="log", xlim=(1, 3e-3), ylim=(-0.03, 1.03))
    ticks = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
    axes.set_xticks([1 - tick for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("echo: largest |cosine| with accepted work or a sibling")
    _shares(axes)


def _shares(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="y")


def _rising(echoes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the distribution function: 1 − echo, and the share that echoes less."""
    far = 1 - np.sort(echoes)
    return np.append(far, far[-1]), np.arange(len(far) + 1) / len(far)


def _echoes(rows: Iterable[Row], name: str) -> np.ndarray:
    return np.array([echo for row in rows if row["attack"] == name for echo in row["echoes"]])


def _laps(rows: Iterable[Row]) -> list[int]:
    return sorted({row["lap"] for row in rows})


def _distinct(rows: Sequence[Row], name: str) -> list[Any]:
    return list(dict.fromkeys(row[name] for row in rows))
