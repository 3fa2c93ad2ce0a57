"""The figures of `relayjax simulate`: which versions participants hold, and what coins they have.

R: rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

from relayjax.files import write_atomic
from relayjax.report.style import COLOURS, FAINT, MUTED, WIDTH, legend_above, saved
from relayjax.report.value_figures import kind_of

_POINTS = 1_000
"""Rounds of a curve that are drawn at most."""


@dataclass(frozen=True)
class CoinCurves:
    """Coins over rounds, float64 [R] each.

    Attributes:
      mean: over participants and populations.
      below: mean minus standard deviation over participants.
      above: mean plus standard deviation.
      low: of the poorest participant of any population.
      high: of the richest.
    """

    mean: np.ndarray
    below: np.ndarray
    above: np.ndarray
    low: np.ndarray
    high: np.ndarray


def write_population(path: Path, shares: np.ndarray, coins: CoinCurves, classes: tuple[str, ...]) -> None:
    """Draws both figures into a file, atomically.

    Args:
      path: of the file, .png or .svg.
      shares: float64 [rounds to show, classes], of participants by version, newest first; the last two
        classes are older ones and none.
      coins: the curves.
      classes: their names.

    Raises:
      ConfigError: the file is to be of another kind.
      DiskError: the disk refused.
    """
    label = "Share of participants by the newest version they hold, and their coins, over rounds"
    content = saved(lambda: draw(shares, coins, classes), label, kind_of(path))
    write_atomic(path, content)


def draw(shares: np.ndarray, coins: CoinCurves, classes: tuple[str, ...]) -> Figure:
    """Two panels side by side; see `write_population`."""
    figure = Figure(figsize=(WIDTH, 3.9))
    left, right = figure.subplots(1, 2)
    _shares(left, shares, classes)
    _coins(right, coins)
    for axes in (left, right):
        axes.set_xlabel("round")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


def _shares(axes: Axes, shares: np.ndarray, classes: tuple[str, ...]) -> None:
    """Stacked bars, the newest version at the bottom and darkest."""
    rounds, ramp = np.arange(1, len(shares) + 1), colormaps["Blues"]
    lags = len(classes) - 2
    colours = [ramp(0.95 - 0.8 * lag / max(1, lags - 1)) for lag in range(lags)] + [FAINT, "white"]
    edges = 100 * np.concatenate([np.zeros((len(shares), 1)), np.cumsum(shares, 1)], 1)
    keys = []
    for lag, (name, colour) in enumerate(zip(classes, colours, strict=True)):
        height = edges[:, lag + 1] - edges[:, lag]
        axes.bar(rounds, height, 1.0, edges[:, lag], color=colour)
        edge = MUTED if lag == lags + 1 else colour  # else nobody sees the white one
        keys.append(Patch(facecolor=colour, edgecolor=edge, linewidth=0.6, label=name))
    axes.set_ylim(0, 100)
    axes.set_xlim(0.5, len(shares) + 0.5)
    axes.set_ylabel("participants by newest version (%)")
    axes.legend(
        handles=keys[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.0, labelspacing=0.25
    )


def _coins(axes: Axes, coins: CoinCurves) -> None:
    """Mean, standard deviation and range."""
    count = len(coins.mean)
    at = np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(int))
    shade, rounds = COLOURS[0], at + 1
    span = axes.fill_between(
        rounds, coins.low[at], coins.high[at], color=shade, alpha=0.15, linewidth=0, label="lowest to highest"
    )
    spread = axes.fill_between(
        rounds, coins.below[at], coins.above[at], color=shade, alpha=0.35, linewidth=0, label="± s.d."
    )
    (line,) = axes.plot(rounds, coins.mean[at], color=shade, linewidth=1.8, label="mean")
    axes.set_xlim(1, max(2, count))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("coins of a participant")
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(axis="y")
    legend_above(axes, [line, spread, span])
