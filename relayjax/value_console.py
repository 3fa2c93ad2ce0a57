"""What a person sees of `relayjax value`: progress, the table of values, and the files it writes.

N: participants, R: repetitions.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from relayjax import backend
from relayjax.agreement import agreements
from relayjax.bar import bar
from relayjax.files import write_atomic
from relayjax.measured import NATS

if TYPE_CHECKING:
    from relayjax.appraisal import Appraisal, Measure
    from relayjax.config import Config
    from relayjax.identity import Keys
    from relayjax.retraining import LeaveOneOut, Retraining

INTERVAL = 1.96
"""Standard errors on each side of a value, between which the true one lies 95 times of 100."""

_ROUNDS = 6
"""Braid rounds that get columns of their own."""

_PIPE = 160
"""Characters of a line where the output goes to no terminal."""


@dataclass(frozen=True)
class Wanted:
    """What is to be done besides printing the values.

    Attributes:
      plot: file to draw them in, .png or .svg.
      json: file to write them to.
      repeats: retrainings without each participant, to compare the values with; 0 is none.
    """

    plot: Path | None = None
    json: Path | None = None
    repeats: int = 0


def value(
    path: Path,
    measure: Measure,
    wanted: Wanted,
    console: Console,
    *,
    keys: Keys | None = None,
    config: Config | None = None,
) -> None:
    """Values a run's braid rounds, showing progress, prints what came of it, and writes the files."""
    if wanted.plot:
        from relayjax.report.value_figures import kind_of

        kind_of(wanted.plot)  # refused before the work, not after it
    if not console.is_terminal:
        console.width = max(console.width, _PIPE)
    found = _valued(path, measure, keys, config, console)
    lost = None
    if wanted.repeats:
        lost = _retrained(backend.retraining(path, config=config), wanted.repeats, console)
    print_values(found, lost, console)
    if wanted.plot:
        _draw(wanted.plot, found, lost)
        console.print(f"plot: {wanted.plot}", soft_wrap=True, markup=False)
    if wanted.json:
        content = json.dumps(as_json(found, lost), indent=1, allow_nan=False)
        write_atomic(wanted.json, (content + "\n").encode())
        console.print(f"json: {wanted.json}", soft_wrap=True, markup=False)


def print_values(found: Appraisal, lost: LeaveOneOut | None, console: Console) -> None:
    """The table of values, and how well they agree with what else is known."""
    table = _table(found, lost, by_round=1 < len(found.rounds) <= _ROUNDS)
    if Measurement.get(console, console.options.update(width=10_000), table).maximum > console.width:
        table = _table(found, lost, by_round=False)
    console.print(table)
    total, unit = float(found.values.sum()), _unit(found)
    short = _signed(round(total - found.together, 4) + 0.0, 4)
    console.print(
        f"sum of values {total:.4f}, all together {found.together:.4f} {unit} (difference {short})",
        soft_wrap=True,
    )
    for line in _agreement_lines(found, lost):
        console.print(line, soft_wrap=True)
    if lost:
        same = (
            "ended with the run's own head" if lost.reproduced else "ended with another head than the run's"
        )
        console.print(f"retrained with everybody, the relay {same}", soft_wrap=True)


def as_json(found: Appraisal, lost: LeaveOneOut | None) -> dict[str, Any]:
    """Everything, as JSON values: values in units of the metric, losses in nats, pay in coins."""

    def by_name(figures: np.ndarray) -> dict[str, float]:
        return dict(zip(found.participants, figures.tolist(), strict=True))

    measure = found.measure
    written: dict[str, Any] = {
        "method": measure.chosen,
        "metric": measure.metric,
        "examples": measure.examples,
        "budget": measure.budget,
        "target_stderr": measure.target_stderr,
        "values": by_name(found.values),
        "stderr": by_name(found.stderr),
        "path": by_name(found.path),
        "paid": {reason: by_name(coins) for reason, coins in found.paid.items()},
        "together": found.together,
        "agreement": {
            of: {name: _or_none(rank) for name, rank in ranks.items()}
            for of, ranks in agreements(found, lost).items()
        },
        "rounds": [
            {
                "round": valued.number,
                "method": valued.estimate.method,
                "examples": len(valued.examples),
                "evaluations": valued.estimate.evaluations,
                "together": valued.together,
                "values": dict(zip(valued.trainers, valued.estimate.values.tolist(), strict=True)),
                "stderr": dict(zip(valued.trainers, valued.estimate.stderr.tolist(), strict=True)),
            }
            for valued in found.rounds
        ],
        "legs": [
            {
                "round": leg.round,
                "topology": leg.topology.value,
                "trainer": leg.trainer,
                "value": None if leg.change is None else -leg.change * NATS,
                "accepted": leg.accepted,
            }
            for leg in found.legs
        ],
    }
    if lost:
        written["retrained"] = {
            "reproduced": lost.reproduced,
            "final": [by_name(row) for row in lost.final],
            "mean": [by_name(row) for row in lost.mean],
        }
    return written


def _valued(
    path: Path, measure: Measure, keys: Keys | None, config: Config | None, console: Console
) -> Appraisal:
    with bar("braid round", console, "standard error {task.fields[figure]}", transient=True) as progress:
        task = progress.add_task("", total=None, figure="…")

        def tell(done: int, rounds: int, stderr: float) -> None:
            figure = "…" if math.isnan(stderr) else f"{stderr:.4f}"
            progress.update(task, completed=done, total=rounds, figure=figure)

        return backend.value(path, measure, keys=keys, config=config, progress=tell)


