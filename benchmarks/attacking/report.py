"""What the attacks brought: verdicts, the table, the figure, and the file that keeps the relays."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from rich.table import Table

from attacking.catalogue import Attack
from attacking.measure import Row
from relayjax.report.style import COLOURS, FAINT, MUTED, saved

COIN = 1e6
"""Micro-coins."""

POINT = 0.01
"""Of accuracy: what an attack may cost."""


@dataclass(frozen=True)
class Outcome:
    """An attack over all seeds.

    Attributes:
      attack: which one.
      earned, honest: coins less endowment, the attacker's and those of the same members when honest, by seed;
        what it is compared with is the mean over the lots.
      refused: rounds in which its work was not accepted, mean over the seeds.
      lost: coins forfeited and slashed, mean over the seeds.
      accuracy, without: of the last head, and of that of the relay to compare with.
    """

    attack: Attack
    earned: tuple[float, ...]
    honest: tuple[float, ...]
    refused: float
    lost: float
    accuracy: tuple[float, ...]
    without: tuple[float, ...]

    @property
    def change(self) -> tuple[float, ...]:
        """Of the accuracy, by seed."""
        return tuple(a - b for a, b in zip(self.accuracy, self.without, strict=True))

    @property
    def pays(self) -> bool:
        """Whether it earns at least as much as honest work, on the mean."""
        return statistics.fmean(self.earned) >= statistics.fmean(self.honest)

    @property
    def harms(self) -> bool:
        """Whether it costs more than a point of accuracy, on the mean."""
        return statistics.fmean(self.change) < -POINT


def outcomes(rows: Sequence[Row], attacks: Sequence[Attack]) -> list[Outcome]:
    """What attacks brought, in their order.

    Args:
      rows: relays of one config.
      attacks: those to look at.
    """
    known: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        known.setdefault((row["relay"], row["seed"]), []).append(row)
    seeds = sorted({row["seed"] for row in rows})
    found = []
    for attack in attacks:
        names = {f"{letter}{number}" for letter, number in attack.earners}

        def total(relay: str, *figures: str, names: set[str] = names) -> list[float]:
            def of(row: Row) -> float:
                return sum(row[figure].get(name, 0) for figure in figures for name in names)

            return [statistics.fmean(map(of, known[relay, seed])) for seed in seeds]

        def accuracy(relay: str) -> tuple[float, ...]:
            return tuple(statistics.fmean(row["accuracy"] for row in known[relay, seed]) for seed in seeds)

        found.append(
            Outcome(
                attack,
                tuple(coins / COIN for coins in total(attack.name, "net")),
                tuple(coins / COIN for coins in total(attack.compared, "net")),
                statistics.fmean(total(attack.name, "refused")),
                statistics.fmean(total(attack.name, "forfeited", "slashed")) / COIN,
                accuracy(attack.name),
                accuracy(attack.without),
            )
        )
    return found


def table(found: Sequence[Outcome], title: str) -> Table:
    """One row for each attack: means, with the seeds' range."""
    columns: dict[str, Callable[[Outcome], str]] = {
        "earned, coins": lambda one: _spread(one.earned, ".1f"),
        "honest": lambda one: _spread(one.honest, ".1f"),
        "refused, rounds": lambda one: f"{one.refused:.1f}",
        "forfeited or slashed": lambda one: f"{one.lost:.1f}",
        "accuracy": lambda one: f"{statistics.fmean(one.accuracy):.4f}",
        "without it": lambda one: f"{statistics.fmean(one.without):.4f}",
        "change, points": lambda one: _spread([100 * change for change in one.change], "+.2f"),
        "": lambda one: ", ".join(word for word, true in (("PAYS", one.pays), ("HARMS", one.harms)) if true),
    }
    made = Table(title=title, title_justify="left")
    made.add_column("attack")
    for heading in columns:
        made.add_column(heading, justify="right" if heading else "left")
    for one in found:
        made.add_row(one.attack.name, *(cell(one) for cell in columns.values()))
    return made


def failures(found: Sequence[Outcome]) -> list[str]:
    """One line for each attack that pays or harms."""
    lines = []
    for one in found:
        earned, honest = statistics.fmean(one.earned), statistics.fmean(one.honest)
        if one.pays:
            lines.append(f"{one.attack.name} earns {earned:.1f} coins, honest work {honest:.1f}")
        if one.harms:
            lines.append(
                f"{one.attack.name} costs {-100 * statistics.fmean(one.change):.2f} points of accuracy"
            )
    return lines


def keep(path: Path, rows: list[Row]) -> list[Row]:
    """Writes the rows and returns all; other relays that the file holds already stay."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else []
    fresh = {_place(row) for row in rows}
    everything = sorted([row for row in known if _place(row) not in fresh] + rows, key=_place)
    path.write_text("[\n" + ",\n".join(map(json.dumps, everything)) + "\n]\n", "utf-8")
    return everything


def draw(found: Sequence[Outcome], path: Path, title: str) -> None:
    """Coins beside those of honest work, and what it does to the accuracy; lines span the seeds."""
    label = "coins that each attack earned beside honest work, and the accuracy it costs"
    path.write_bytes(saved(lambda: _figure(found, title), label, "png"))


def _figure(found: Sequence[Outcome], title: str) -> Figure:
    figure = Figure(figsize=(9.4, 0.27 * len(found) + 1.5))
    coins, points = figure.subplots(1, 2, sharey=True)
    for place, one in enumerate(found):
        colour = COLOURS[1] if one.pays else COLOURS[0]
        shown = (
            (coins, one.honest, place - 0.17, MUTED, "honest" if not place else None),
            (coins, one.earned, place + 0.17, colour, None),
            (points, [100 * c for c in one.change], place, COLOURS[1] if one.harms else COLOURS[0], None),
        )
        for axes, values, y, colour, label in shown:
            axes.plot([min(values), max(values)], [y, y], color=colour, linewidth=1.4)
            axes.plot(statistics.fmean(values), y, "o", markersize=4.5, color=colour, label=label)
    coins.plot([], [], "o-", markersize=4.5, color=COLOURS[0], label="attacker")
    coins.plot([], [], "o-", markersize=4.5, color=COLOURS[1], label="attacker, where it pays or harms")
    coins.set_yticks(range(len(found)), [one.attack.name for one in found])
    coins.invert_yaxis()
    coins.set_xlabel("coins less endowment")
    points.set_xlabel("test accuracy less that without it, points")
    points.axvline(-100 * POINT, color=COLOURS[1], linestyle="--", linewidth=1)
    for axes in (coins, points):
        axes.axvline(0, color=FAINT, zorder=0)
        axes.grid(axis="y")
    coins.set_title(title, loc="left")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _spread(figures: Sequence[float], spec: str) -> str:
    """Mean with the least and the largest."""
    mean, least, most = statistics.fmean(figures), min(figures), max(figures)
    return f"{mean:{spec}} [{least:{spec}}, {most:{spec}}]" if len(figures) > 1 else f"{mean:{spec}}"


def _place(row: Row) -> tuple[str, int, str, int]:
    return row["config"], row["seed"], row["relay"], row["lot"]
