"""Errors of every estimator on every game, beside shapiq where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from worth import accuracy, games, reference
from worth.accuracy import FROM_MEANS, LEARNT, PEER, SHAPLEY
from worth.beside_shapiq import shapiq_values
from worth.effort import Effort

Known = dict[str, tuple[str, games.Tabulated]]
"""Title and table of every game."""


def tabulate(effort: Effort, seed: int) -> Known:
    """Trains and evaluates all there is to know."""
    found = {}
    for laps, title in ((0, "digits, siblings of the first head"), (3, "digits, siblings after 3 laps")):
        siblings = games.siblings(effort.participants, laps, seed)
        found[f"digits-{laps}"] = title, games.tabulated(siblings.game, siblings)
    found["retraining"] = "digits, a lap retrained", games.tabulated(games.retraining(effort.retrained, seed))
    found["votes"] = "votes by seats", games.tabulated(games.votes(effort.participants, seed))
    return found


def steps(known: Known) -> int:
    """How often `measure` calls `done`."""
    tables = [game for _, game in known.values()]
    return sum(len(SHAPLEY) + 2 + bool(game.siblings) + (game.table.shape[1] > 2) for game in tables)


def measure(
    known: Known, effort: Effort, python: str | None, done: Callable[[], None]
) -> tuple[str | None, dict[str, Any]]:
    """Figures of every game.

    Args:
      known: the games.
      effort: budgets and keys.
      python: that has shapiq, or None.
      done: is called after every estimator.

    Returns:
      shapiq's version; and by game its `title`, `participants`, `examples`, `worth` of all together, and the
      cells of `estimators` and `others`.
    """
    version, peer = None, {}
    if python:
        tables = {name: game.utilities for name, (_, game) in known.items()}
        version, peer = shapiq_values(python, tables, effort.budgets, effort.keys)
    found: dict[str, Any] = {}
    for name, (title, game) in known.items():
        truth = reference.shapley_values(game)
        cells = accuracy.compare(SHAPLEY, game, truth, effort.budgets, effort.keys, done)
        if game.table.shape[1] > 2:
            alone = {FROM_MEANS: SHAPLEY[LEARNT]}
            cells |= accuracy.compare(alone, game.means(), truth, effort.budgets, effort.keys, done)
        if python:
            cells[PEER] = {
                budget: accuracy.cell_of_peer(
                    answer["values"], answer["evaluations"], answer["seconds"], truth
                )
                for budget, answer in peer[name].items()
            }
        others = accuracy.other_values(game, effort.budgets, effort.keys, effort.points, done)
        found[name] = {
            "title": title,
            "participants": game.participants,
            "examples": game.table.shape[1],
            "worth": float(game.utilities[-1]),
            "estimators": {kind: _plain(row) for kind, row in cells.items()},
            "others": {kind: row | {"cells": _plain(row["cells"])} for kind, row in others.items()},
        }
    return version, found


def _plain(cells: dict[int, accuracy.Cell]) -> dict[int, dict[str, Any]]:
    return {budget: asdict(cell) for budget, cell in cells.items()}
