"""What does a simulated population cost, by participants and by rounds?

    python benchmarks/simulation.py --plot=simulation.png --json=simulation.json      # two minutes on 2 cores

Processor time of one population of `derelayl` with all its draws, after compilation, on one core: the
paper's 5 000 rounds of 256 participants with both engines, then 100 rounds of up to a million participants,
and 256 participants for up to 100 000 rounds. Time that grows linearly has a slope of 1 in logarithmic axes;
the slope is that of the straight line through the points from a hundredth of a second on (least squares).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from relayjax.files import write_atomic
from relayjax.report.style import COLOURS, MUTED, WIDTH, legend_above, saved
from relayjax.report.value_figures import kind_of
from relayjax.simulation.population import play, simulate
from relayjax.simulation.settings import Population

PARTICIPANTS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
ROUNDS = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
SHORT = 0.01
"""Seconds below which a time says more about starting than about growth."""


def main() -> None:
    parser = argparse.ArgumentParser(description="what does a simulated population cost?")
    parser.add_argument("--plot", type=Path, help="draw the times into this file")
    parser.add_argument("--json", type=Path, help="write the times to this file")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "paper": {}}
    for engine in ("numba", "jax"):
        population = Population(repetitions=1)
        simulate(population, engine=engine)  # compiles
        seconds = _least(lambda e=engine, p=population: simulate(p, engine=e), 5)
        figures["paper"][engine] = seconds
        print(f"256 participants, 5,000 rounds, {engine}: {seconds:.3f} s")
    figures["participants"] = _growth(lambda n: Population(participants=n, rounds=100), PARTICIPANTS)
    print(f"time grows with participants to the power of {figures['participants']['slope']:.3f}")
    figures["rounds"] = _growth(lambda rounds: Population(rounds=rounds), ROUNDS)
    print(f"time grows with rounds to the power of {figures['rounds']['slope']:.3f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures["peak_gib"] = peak
    print(f"peak memory {peak:.2f} GiB")
    if options.plot:
        label = "Processor time of a simulated population, by participants and by rounds"
        write_atomic(options.plot, saved(lambda: draw(figures), label, kind_of(options.plot)))
    if options.json:
        write_atomic(options.json, (json.dumps(figures, indent=1) + "\n").encode())


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Of log time over log size."""
    points = [(size, taken) for size, taken in zip(sizes, seconds, strict=True) if taken >= SHORT]
    if len(points) < 2:
        return float("nan")
    across, up = np.log(np.array(points)).T
    return float(np.polyfit(across, up, 1)[0])


def draw(figures: Mapping[str, Any]) -> Figure:
    """Times over participants, and over rounds."""
    figure = Figure(figsize=(WIDTH, 3.6))
    left, right = figure.subplots(1, 2)
    _panel(left, figures["participants"], "participants (100 rounds)")
    _panel(right, figures["rounds"], "rounds (256 participants)")
    return figure


def _panel(axes: Axes, growth: Mapping[str, Any], label: str) -> None:
    sizes, seconds = growth["sizes"], growth["seconds"]
    (measured,) = axes.loglog(
        sizes, seconds, "o-", color=COLOURS[0], label=f"measured, slope {growth['slope']:.2f}"
    )
    proportional = [seconds[-1] * size / sizes[-1] for size in sizes]
    (linear,) = axes.loglog(sizes, proportional, ":", color=MUTED, label="slope 1")
    axes.set_xlabel(label)
    axes.set_ylabel("processor time (s)")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # plain digits: no mathematical text here
    axes.minorticks_off()
    axes.grid(axis="both")
    legend_above(axes, [measured, linear])


def _growth(population: Callable[[int], Population], sizes: Sequence[int]) -> dict[str, Any]:
    seconds = [_cost(population(size)) for size in sizes]
    return {"sizes": list(sizes), "seconds": seconds, "slope": slope(sizes, seconds)}


def _cost(population: Population) -> float:
    times = 2 if population.participants * population.rounds > 10_000_000 else 5
    seconds = _least(lambda: play(population, 1), times)
    print(
        f"{population.participants:,} participants, {population.rounds:,} rounds: {seconds:.3f} s", flush=True
    )
    return seconds


def _least(work: Callable[[], object], times: int) -> float:
    return min(_seconds(work) for _ in range(times))


def _seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


if __name__ == "__main__":
    main()
