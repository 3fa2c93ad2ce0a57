"""The figure of `relayjax value`: what everybody's work is worth, beside what was paid for it.

N: participants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from relayjax.errors import ConfigError
from relayjax.files import write_atomic
from relayjax.report.style import (
    INK,
    MUTED,
    WIDTH,
    colour,
    lanes,
    lanes_height,
    legend_above,
    saved,
)

KINDS = (".png", ".svg")

_OPACITY = (1.0, 0.45)
"""Of the first and the second figure in a lane."""

Interval = tuple[np.ndarray, np.ndarray]
"""Figures and the half widths of their intervals, float64 [N] each; NaN where there is none."""


def write_values(
    path: Path,
    names: Sequence[str],
    values: Interval,
    coins: Mapping[str, np.ndarray],
    retrained: Mapping[str, Interval] | None = None,
    *,
    unit: str,
    notes: Sequence[str] = (),
) -> None:
    """Draws the figure into a file, atomically.

    Args:
      path: of the file, .png or .svg.
      names: of the participants.
      values: what their work is worth.
      coins: by reason, float64 [N]; two reasons at most.
      retrained: what the relay lost without each of them, by how it was measured; two at most.
      unit: of the values.
      notes: a line under each panel.

    Raises:
      ConfigError: the file is to be of another kind.
      DiskError: the disk refused.
    """
    label = "Value of each participant's work with intervals, and coins paid for it"
    content = saved(lambda: draw(names, values, coins, retrained, unit, notes), label, kind_of(path))
    write_atomic(path, content)


def kind_of(path: Path) -> str:
    """`png` or `svg`, from a file's name.

    Raises:
      ConfigError: it is neither.
    """
    if path.suffix not in KINDS:
        raise ConfigError(f"--plot={path}: must end in {' or '.join(KINDS)}")
    return path.suffix[1:]


def draw(
    names: Sequence[str],
    values: Interval,
    coins: Mapping[str, np.ndarray],
    retrained: Mapping[str, Interval] | None,
    unit: str,
    notes: Sequence[str],
) -> Figure:
    """Panels side by side, participants in lanes, the most valuable on top; see `write_values`."""
    order = np.argsort(-values[0], kind="stable")
    shades = [colour(int(index)) for index in order]
    count = 3 if retrained else 2
    figure = Figure(figsize=(WIDTH, 0.8 + lanes_height(len(names))))
    panels: list[Axes] = list(figure.subplots(1, count, sharey=True))
    _dots(panels[0], {"": values}, order, shades)
    panels[0].set_xlabel(f"value ({unit}, 95 % interval)")
    _bars(panels[1], coins, order, shades)
    panels[1].set_xlabel("paid (coins)")
    if retrained:
        _dots(panels[2], retrained, order, shades)
        panels[2].set_xlabel("lost when retrained without (nats)")
    for panel in panels:
        panel.grid(axis="x")
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.axvline(0, color=MUTED, linewidth=0.8)
        lanes(panel, [names[int(index)] for index in order])
    for panel, note in zip(panels, notes, strict=False):
        panel.set_title(note, fontsize=8.5, color=MUTED, loc="left", pad=22)
    return figure


def _dots(axes: Axes, series: Mapping[str, Interval], order: np.ndarray, shades: Sequence[str]) -> None:
    """A dot with its interval for each figure, the second of a lane below the first and hollow."""
    offsets = (0.0,) if len(series) == 1 else (-0.17, 0.17)
    for (figures, halves), offset, solid in zip(series.values(), offsets, (True, False), strict=False):
        for lane, (index, shade) in enumerate(zip(order, shades, strict=True)):
            look: dict[str, Any] = {"color": shade, "markerfacecolor": shade if solid else "white"}
            half = halves[index] if np.isfinite(halves[index]) else None
            axes.errorbar(
                figures[index],
                lane + offset,
                xerr=half,
                fmt="o",
                markersize=5.5,
                elinewidth=1.6,
                capsize=2.5,
                ecolor=shade,
                **look,
            )
    if len(series) > 1:
        keys = [axes.plot([], [], "o", color=MUTED, markerfacecolor=f, label=name)[0]
                for name, f in zip(series, (MUTED, "white"), strict=False)]  # fmt: skip
        legend_above(axes, keys)


def _bars(axes: Axes, coins: Mapping[str, np.ndarray], order: np.ndarray, shades: Sequence[str]) -> None:
    """Stacked bars of coins."""
    left = np.zeros(len(order))
    for amounts, opacity in zip(coins.values(), _OPACITY, strict=False):
        mixed = [tuple(1 - opacity * (1 - part) for part in to_rgb(shade)) for shade in shades]
        axes.barh(range(len(order)), amounts[order], 0.62, left=left, color=mixed)
        left += amounts[order]
    for lane, total in enumerate(left):
        axes.text(total, lane, f" {total:,.1f}", va="center", fontsize=8, color=INK)
    axes.margins(x=0.16)
    keys = [Patch(facecolor=MUTED, alpha=a, label=r) for r, a in zip(coins, _OPACITY, strict=False)]
    legend_above(axes, keys)
