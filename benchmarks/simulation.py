"""What does a simulated population cost, by participants and by rounds?

    python benchmarks/simulation.py --plot=simulation.png      # a minute on 2 cores

Processor time of one population of `derelayl` with all its draws, after compilation, on one core: the
paper's 5 000 rounds of 256 participants with both engines, then 100 rounds of up to a million participants,
and 256 participants for up to 100 000 rounds. Linear growth is a slope of 1 in the plot's logarithmic axes.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from matplotlib.figure import Figure

from relayjax.simulation.population import play, simulate
from relayjax.simulation.settings import Population

PARTICIPANTS = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS = (100, 1_000, 10_000, 100_000)


def main() -> None:
    parser = argparse.ArgumentParser(description="what does a simulated population cost?")
    parser.add_argument("--plot", type=Path, help="draw the times into this file")
    options = parser.parse_args()
    for engine in ("numba", "jax"):
        paper = Population(repetitions=1)
        simulate(paper, engine=engine)  # compiles
        seconds = min(_seconds(lambda e=engine, p=paper: simulate(p, engine=e)) for _ in range(5))
        print(f"256 participants, 5,000 rounds, {engine}: {seconds:.2f} s")
    by_participants = [_cost(Population(participants=n, rounds=100)) for n in PARTICIPANTS]
    by_rounds = [_cost(Population(rounds=rounds)) for rounds in ROUNDS]
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    if options.plot:
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        for axes, xs, ys, label in zip(
            figure.subplots(1, 2),
            (PARTICIPANTS, ROUNDS),
            (by_participants, by_rounds),
            ("participants (100 rounds)", "rounds (256 participants)"),
            strict=True,
        ):
            axes.loglog(xs, ys, "o-", color="#0072B2", label="measured")
            axes.loglog(xs, [ys[-1] * x / xs[-1] for x in xs], ":", color="#6b7280", label="linear")
            axes.set_xlabel(label)
            axes.set_ylabel("processor time (s)")
            axes.legend(frameon=False)
        figure.savefig(options.plot, dpi=150)


def _cost(population: Population) -> float:
    times = 1 if population.participants * population.rounds > 10_000_000 else 3
    seconds = min(_seconds(lambda: play(population, 1)) for _ in range(times))
    print(
        f"{population.participants:,} participants, {population.rounds:,} rounds: {seconds:.2f} s", flush=True
    )
    return seconds


def _seconds(work) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


if __name__ == "__main__":
    main()
