"""What a person sees in the terminal: the progress of a run, its result, and what a check found."""

from __future__ import annotations

import io
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from relayjax import backend
from relayjax.audit import read_ledger
from relayjax.bar import bar
from relayjax.errors import ConfigError
from relayjax.files import write_atomic
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.mechanism.rules import COIN
from relayjax.report.html import write_report as write_html
from relayjax.summary import MemberSummary, Summary
from relayjax.weights import digest
from relayjax.workdir import Workdir

if TYPE_CHECKING:
    from relayjax.config import Config
    from relayjax.relay.events import Event

PROTOCOL = ("encode", "hash", "store", "score", "ledger", "handoff")
"""The stages of a leg besides training itself."""


DIVERGED = 1e6
"""Nats; a rise beyond it stands for a loss that is not finite."""


class RunView:
    """Follows a run's events: a bar in a terminal, a line now and then elsewhere."""

    def __init__(self, rounds: int, done: int, console: Console):
        self.seconds: Counter[str] = Counter()
        self.idle = 0.0
        self._every = max(1, rounds // 20)
        self._console = console
        self.progress = bar("round", console, "{task.fields[trainer]}", "{task.fields[figures]}")
        self._task = self.progress.add_task("", total=rounds, completed=done, trainer="", figures="")

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        from relayjax.relay.events import Settled

        if isinstance(event, Settled):
            trainers = sorted({*event.accepted, *event.refused})
            who = trainers[0] if len(trainers) == 1 else f"{event.topology} of {len(trainers)}"
            figures = _figures(event.loss, event.rises, event.metrics)
            self.seconds.update(event.seconds)
            self.idle += event.idle
            self.progress.update(self._task, completed=event.round, trainer=who, figures=figures)
            if not self._console.is_terminal and event.round % self._every == 0:
                refused = f", refused: {', '.join(event.refused)}" if event.refused else ""
                self._console.print(f"round {event.round}: {who}, {figures}{refused}", soft_wrap=True)


def play(config: Config, path: Path, console: Console, *, with_report: bool, baselines: bool) -> None:
    """Runs a relay to its end, showing its progress, and prints what came of it."""
    with backend.open_run(config, path) as run:
        done, rounds = run.state.round.number - 1, run.state.schedule.rounds
        if done:
            console.print(f"resuming after round {done} of {rounds}")
        view = RunView(rounds, done, console)
        run.subscribe(view)
        with view.progress:
            _play_all(run)
        if baselines:
            with console.status("training pooled and alone, for comparison"):
                run.compare()
    workdir = Workdir(path)
    print_result(workdir, console)
    if view.seconds:
        console.print(_split(view.seconds, view.idle), soft_wrap=True)
    if with_report:
        console.print(f"report: {write_report(workdir)}", soft_wrap=True, markup=False)


def _play_all(run: backend.Run) -> None:
    """Plays to the end; Ctrl-C stops after the present round, a second one at once."""
    stopping: list[int] = []

    def stop(number: int, _: object) -> None:
        if stopping:
            raise KeyboardInterrupt
        stopping.append(number)

    before = signal.signal(signal.SIGINT, stop)
    try:
        while not run.finished:
            run.step(overlap=True, ahead=True)
            if stopping:
                run.flush()
                raise KeyboardInterrupt
        run.flush()
    finally:
        signal.signal(signal.SIGINT, before)


def print_result(workdir: Workdir, console: Console) -> None:
    """The table at a run's end."""
    summary = backend.read_summary(workdir.path)
    title = f"{summary.rounds} rounds, {summary.legs} legs, {summary.versions} versions"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for heading in ("", "legs", "refused", "value, nats", "paid, coins", "net", "licence"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for member in summary.members:
        table.add_row(*_row(member))
    console.print(table)
    if summary.accuracy is not None:
        console.print(f"test accuracy: relay [bold]{summary.accuracy:.3f}[/bold]{_against(summary)}")
    root = ledger_facts(workdir)["root"]
    console.print(f"ledger: {summary.records} entries, root {root}", soft_wrap=True)
    console.print(f"check:  relayjax verify {workdir.path}", soft_wrap=True, markup=False)


def write_report(workdir: Workdir) -> Path:
    """Writes report.html from what the run left; returns its path."""
    past = backend.read_history(workdir.path)
    write_html(
        past,
        workdir.read_metrics(len(past.rounds)),
        workdir.read_baselines(),
        ledger=ledger_facts(workdir),
        path=workdir.report,
    )
    return workdir.report


def ledger_facts(workdir: Workdir) -> dict[str, str | int]:
    """Origin, size and Merkle root of a run's log."""
    ledger = read_ledger(workdir)
    root = Tree([leaf_hash(entry) for entry in ledger.entries]).root().hex()
    return {"origin": ledger.origin, "size": len(ledger.entries), "root": root}


def print_verified(verified: backend.Verified, console: Console) -> None:
    """What a check found right."""
    audit, again = verified.audit, verified.rescore
    signed = f"{len(audit.history.records)} entries, each signed, in one chain, every transition allowed"
    console.print(f"ledger     {audit.origin}: {signed}", soft_wrap=True)
    console.print(f"log key    {audit.log_key}", soft_wrap=True)
    console.print(f"root       {audit.root}", soft_wrap=True)
    console.print(f"artefacts  {audit.artefacts} sealed, all as their manifests say")
    if audit.opened:
        console.print(
            f"opened     {audit.opened}, all as the ledger says; {audit.weights} versions recomputed"
        )
    else:
        console.print("opened     none: give a licence holder's key with --key to check what is sealed")
    if again:
        found = f"{again.scores} scores and {again.values} values recomputed"
        console.print(f"rescored   {found}, largest difference {again.largest} micro-nats", soft_wrap=True)
    sealed = audit.artefacts and not audit.opened
    console.print(f"[bold green]verified[/bold green]{', except what is sealed' if sealed else ''}")


def print_weights(weights: Mapping[str, np.ndarray], out: str | None, console: Console) -> None:
    """Lists opened weights, and writes them to an .npz or .safetensors file if asked to.

    Their digest is what `config.initial` wants to know of a file.
    """
    for name, array in weights.items():
        console.print(f"{name:<28} {array.dtype}{list(array.shape)}", markup=False)
    if out:
        _write_weights(Path(out), weights)
        console.print(f"written to {out}", soft_wrap=True, markup=False)
        theta = np.concatenate([array.ravel() for array in weights.values()])
        console.print(f"digest {digest(theta)}", soft_wrap=True, markup=False)


def _write_weights(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Writes weights for whoever runs the command alone: they are what licences are for."""
    if path.suffix == ".safetensors":
        from relayjax.learning.interchange import save_weights

        save_weights(path, weights, {"format": "flax"}, mode=0o600)
    elif path.suffix == ".npz":
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **weights)
        write_atomic(path, buffer.getvalue(), mode=0o600)
    else:
        raise ConfigError(f"--out={path}: must end in .npz (NumPy) or .safetensors")


def _figures(loss: float | None, rises: tuple[tuple[str, float], ...], metrics: Mapping[str, float]) -> str:
    change = f" ({rises[0][1]:+.3f})" if len(rises) == 1 and rises[0][1] < DIVERGED else ""
    shown = "".join(f", {name} {value:.3f}" for name, value in metrics.items())
    return f"loss {loss:.3f}{change}{shown}" if loss is not None else f"nothing to score{shown}"


def _split(seconds: Mapping[str, float], idle: float) -> str:
    """Where the time of the legs went; much of what is not training is done meanwhile."""
    train, protocol = seconds["train"], sum(seconds[stage] for stage in PROTOCOL)
    parts = ", ".join(f"{stage} {seconds[stage]:.1f}" for stage in PROTOCOL)
    share = f"{protocol / train:.2f} of it" if train else "no training"
    return (
        f"time: training {train:.1f} s, everything else of the legs {protocol:.1f} s ({share}: {parts}); "
        f"valuation {seconds['value']:.1f} s, test set {seconds['observe']:.1f} s; "
        f"{idle:.1f} s in which nobody trained"
    )


def _against(summary: Summary) -> str:
    """The baselines' accuracies, as far as they are known."""
    known = (("pooled", summary.pooled), ("alone", summary.alone))
    return "".join(f", {name} {figure:.3f}" for name, figure in known if figure is not None)


def _row(member: MemberSummary) -> tuple[str, ...]:
    value = f"{member.value.value:.3f} ± {member.value.stderr:.3f}" if member.value else ""
    licence = "none" if member.licence is None else f"≤ {member.licence}"
    legs = (str(member.legs), str(member.refused)) if member.legs else ("", "")
    coins = (f"{amount / COIN:,.2f}" for amount in (member.account.earned, member.account.net))
    return member.name, *legs, value, *coins, licence
