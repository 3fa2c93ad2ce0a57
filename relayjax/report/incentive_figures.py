"""The figure of `relayjax audit`: what every deviation gains over being honest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from relayjax.files import write_atomic
from relayjax.report.style import COLOURS, INK, WIDTH, legend_above, saved
from relayjax.report.value_figures import kind_of

_LANE = 0.2
"""Height of a deviation's lane, inches."""
_LINEAR = 1.0
"""Coins up to which the axis is linear; beyond, every tenfold takes as much room."""


def write_gains(path: Path, names: Sequence[str], gains: np.ndarray, intervals: np.ndarray) -> None:
    """Draws the figure into a file, atomically.

    Args:
      path: of the file, .png or .svg.
      names: of the deviations.
      gains: mean gain of each, coins, float64 [K].
      intervals: least and most of each with 95 %, coins, float64 [K, 2].

    Raises:
      ConfigError: the file is to be of another kind.
      OSError: the disk refused.
    """
    label = "Gain over being honest, by deviation, with 95 % intervals"
    write_atomic(path, saved(lambda: draw(names, gains, intervals), label, kind_of(path)))


def draw(names: Sequence[str], gains: np.ndarray, intervals: np.ndarray) -> Figure:
    """One lane a deviation, a dot and its interval; see `write_gains`."""
    figure = Figure(figsize=(WIDTH, 1.2 + _LANE * len(names)))
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    kinds = {"does not pay": COLOURS[0], "pays, or may": COLOURS[1]}
    for lane, (gain, (least, most)) in enumerate(zip(gains, intervals, strict=True)):
        shade = kinds["does not pay" if most <= 0 else "pays, or may"]
        axes.plot([least, most], [lane, lane], color=shade, linewidth=2.2, solid_capstyle="butt")
        axes.plot([gain], [lane], "o", color=shade, markersize=4.5)
    axes.set_xscale("symlog", linthresh=_LINEAR)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda coins, _: f"{coins:g}".replace("-", "−")))
    axes.set_xlabel("gain over being honest, or over staying away for vandals (coins)")
    axes.grid(axis="x")
    shown = [Line2D([], [], color=shade, marker="o", label=name) for name, shade in kinds.items()]
    legend_above(axes, shown)
    return figure
