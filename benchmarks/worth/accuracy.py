"""How near estimators come to known values with so many evaluations, and whether they know it.

Shapes: N participants, K keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from scipy.stats import rankdata

from relayjax.errors import ConfigError
from relayjax.valuation import ESTIMATORS, Estimate, Estimator
from worth import reference
from worth.games import Tabulated

_OTHERS = ("banzhaf", "leave-one-out", "aumann-shapley")

SHAPLEY = {name: found for name, found in ESTIMATORS.items() if name not in ("exact", *_OTHERS)}
"""Estimators of Shapley values from some of the coalitions."""

LEARNT, FROM_MEANS = "gaussian-process", "gaussian-process, means"
"""What learns from every example's own figure; and the same given no more than a peer is, the means."""

PEER = "shapiq KernelSHAP"
"""With pairs."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """An estimator at a budget.

    Attributes:
      error: first quartile, median and third quartile over the keys of ‖estimate − truth‖ / ‖truth‖.
      within: share of values within two of their sampling standard errors; None if none are given.
      evaluations: distinct coalitions evaluated, the most of any key.
      seconds: median time that an estimate takes beside evaluating.
    """

    error: tuple[float, float, float]
    within: float | None
    evaluations: int
    seconds: float


def compare(
    estimators: dict[str, Estimator],
    game: Tabulated,
    truth: np.ndarray,
    budgets: Sequence[int],
    keys: int,
    done: Callable[[], None],
) -> dict[str, dict[int, Cell]]:
    """Every estimator at every budget that suffices it, over keys 0, 1, …

    Args:
      estimators: by name.
      game: what is valued.
      truth: what is estimated, float64 [N].
      budgets: most evaluations.
      keys: K.
      done: is called after every estimator.
    """
    found: dict[str, dict[int, Cell]] = {}
    for name, estimate in estimators.items():
        found[name] = {}
        for budget in budgets:
            try:
                timed = [_timed(estimate, game, key, budget) for key in range(keys)]
            except ConfigError:  # the budget does not suffice, or the game cannot be differentiated
                continue
            found[name][budget] = _cell(timed, truth)
        done()
    return found


def cell_of_peer(values: np.ndarray, evaluations: int, seconds: float, truth: np.ndarray) -> Cell:
    """What a peer found without a standard error, float64 [K, N]."""
    return Cell(_spread([error(one, truth) for one in values]), None, evaluations, seconds)


def other_values(
    game: Tabulated, budgets: Sequence[int], keys: int, points: int, done: Callable[[], None]
) -> dict[str, Row]:
    """Values that are not Shapley values: how near to their own definition, and how near to Shapley's.

    Args:
      game, budgets, keys, done: as in `compare`.
      points: of the quadrature that Aumann–Shapley values are compared with.

    Returns:
      By name `cells`, as `compare` gives them, and of the true values `from_shapley` and `rank`.
    """
    truths = {
        "banzhaf": reference.banzhaf_values(game),
        "leave-one-out": reference.leave_one_out_values(game),
    }
    estimators = {name: ESTIMATORS[name] for name in truths}
    if (siblings := game.siblings) is not None:
        truths["aumann-shapley"] = reference.aumann_shapley_values(siblings, points)
        along = ESTIMATORS["aumann-shapley"]
        estimators["aumann-shapley"] = lambda game, key, *, budget: along(siblings.game, key, budget=budget)
    shapley, found = reference.shapley_values(game), {}
    for name, estimate in estimators.items():
        cells = compare({name: estimate}, game, truths[name], budgets, keys if name == "banzhaf" else 1, done)
        found[name] = {
            "cells": cells[name],
            "from_shapley": error(truths[name], shapley),
            "rank": rank(truths[name], shapley),
        }
    return found


def error(values: np.ndarray, truth: np.ndarray) -> float:
    """‖values − truth‖ / ‖truth‖; without the divisor where that is 0."""
    return float(np.linalg.norm(values - truth) / (np.linalg.norm(truth) or 1))


def rank(values: np.ndarray, truth: np.ndarray) -> float | None:
    """Spearman's rank correlation; None where all rank alike."""
    if np.ptp(values) == 0 or np.ptp(truth) == 0:
        return None
    return float(np.corrcoef(rankdata(values), rankdata(truth))[0, 1])


def _timed(estimate: Estimator, game: Tabulated, key: int, budget: int) -> tuple[Estimate, float]:
    begin = time.perf_counter()
    found = estimate(game, jax.random.key(key), budget=budget)
    return found, time.perf_counter() - begin


def _cell(timed: Sequence[tuple[Estimate, float]], truth: np.ndarray) -> Cell:
    estimates = [one for one, _ in timed]
    # Beyond the sampling error nothing but rounding keeps an exact estimate from the truth.
    room = 1e-12 * np.abs(truth).max()
    within = [np.abs(one.values - truth) <= 2 * one.sampling_stderr + room for one in estimates]
    return Cell(
        _spread([error(one.values, truth) for one in estimates]),
        float(np.mean(within)),
        max(one.evaluations for one in estimates),
        float(np.median([seconds for _, seconds in timed])),
    )


def _spread(errors: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(errors, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)