def _retrained(retraining: Retraining, repeats: int, console: Console) -> LeaveOneOut:
    relays = [(), *((name,) for name in retraining.participants)]
    legs = repeats * sum(retraining.legs(absent) for absent in relays)
    with console.status("timing a leg"):
        seconds = legs * retraining.seconds_a_leg()
    length = f"{max(seconds, 1):.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    console.print(f"retraining {repeats * len(relays)} relays, {legs} legs: about {length}", soft_wrap=True)
    with bar("leg", console, "", transient=True) as progress:
        task = progress.add_task("", total=legs)
        return retraining.leave_one_out(repeats, lambda: progress.advance(task))


def _table(found: Appraisal, lost: LeaveOneOut | None, *, by_round: bool) -> Table:
    names, rows = found.participants, found.rounds if by_round else ()
    values, halves, coins = found.values, INTERVAL * found.stderr, found.coins
    royalty = found.paid.get("royalty", np.zeros(len(names)))
    ranks = np.argsort(np.argsort(-values, kind="stable"))
    table = Table(title=_how(found), title_justify="left", box=SIMPLE_HEAD)
    headings = ["", "rank", f"value, {_unit(found)}", *(f"round {valued.number}" for valued in rows)]
    headings += ["path, nats", "paid, coins", "of it royalty"]
    columns = [names, [str(rank + 1) for rank in ranks], _with(values, halves)]
    columns += [
        [_signed(one) for one in found.of_round(valued, valued.estimate.values, math.nan)] for valued in rows
    ]
    columns += [[_signed(one) for one in found.path], *([f"{c:,.2f}" for c in of] for of in (coins, royalty))]
    for label, mean, half in _lost(lost):
        headings.append(f"without it, {label}")
        columns.append(_with(mean, half))
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    return table


def _how(found: Appraisal) -> str:
    """What was measured, in a line."""
    measure, sizes = found.measure, sorted({len(valued.examples) for valued in found.rounds})
    count = "–".join(str(size) for size in dict.fromkeys((sizes[0], sizes[-1])))
    which = {
        "drawn": f"each round's {count} drawn examples",
        "validation": f"all {count} validation examples",
    }
    methods = " and ".join(dict.fromkeys(valued.estimate.method for valued in found.rounds))
    rounds = f"{len(found.rounds)} braid round{'s' * (len(found.rounds) > 1)}"
    evaluations = sum(valued.estimate.evaluations for valued in found.rounds)
    return f"{methods} over {rounds}, on {which[measure.examples]}, {evaluations:,} evaluations"


def _agreement_lines(found: Appraisal, lost: LeaveOneOut | None) -> list[str]:
    ranks = agreements(found, lost)
    lines = [f"rank agreement (Spearman) of value and paid: {_signed(ranks['paid']['value'], 2)}"]
    if lost:
        for key, label in (("final", "the loss at the end"), ("mean", "the mean loss over the relay")):
            each = ", ".join(f"{of} {_signed(ranks[of][key], 2)}" for of in ("value", "paid", "path"))
            lines.append(f"with retraining by {label}: {each}")
    return lines


def _lost(lost: LeaveOneOut | None) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(label, what was lost, half width of its interval) by each outcome, float64 [N], nats."""
    if not lost:
        return []
    found = []
    for label, figures in (("end", lost.final), ("mean", lost.mean)):
        half = np.full(len(lost.participants), math.nan)
        if lost.repeats > 1:
            half = INTERVAL * figures.std(axis=0, ddof=1) / math.sqrt(lost.repeats)
        found.append((label, figures.mean(axis=0), half))
    return found


def _draw(path: Path, found: Appraisal, lost: LeaveOneOut | None) -> None:
    from relayjax.report.value_figures import write_values

    ranks = agreements(found, lost)
    notes = [
        f"{found.measure.chosen}, {len(found.rounds)} braid rounds",
        f"rank agreement with value {_signed(ranks['paid']['value'], 2)}",
    ]
    if lost:
        both = " and ".join(_signed(ranks["value"][key], 2) for key in ("final", "mean"))
        notes.append(f"rank agreement with value {both}")
    labels = {"end": "loss at the end", "mean": "mean loss"}
    write_values(
        path,
        found.participants,
        (found.values, INTERVAL * found.stderr),
        found.paid,
        {labels[label]: (mean, half) for label, mean, half in _lost(lost)},
        unit=_unit(found),
        notes=notes,
    )


def _unit(found: Appraisal) -> str:
    return "nats" if found.measure.metric == "loss" else found.measure.metric


def _with(figures: np.ndarray, halves: np.ndarray) -> list[str]:
    """Figures with the half widths of their intervals, where they have one."""
    return [
        _signed(figure) + (f" ± {half:.3f}" if math.isfinite(half) else "")
        for figure, half in zip(figures, halves, strict=True)
    ]


def _signed(figure: float, digits: int = 3) -> str:
    return "–" if math.isnan(figure) else f"{figure:.{digits}f}".replace("-", "−")


def _or_none(figure: float) -> float | None:
    return None if math.isnan(figure) else figure
