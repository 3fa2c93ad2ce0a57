"""What a person sees of `relayjax audit`: progress, what every deviation gains, how far the rules carry."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from relayjax import backend
from relayjax.bar import bar
from relayjax.errors import IncentiveError
from relayjax.files import write_atomic
from relayjax.incentives.audit import Participation, Verdict
from relayjax.incentives.result import Audited
from relayjax.incentives.settings import Assumptions
from relayjax.mechanism.rules import Rules, Schedule
from relayjax.report.incentive_figures import write_gains
from relayjax.report.value_figures import kind_of
from relayjax.settings import encode

_PIPE = 140
"""Characters of a line where the output goes to no terminal."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for beside the table.

    Attributes:
      search: whether to find the smallest deposit and the fewest honest validators.
      plot: file for the figure, .png or .svg.
      data: file for everything as JSON.
      workers: relays played side by side; as many as there are cores without one.
    """

    search: bool = True
    plot: Path | None = None
    data: Path | None = None
    workers: int | None = None


def run(
    schedule: Schedule, rules: Rules, assumptions: Assumptions, wanted: Wanted, console: Console
) -> Audited:
    """Audits rules, showing progress, prints what came of it, and writes the files.

    Args:
      schedule: of the relay.
      rules: to audit.
      assumptions: of how training turns out, what things cost, and how much is played.
      wanted: what else.
      console: where to print.

    Raises:
      IncentiveError: honest members lose, or a deviation pays.
      ConfigError: what is asked for can't be.
    """
    if wanted.plot:
        kind_of(wanted.plot)  # refused before the work, not after it
    if not console.is_terminal:
        console.width = max(console.width, _PIPE)
    with bar("relays", console) as progress:
        task = progress.add_task("", total=None)

        def turn(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        workers = wanted.workers or os.cpu_count() or 1
        found = backend.audit_incentives(
            schedule, rules, assumptions, search=wanted.search, workers=workers, progress=turn
        )
    print_audited(found, console)
    if wanted.plot:
        _draw(found, wanted.plot)
        console.print(f"plot: {wanted.plot}", soft_wrap=True, markup=False)
    if wanted.data:
        content = json.dumps(as_json(schedule, rules, assumptions, found), indent=1, allow_nan=False)
        write_atomic(wanted.data, (content + "\n").encode())
        console.print(f"json: {wanted.data}", soft_wrap=True, markup=False)
    if not found.holds:
        raise IncentiveError(
            f"{', '.join(found.failed)}: do not launch with these rules at these prices; change a rule "
            "(--config.rules.…), or play other assumptions, or more seeds (--assume.…)"
        )
    return found


def print_audited(found: Audited, console: Console) -> None:
    """The tables: who takes part, what deviating gains, how far the rules carry."""
    console.print(_participation(found.participation))
    console.print(_gains("gain over being honest, coins a relay", found.verdicts))
    for line in _findings(found):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    verdict = "IR and IC hold" if found.holds else f"does not hold: {', '.join(found.failed)}"
    console.print(f"[bold]{verdict}[/bold], {found.seeds} seeds", soft_wrap=True, highlight=False)


def as_json(schedule: Schedule, rules: Rules, assumptions: Assumptions, found: Audited) -> dict[str, Any]:
    """Everything printed, as JSON values; amounts in coins."""
    return {
        "relay": encode(schedule),
        "rules": encode(rules),
        "assumptions": encode(assumptions),
        "holds": found.holds,
        "failed": list(found.failed),
        "participation": [vars(one) | {"holds": one.holds} for one in found.participation],
        "deviations": [
            {
                "name": v.case.name,
                "against": v.case.against,
                "honest": v.honest,
                "gain": v.gain,
                "interval": [v.least, v.most],
                "harm": v.harm,
                "holds": v.holds,
            }
            for v in found.verdicts
        ],
        "supply": list(found.supply),
        "free": found.free,
        "deposit": found.deposit,
        "honest_validators": found.honest_validators,
        "leg": found.leg,
    }


def _participation(found: Sequence[Participation]) -> Table:
    table = Table(
        box=SIMPLE_HEAD, title="honest members, utility in coins", title_justify="left", title_style="bold"
    )
    for heading in ("", "mean", "lowest", "lowest, a model being worth nothing", "below 0", "IR"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for one in found:
        figures = [f"{figure:,.1f}" for figure in (one.mean, one.lowest, one.coins)]
        table.add_row(one.role, *figures, f"{one.below:.1%}", _word(one.holds))
    return table


def _gains(title: str, verdicts: Sequence[Verdict]) -> Table:
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for heading in ("", "honest", "gain", "95 % interval", "harm to others", "IC"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for one in verdicts:
        cells = [
            f"{one.honest:,.1f}",
            f"{one.gain:+,.2f}",
            f"{one.least:+,.2f} to {one.most:+,.2f}",
            f"{one.harm:,.1f}",
        ]
        table.add_row(one.case.name, *cells, _word(one.holds))
    return table


def _findings(found: Audited) -> list[str]:
    first, last = found.supply
    lines = [f"supply: {first:,.0f} coins after half of the rounds, {last:,.0f} after all"]
    if found.free:
        lines.append(f"places given for a bid of nothing: {found.free:.1%}")
    if found.margin is not None:
        name, margin = found.margin
        lines.append(f"margin: the best deviation, {name}, gains {margin:+,.2f} coins at most (95 %)")
    lines.append(f"the verdicts that hold do so up to a cost of {found.leg:,.2f} coins a leg")
    if found.deposit is not None:
        lines.append(f"smallest deposit with which no vandalism pays: {found.deposit:,.3f} coins")
    if found.honest_validators is not None:
        few, total = found.honest_validators
        lines.append(f"honest validators needed: {few} of {total} ({few / total:.0%})")
    return lines


def _word(holds: bool) -> str:
    return "holds" if holds else "[bold red]fails[/bold red]"


def _draw(found: Audited, path: Path) -> None:
    shown = found.verdicts
    gains, intervals = np.array([v.gain for v in shown]), np.array([(v.least, v.most) for v in shown])
    write_gains(path, [v.case.name for v in shown], gains, intervals)
