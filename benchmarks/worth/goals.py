"""What was aimed at, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worth.accuracy import FROM_MEANS, PEER
from worth.speed import OURS

ERRORS = {256: 0.003, 1024: 0.001}
"""Budget → largest relative error of the best estimator on digits."""

SPEEDS = {"digits, 500 rows": 2.5, "digits, 64 rows": 5.0, "1 024 inputs, 500 rows": 10.0}
"""Setting → how many times faster than pyDVL an evaluation should be."""


@dataclass(frozen=True)
class Goal:
    """One figure.

    Attributes:
      what: is measured.
      measured: the figure, a median where there are several.
      limit: where it should lie.
      least: whether the limit is the least it should be, or the most.
    """

    what: str
    measured: float
    limit: float
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether it lies there."""
        return self.measured >= self.limit if self.least else self.measured <= self.limit


def goals(figures: dict[str, Any]) -> Iterator[Goal]:
    """Those that a run has figures for."""
    for game in figures["games"].values():
        if "aumann-shapley" in game["others"]:
            yield from _of_game(game)
    if many := figures["many"]:
        what = f"{many['participants']} siblings: Aumann–Shapley"
        shapley = next(row for row in many["rows"] if row["value"] == "aumann-shapley")
        for against, row in (("a fine quadrature", many["own"]), ("Shapley values", shapley)):
            yield Goal(f"{what}, error from {against}", row["error"], 0.01)
            yield Goal(f"{what}, rank beside {against}", row["rank"], 0.999, least=True)
    for name, rows in figures["speed"].items():
        # Of pyDVL with one thread and with several, whichever is faster.
        ratios = [row["over_ours"][1] for peer, row in rows.items() if peer.startswith("pyDVL")]
        if ratios:
            yield Goal(f"{name}: time of pyDVL / {OURS}", min(ratios), SPEEDS[name], least=True)


def _of_game(game: dict[str, Any]) -> Iterator[Goal]:
    for budget, limit in ERRORS.items():
        errors = {
            name: cells[budget]["error"][1] for name, cells in game["estimators"].items() if budget in cells
        }
        peer = errors.pop(PEER, None)
        if not errors:
            continue
        best = min(errors, key=errors.__getitem__)
        what = f"{game['title']}, at {budget}: {best}"
        yield Goal(what, errors[best], limit)
        if peer is not None:
            yield Goal(f"{what} / {PEER}", errors[best] / peer, 1.0)
            if FROM_MEANS in errors:
                what = f"{game['title']}, at {budget}: {FROM_MEANS} / {PEER}"
                yield Goal(what, errors[FROM_MEANS] / peer, 1.0)
