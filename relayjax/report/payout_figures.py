"""The report's figures of what work was worth and what it earned; see `figures` for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from relayjax.report.style import (
    INK,
    MUTED,
    WIDTH,
    Span,
    bands,
    colour,
    dash,
    drawn,
    lanes,
    lanes_height,
    legend_above,
)

_LEGEND = 20
"""Names that a legend has room for."""

_OPACITY = {"value": 1.0, "royalty": 0.55, "remainder": 0.75, "lineage": 1.0, "maintenance": 0.3}
"""Of each kind of income."""


@drawn("Measured value and coins received, by participant")
def contributions(
    names: Sequence[str],
    values: Mapping[str, tuple[float, float]],
    shapley: Mapping[str, tuple[float, float]],
    income: Mapping[str, Mapping[str, float]],
    forfeited: Mapping[str, float],
) -> Figure:
    """Bars of value with standard errors beside bars of coins.

    Args:
      names: of the participants.
      values: name → value at the best length and standard error, of those who were valued.
      shapley: the same by Shapley.
      income: name → reason → coins.
      forfeited: name → coins.
    """
    figure = Figure(figsize=(WIDTH, 0.4 + lanes_height(len(names))))
    panels = list(figure.subplots(1, 2, sharey=True) if values else [figure.subplots()])
    if values:
        _value_bars(panels[0], names, values, shapley)
    coins, present = panels[-1], [r for r in _OPACITY if any(r in i for i in income.values())]
    for lane, name in enumerate(names):
        left = 0.0
        for reason in present:
            amount = income[name].get(reason, 0.0)
            coins.barh(lane, amount, 0.66, left=left, color=colour(lane), alpha=_OPACITY[reason])
            left += amount
        coins.barh(lane, -forfeited[name], 0.66, color="white", edgecolor=MUTED, hatch="////", linewidth=0.6)
    keys = [Patch(facecolor=MUTED, alpha=_OPACITY[reason], label=reason) for reason in present]
    if any(forfeited.values()):
        keys.append(Patch(facecolor="white", edgecolor=MUTED, hatch="////", label="forfeited"))
    legend_above(coins, keys)
    coins.axvline(0, color=MUTED, linewidth=0.8)
    coins.set_xlabel("coins")
    coins.grid(axis="x")
    for panel in panels:
        lanes(panel, names)
    return figure


def _value_bars(
    axes: Axes,
    names: Sequence[str],
    values: Mapping[str, tuple[float, float]],
    shapley: Mapping[str, tuple[float, float]],
) -> None:
    whiskers: dict[str, Any] = {"ecolor": INK, "capsize": 2, "error_kw": {"elinewidth": 0.9}}
    for lane, name in enumerate(names):
        for offset, opacity, measured in ((-0.17, 1.0, values), (0.17, 0.4, shapley)):
            if name in measured:
                value, stderr = measured[name]
                axes.barh(
                    lane + offset, value, 0.32, xerr=stderr, color=colour(lane), alpha=opacity, **whiskers
                )
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("value over all braid rounds (nats ± standard error)")
    axes.grid(axis="x")
    legend_above(
        axes,
        [Patch(facecolor=MUTED, label="value, paid"), Patch(facecolor=MUTED, alpha=0.4, label="Shapley")],
    )


@drawn("Coins earned by each participant over the rounds")
def coins(names: Sequence[str], earned: Mapping[str, Sequence[float]], braids: Sequence[Span]) -> Figure:
    """Cumulative income less forfeits.

    Args:
      names: of the participants.
      earned: name → coins by the end of each round.
      braids: spans of the braid rounds, in rounds.
    """
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    bands(axes, braids)
    rounds = max((len(series) for series in earned.values()), default=0)
    end = rounds + max(1.0, 0.04 * rounds)  # room to see what the last round paid
    for index, name in enumerate(names):
        series = [0.0, *earned[name], *earned[name][-1:]]
        look = {"color": colour(index), "linestyle": dash(index), "linewidth": 1.4, "label": name}
        axes.step([*range(rounds + 1), end], series, where="post", **look)
    axes.set(xlabel="round", ylabel="coins earned, less forfeits", xlim=(0, end))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    handles = {str(line.get_label()): line for line in axes.get_lines()}
    richest = sorted(names, key=lambda name: -([0.0, *earned[name]][-1]))[:_LEGEND]
    axes.legend([handles[n] for n in richest], richest, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
