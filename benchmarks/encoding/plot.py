"""Throughput over size, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Figures = dict[int, dict[str, float]]

Panels = Mapping[str, Mapping[str, str]]
"""Title of each panel → label of each line → name of what was measured. Others compare to the first line."""

PANELS = {
    "encode": {
        "memcpy": "copy",
        "mxint8": "mxint8 encode",
        "mxfp4": "mxfp4 encode",
        "sign": "sign encode",
        "top 1 %": "top 1 % select",
        "jax.jit, mxint8": "jax.jit mxint8 encode",
        "np.argpartition": "np.argpartition top 1 %",
        "jax.lax.top_k": "jax.lax.top_k top 1 %",
    },
    "decode, apply": {
        "memcpy": "copy",
        "mxint8": "mxint8 decode",
        "mxfp4": "mxfp4 decode",
        "sign": "sign decode",
        "top 1 %": "top 1 % apply",
        "jax.jit, mxint8": "jax.jit mxint8 decode",
    },
    "whole codecs, to bytes": {
        "memcpy": "copy",
        **{name: f"{name} to bytes" for name in ("mxint8", "mxfp4", "sign", "top_percent", "lossless")},
    },
}
_PEERS = ("jax", "np.")


def draw(
    figures: Figures,
    title: str,
    path: Path,
    panels: Panels = PANELS,
    peers: tuple[str, ...] = _PEERS,
    unit: str = "GB of float32 a second",
) -> None:
    """Draws gigabytes a second over the size, one panel a direction.

    Args:
      figures: by size in bytes: what was measured, in GB/s.
      title: what machine it was.
      path: of the PNG.
      panels: what to draw.
      peers: how labels of what is not ours begin.
      unit: of the figures.
    """
    matplotlib.use("Agg")
    figure = Figure(figsize=(min(13, 7 * len(panels)), 4.6), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (name, lines) in zip(axes, panels.items(), strict=True):
        _panel(axis, figures, lines, peers)
        axis.set_title(name, fontsize=11)
    axes[0].set_ylabel(unit)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110)


def _panel(axis: Axes, figures: Figures, lines: Mapping[str, str], peers: tuple[str, ...]) -> None:
    for color, (label, name) in enumerate(lines.items()):
        points = [(size, figures[size][name]) for size in sorted(figures) if name in figures[size]]
        if color == 0:
            axis.plot(*zip(*points, strict=True), color="black", linewidth=2.5, label=label)
            continue
        style = "--" if label.startswith(peers) else "-"
        axis.plot(
            *zip(*points, strict=True), style, color=f"C{color - 1}", marker="o", markersize=3, label=label
        )
    axis.set(xscale="log", yscale="log", xlabel="bytes")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)
