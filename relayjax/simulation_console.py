"""What a person sees of `relayjax simulate`: progress, figures beside the paper's, and the files it writes.

S: populations, R: rounds.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from relayjax import backend
from relayjax.bar import bar
from relayjax.errors import ConfigError
from relayjax.files import write_atomic
from relayjax.mechanism.rules import COIN
from relayjax.report.population_figures import CoinCurves, write_population
from relayjax.report.value_figures import kind_of
from relayjax.settings import encode
from relayjax.simulation import paper
from relayjax.simulation.course import Course
from relayjax.simulation.paper import Compared
from relayjax.simulation.settings import Population

_PIPE = 160
"""Characters of a line where the output goes to no terminal."""

MEASURED = ("gains", "gain_mean", "gain_deviation", "success_rate")
"""Settings whose place a live relay's figures take."""


def measured(population: Population, workdir: Path, given: Collection[str], console: Console) -> Population:
    """A population that trains as well as a live relay's participants; says what it takes from there.

    A gain is what a leg took off the validation loss, in nats. Only the order of the models counts in these
    rules, so that the unit makes no difference: gains ten times as large give the same coins.

    Args:
      population: the settings.
      workdir: of the live relay.
      given: names of the settings that somebody chose.
      console: where to print.

    Raises:
      ConfigError: one of `MEASURED` was chosen, too.
      WorkdirError: there is no run, or it has no legs to take anything from.
      IntegrityError: its ledger is wrong.
    """
    if both := [name for name in MEASURED if name in given]:
        raise ConfigError(f"--measured and --config.{both[0]} exclude each other; give one of them")
    found = backend.read_trainings(workdir)
    console.print(
        f"gains of {len(found.gains):,} legs measured in {workdir}: mean {found.mean:.6f}, "
        f"s.d. {found.deviation:.6f} nats; {found.success_rate:.1%} of {found.matched:,} legs were revealed",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    return dataclasses.replace(population, gains=found.gains, success_rate=found.success_rate)


def run(
    population: Population,
    console: Console,
    *,
    engine: str = "numba",
    plot: Path | None = None,
    data: Path | None = None,
) -> None:
    """Simulates populations, showing progress, prints what came of it, and writes the files.

    Args:
      population: the settings.
      console: where to print.
      engine: what computes it; see `backend.simulate`.
      plot: file for the figures, .png or .svg.
      data: file for all figures as JSON.
    """
    if plot:
        kind_of(plot)  # refused before the work, not after it
    if not console.is_terminal:
        console.width = max(console.width, _PIPE)
    with bar("round", console) as progress:
        task = progress.add_task("", total=population.rounds * population.repetitions)
        courses = backend.simulate(population, lambda rounds: progress.advance(task, rounds), engine=engine)
    lasting = [course for course in courses if course.ended is None]
    print_courses(population, courses, lasting, console)
    if plot and lasting:
        shown = np.mean([course.shares[: paper.SHARES_TO] for course in lasting], 0)
        write_population(plot, shown, _curves(lasting), paper.CLASSES)
        console.print(f"plot: {plot}", soft_wrap=True, markup=False)
    if data:
        content = json.dumps(as_json(population, courses, lasting), indent=1, allow_nan=False)
        write_atomic(data, (content + "\n").encode())
        console.print(f"json: {data}", soft_wrap=True, markup=False)


def print_courses(
    population: Population, courses: Sequence[Course], lasting: Sequence[Course], console: Console
) -> None:
    """The tables: shares by version, coins after 100 rounds and at the end."""
    console.print(
        f"{population.participants:,} participants, {population.rounds:,} rounds, "
        f"populations of seeds {population.seeds[0]} to {population.seeds[-1]}",
        soft_wrap=True,
        highlight=False,
    )
    for course in courses:
        if course.ended is not None:
            console.print(
                f"seed {course.seed}: ended in round {course.ended}, nothing being accepted; left out below",
                soft_wrap=True,
                highlight=False,
            )
    if not lasting:
        return
    shares = paper.shares(population, lasting)
    rounds = f"{paper.SHARES_FROM}–{min(population.rounds, paper.SHARES_TO)}"
    if population.rounds < paper.SHARES_FROM:
        rounds = f"1–{population.rounds}"
    console.print(_table(f"participants by newest version, %, rounds {rounds}", shares, 2))
    for number in _shown(population):
        console.print(
            _table(f"coins of a participant, round {number:,}", paper.coins(population, lasting, number), 0)
        )


def as_json(population: Population, courses: Sequence[Course], lasting: Sequence[Course]) -> dict[str, Any]:
    """Everything printed, as JSON values; coins in coins, shares in per cent."""
    written: dict[str, Any] = {
        "population": encode(population),
        "ended": {str(course.seed): course.ended for course in courses if course.ended is not None},
        "coins": {},
    }
    if lasting:
        written["shares"] = [_plain(figure) for figure in paper.shares(population, lasting)]
        for number in _shown(population):
            figures = paper.coins(population, lasting, number)
            written["coins"][str(number)] = [_plain(figure) for figure in figures]
    return written


def _shown(population: Population) -> list[int]:
    """Rounds after which coins are shown."""
    return sorted({number for number in (paper.SHARES_TO, population.rounds) if number <= population.rounds})


def _table(title: str, figures: Sequence[Compared], digits: int) -> Table:
    known = any(figure.paper is not None for figure in figures)
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    headings = ["", "mean", "95 % interval", "lowest seed", "highest seed"]
    for heading in headings + (["paper", "paper's within the seeds'"] if known else []):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for figure in figures:
        half = "" if math.isnan(figure.half) else f"± {figure.half:,.{digits}f}"
        cells = [figure.name, f"{figure.mean:,.{digits}f}", half]
        cells += [f"{bound:,.{digits}f}" for bound in (figure.low, figure.high)]
        if known:
            theirs = "" if figure.paper is None else f"{figure.paper:,.{1 if digits else 0}f}"
            cells += [theirs, {True: "yes", False: "no", None: ""}[figure.inside]]
        table.add_row(*cells)
    return table


def _curves(courses: Sequence[Course]) -> CoinCurves:
    curves = [course.curves for course in courses]
    mean = np.mean([c.mean for c in curves], 0) / COIN
    spread = np.mean([c.deviation for c in curves], 0) / COIN
    low, high = np.min([c.low for c in curves], 0) / COIN, np.max([c.high for c in curves], 0) / COIN
    return CoinCurves(mean, mean - spread, mean + spread, low, high)


def _plain(figure: Compared) -> dict[str, Any]:
    half = None if math.isnan(figure.half) else figure.half
    bounds = {"half": half, "low": figure.low, "high": figure.high, "paper": figure.paper}
    return {"name": figure.name, "mean": figure.mean} | bounds
