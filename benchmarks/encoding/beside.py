"""Encoding as 8-bit blocks beside PyTorch and hivemind, each in a process of its own; they take turns."""

from __future__ import annotations

import sys
from statistics import median

from peers import other_python
from peers.runner import Peer, measure, quartiles
from rich.console import Console
from rich.table import Table

OURS = "mxint8 encode"
_HERE = ("copy", OURS)
_ELSEWHERE = {
    "torch": ("torch mxint8 encode", "torch.compile mxint8 encode"),
    "hivemind": ("hivemind blockwise 8-bit",),
}
_CALLS = {"hivemind blockwise 8-bit": 1}
"""Calls of a turn, where they are fewer than others': what is slow needs not be repeated."""


def others(size: int, named: str | None, repeats: int, console: Console) -> dict[str, dict[str, float]]:
    """Measures who is installed.

    Args:
      size: P, values of the vector.
      named: a Python that has PyTorch and hivemind; None: this one.
      repeats: turns.
      console: is told who is missing.

    Returns:
      By way: gigabytes of parameters a second, half the range between quartiles of it, and how many times as
      long as ours it takes. Empty if none of them is installed.
    """
    peers: list[Peer] = []
    for module, ways in _ELSEWHERE.items():
        if python := other_python.find(named, module, console):
            peers += [_peer(way, python, size) for way in ways]
    if not peers:
        return {}
    peers = [_peer(way, sys.executable, size) for way in _HERE] + peers
    found = measure(peers, repeats, together=True)
    seconds = {p.name: [leg / p.spec["calls"] for leg in found[p.name].legs] for p in peers}
    figures: dict[str, dict[str, float]] = {}
    for way, times in seconds.items():
        low, middle, high = quartiles(times)
        ratios = [time / ours for time, ours in zip(times, seconds[OURS], strict=True)]
        speed = 4 * size / middle / 1e9
        figures[way] = {
            "GB/s": speed,
            "spread": speed * (high - low) / 2 / middle,
            "times ours": median(ratios),
        }
    return figures


def show(figures: dict[str, dict[str, float]], size: int, machine: str, console: Console) -> None:
    """Prints how the others do."""
    table = Table("", "GB/s", "× copy", "takes × ours", title=f"{4 * size / 1e6:g} MB on {machine}")
    for way, row in figures.items():
        relative = row["GB/s"] / figures["copy"]["GB/s"]
        speed = f"{row['GB/s']:.3g} ± {row['spread']:.2g}"
        table.add_row(way, speed, f"{relative:.3f}", f"{row['times ours']:.3g}")
    console.print(table)


def _peer(way: str, python: str, size: int) -> Peer:
    return Peer(way, "encoders", python, {"way": way, "size": size, "calls": _CALLS.get(way, 5)})
