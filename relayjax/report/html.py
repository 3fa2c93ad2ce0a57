"""The report: one self-contained HTML file that opens offline and runs nothing.

Everything from the ledger, the metrics and the config is text to the template, which escapes it; only our
own figures are let in as markup. The page's content policy forbids scripts and any outside resource.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import jinja2
from markupsafe import Markup

from relayjax.files import write_atomic
from relayjax.history import History
from relayjax.measured import Leg, head_losses, legs, legs_done
from relayjax.mechanism.state import Role, Topology
from relayjax.report import figures, payout_figures
from relayjax.summary import (
    COINS,
    NATS,
    Summary,
    accuracy,
    net_by_round,
    number,
    summarize,
)


@dataclass(frozen=True)
class Picture:
    """A figure with its heading and one sentence on how to read it."""

    title: str
    caption: str
    svg: Markup


def write_report(
    history: History,
    metrics: Sequence[Mapping[str, Any]],
    baselines: Mapping[str, Any] | None,
    *,
    ledger: Mapping[str, str | int],
    path: Path,
) -> None:
    """Writes the report of a run atomically.

    Args:
      history: of the run.
      metrics: one mapping a round, as `Workdir.read_metrics` gives them; any may be missing.
      baselines: `{"pooled": {"accuracy": x}, "alone": [{"accuracy": x}, …]}`, or None.
      ledger: `root` and `origin` of the log and its `size`.
      path: of the file.

    Raises:
      DiskError: the disk refused.
    """
    write_atomic(path, render(history, metrics, baselines, ledger).encode())


def render(
    history: History,
    metrics: Sequence[Mapping[str, Any]],
    baselines: Mapping[str, Any] | None,
    ledger: Mapping[str, str | int],
) -> str:
    """The report as text; see `write_report`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("relayjax.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda share: f"{share:.1%}",
        "coins": lambda amount: f"{amount * COINS:,.2f}",
        "nats": lambda value: f"{value:.4f}".replace("-", "−"),
    }
    summary = summarize(history, metrics, baselines)
    reasons = dict.fromkeys(reason for member in summary.members for reason in member.account.income)
    return environment.get_template("report.html").render(
        summary=summary,
        reasons=list(reasons),
        slashed=any(member.account.slashed for member in summary.members),
        pictures=list(pictures(history, metrics, summary)),
        config=list(flatten(history.genesis.config)),
        rules=type(history.state.rules).__name__,
        ledger=ledger,
    )


def pictures(history: History, metrics: Sequence[Mapping[str, Any]], summary: Summary) -> Iterator[Picture]:
    """The figures that the run has data for, in reading order."""
    names, run = history.state.named(Role.PARTICIPANT), legs(history)
    if not history.rounds or not names:
        return
    braided = bool(summary.braid_rounds)
    compared = summary.pooled is not None or summary.alone is not None
    yield Picture(
        "Learning",
        "Each point is the head after a round"
        + ("; shaded are the braid rounds, in which everybody trains from the same head" * braided)
        + ("; the level lines are what as many steps give without a relay." if compared else "."),
        _progress(history, metrics, summary),
    )
    yield Picture(
        "What each leg did",
        "One cell a leg: blue lowered the validation loss on the round's draw, red raised it"
        + (" (a full column is a braid round)" * braided)
        + "; on skewed data honest legs raise it for a moment, too.",
        _loss_changes(names, len(history.rounds), run),
    )
    yield Picture(
        "Value and payout" if braided else "Payout",
        "Left, by how much each participant's work lowered the loss, measured in the braid rounds; right, "
        "the coins it received for it: a nat earns the same in every round."
        if braided
        else "The coins that each participant received, by what for, and what it forfeited.",
        _contributions(names, summary),
    )
    yield Picture(
        "Lineage",
        "Follow the grey line from the genesis to the newest version: each point is a version in the lane of "
        "whoever trained it.",
        _lineage(history, names, run),
    )
    yield Picture(
        "Coins over time",
        "A curve rises when its participant is paid and falls when it loses a deposit.",
        _coins(history, names),
    )
    if split := time_a_leg(history, metrics):
        yield Picture(
            "Where the time goes",
            "The stages of one leg; observe is the experimenter's look at the test set, which a real relay "
            "does not take.",
            Markup(figures.time_split(split)),
        )


def time_a_leg(history: History, metrics: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Kind of round → stage → milliseconds a leg, median over the rounds, so that compiling is left out."""
    counts = {settled.number: max(1, len(settled.facts.pairs)) for settled in history.rounds}
    kinds = [topology.value for topology in Topology]
    samples: dict[str, dict[str, list[float]]] = {}
    for line in metrics:
        spent, round, kind = line.get("seconds"), line.get("round"), line.get("topology")
        if not isinstance(spent, Mapping) or round not in counts or kind not in kinds:
            continue
        for stage, value in spent.items():
            if (seconds := number(value)) is not None:
                stages = samples.setdefault(str(kind), {})
                stages.setdefault(str(stage), []).append(1000 * max(seconds, 0.0) / counts[round])
    return {kind: {s: median(times) for s, times in stages.items()} for kind, stages in samples.items()}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of nested settings: (dotted path, value as text)."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _progress(history: History, metrics: Sequence[Mapping[str, Any]], summary: Summary) -> Markup:
    ends = legs_done(history)
    seen = {line.get("round"): accuracy(line.get("metrics")) for line in metrics}
    losses = [None if loss is None else loss * NATS for loss in head_losses(history)]
    spans = [
        (begin, end)
        for settled, (begin, end) in zip(history.rounds, pairwise((0, *ends)), strict=True)
        if settled.topology is Topology.BRAID
    ]
    accuracies = [seen.get(settled.number) for settled in history.rounds]
    return Markup(figures.progress(ends, losses, accuracies, spans, summary.pooled, summary.alone))


def _loss_changes(names: Sequence[str], rounds: int, run: Sequence[Leg]) -> Markup:
    changes = [
        (leg.round, leg.trainer, None if leg.change is None else leg.change * NATS, leg.accepted)
        for leg in run
    ]
    return Markup(figures.loss_changes(names, rounds, changes))


def _contributions(names: Sequence[str], summary: Summary) -> Markup:
    members = summary.participants
    return Markup(
        payout_figures.contributions(
            names,
            values={m.name: (m.value.value, m.value.stderr) for m in members if m.value},
            shapley={m.name: (m.shapley.value, m.shapley.stderr) for m in members if m.shapley},
            income={m.name: {r: a * COINS for r, a in m.account.income.items()} for m in members},
            forfeited={m.name: m.account.forfeited * COINS for m in members},
        )
    )


def _lineage(history: History, names: Sequence[str], run: Sequence[Leg]) -> Markup:
    state = history.state
    line = [version.number for version in reversed(state.lineage(state.head.number))]
    versions = [(version.round, version.owners) for version in state.versions]
    refused = [(leg.round, leg.trainer) for leg in run if not leg.accepted]
    return Markup(figures.lineage(names, versions, line, refused))


def _coins(history: History, names: Sequence[str]) -> Markup:
    earned = {name: [amount * COINS for amount in net_by_round(history, name)] for name in names}
    spans = [
        (settled.number - 0.5, settled.number + 0.5)
        for settled in history.rounds
        if settled.topology is Topology.BRAID
    ]
    return Markup(payout_figures.coins(names, earned, spans))
