"""How all figures look, and how one becomes an inline SVG, or a file.

Equal data give equal bytes: identifiers are salted with a constant and no date is written. Colours are
those of Okabe and Ito, distinguishable with any colour vision; beyond seven they repeat with other dashes.

References:
  M. Okabe, K. Ito: Color Universal Design (2008).
  P. Tol: Colour Schemes, SRON/EPS/TN/09-002, issue 3.2 (2021), section 2.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, ParamSpec

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

P = ParamSpec("P")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
DASHES = ("-", (0, (4, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))
STAGE_COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499",
)  # fmt: skip
"""The muted scheme of Tol, for what is not a participant."""

INK, MUTED, FAINT, BAND = "#1b1f24", "#6b7280", "#d9dde3", "#eceff3"
WIDTH = 9.0
"""Inches; at 72 points an inch the natural width of the report's column."""

Span = tuple[float, float]
"""Begin and end of a braid round on the x axis."""

_LABELS = 30
"""Names that fit on an axis; with more, some are left out."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "relayjax",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.6,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def drawn(label: str) -> Callable[[Callable[P, Figure]], Callable[P, str]]:
    """Makes a function that draws a figure return it as SVG text instead.

    Args:
      label: what it shows, for those who can't see it.
    """

    def decorate(draw: Callable[P, Figure]) -> Callable[P, str]:
        @functools.wraps(draw)
        def render(*args: P.args, **kwargs: P.kwargs) -> str:
            with matplotlib.style.context(["default", _STYLE]):
                return _svg(draw(*args, **kwargs), label)

        return render

    return decorate


def saved(draw: Callable[[], Figure], label: str, kind: str) -> bytes:
    """A figure as the content of a file of its own.

    Args:
      draw: makes it.
      label: what it shows, for those who can't see it.
      kind: svg or png.
    """
    with matplotlib.style.context(["default", _STYLE]):
        figure = draw()
        if kind == "svg":
            return _svg(figure, label).encode()
        buffer = io.BytesIO()
        metadata = {"Software": None, "Description": label}
        figure.savefig(buffer, format="png", dpi=200, facecolor="white", metadata=metadata)
        return buffer.getvalue()


def colour(index: int) -> str:
    """The colour of the participant with this number."""
    return COLOURS[index % len(COLOURS)]


def dash(index: int) -> Any:
    """The dashes of the participant with this number."""
    return DASHES[index // len(COLOURS) % len(DASHES)]


def lanes(axes: Axes, names: Sequence[str]) -> None:
    """Gives each name a horizontal lane, the first on top."""
    step = 1 + (len(names) - 1) // _LABELS
    axes.set_yticks(range(0, len(names), step), names[::step])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def lanes_height(count: int) -> float:
    """Height of a figure with that many lanes, inches."""
    return 1.0 + min(0.3 * max(count, 3), 9.0)


def bands(axes: Axes, spans: Sequence[Span]) -> None:
    """Shades the braid rounds."""
    for index, (begin, end) in enumerate(spans):
        axes.axvspan(begin, end, color=BAND, linewidth=0, zorder=0, label=None if index else "braid round")


def legend_above(axes: Axes, handles: Sequence[Any]) -> None:
    """Puts a legend of one row above the axes, left-aligned."""
    axes.legend(
        handles=list(handles),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(handles),
        borderaxespad=0.2,
        handlelength=1.2,
        columnspacing=1.1,
    )


def _svg(figure: Figure, label: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=144, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z][A-Za-z0-9]*_\d+"', "", text)  # several figures share one document
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
