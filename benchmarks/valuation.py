"""How near estimators of value come with so many evaluations, beside shapiq, and how fast, beside pyDVL.

    python benchmarks/valuation.py                                    # without peers; minutes on 2 cores
    python benchmarks/valuation.py --shapiq_python=/other/bin/python --pydvl_python=/another/bin/python
    python benchmarks/valuation.py --quick                            # does it run?

Peers run under Pythons of their own (shapiq 1.4; pyDVL 0.10 wants NumPy 1) and are left out if none is named.

Error: games all of whose coalitions are known (`worth/games.py`), so that the truth is exact. Every
estimator and shapiq get the same budgets of distinct coalitions and the same keys. shapiq is given means over
the validation examples; RelayJAX's estimators see every example's own figure, which costs no evaluation and
which the Gaussian process learns from: it is also shown with the means alone. "beside" is what an estimate
itself takes with the largest budget, evaluations left out.

Speed: permutation sampling of one game by both, taking turns; ratios are of one turn. pyDVL gets a utility in
NumPy written for speed, once with one thread of BLAS and once with all.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

# The estimators' matrices are small: threads of linear algebra would wait for each other, on a busy machine
# for most of the time. pyDVL is told its own number.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # those who take turns share an accelerator

import jax
from rich.console import Console
from rich.progress import Progress
from worth import errors, games, many, report, speed
from worth.effort import QUICK, Effort
from worth.goals import goals
from worth.plot import draw


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="how near do estimators of value come, and how fast?")
    parser.add_argument("--shapiq_python", help="a Python that has shapiq")
    parser.add_argument("--pydvl_python", help="a Python that has pyDVL")
    parser.add_argument("--keys", type=int, help=f"of every estimator and budget; by default {Effort.keys}")
    parser.add_argument("--seed", type=int, default=0, help="of data, models and batches")
    parser.add_argument("--quick", action="store_true", help="small games, to see that everything runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw them into this file")
    return parser.parse_args()


def measure(arguments: argparse.Namespace, effort: Effort, console: Console) -> dict[str, Any]:
    """Measures, and prints every table once it is known."""
    figures: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "device": jax.devices()[0].device_kind,
        "versions": {name: metadata.version(name) for name in ("relayjax", "jax", "numpy")},
        "effort": dataclasses.asdict(effort) | {"seed": arguments.seed},
        "load_before": os.getloadavg(),
    }
    begin = time.perf_counter()
    # Times first: nothing else of this program is under way then.
    figures["speed"] = {}
    for name in speed.SETTINGS:
        rows = speed.beside_pydvl(name, arguments.pydvl_python, effort.evaluations, effort.turns)
        figures["speed"][name] = rows
        console.print(report.speed_table(name, rows))
    figures["legs"] = speed.legs(effort.legs)
    console.print(report.legs_table(effort.legs, figures["legs"]))
    siblings = games.siblings(effort.many, 0, arguments.seed)
    figures["many"] = many.measure(siblings, effort)
    console.print(report.many_table(figures["many"]))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training, tables", total=None)
        known = errors.tabulate(effort, arguments.seed)
        progress.update(task, total=errors.steps(known), description="estimators")
        figures["versions"]["shapiq"], figures["games"] = errors.measure(
            known, effort, arguments.shapiq_python, lambda: progress.advance(task)
        )
    for game in figures["games"].values():
        console.print(report.game_table(game, effort.budgets, effort.keys))
        console.print(report.others_table(game, effort.budgets))
    figures |= {"seconds": time.perf_counter() - begin, "load_after": os.getloadavg()}
    return figures


def main() -> None:
    arguments, console = parse(), Console(width=None if sys.stdout.isatty() else 110)
    effort = QUICK if arguments.quick else Effort()
    if arguments.keys is not None:
        effort = dataclasses.replace(effort, keys=arguments.keys)
    for option, peer in (("shapiq_python", "shapiq"), ("pydvl_python", "pyDVL")):
        if not getattr(arguments, option):
            console.print(f"[yellow]{peer}'s rows are left out: name a Python that has it with --{option}.")
    figures = measure(arguments, effort, console)
    if not arguments.quick:
        console.print(report.goals_table(goals(figures)))
    before, after = figures["load_before"][0], figures["load_after"][0]
    console.print(
        f"{figures['seconds']:.0f} s; load of the machine {before:.1f} before, {after:.1f} after, "
        f"of {os.cpu_count()} cores"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if arguments.plot:
        draw(figures, arguments.plot)


if __name__ == "__main__":
    main()
