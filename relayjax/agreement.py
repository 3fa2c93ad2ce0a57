"""How well rankings of the participants agree: by value, by pay, by path value, by retraining.

N: participants.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from relayjax.appraisal import Appraisal
    from relayjax.retraining import LeaveOneOut


def agreements(found: Appraisal, lost: LeaveOneOut | None = None) -> dict[str, dict[str, float]]:
    """Rank correlations of value, pay and path value.

    Args:
      found: the values, beside what was paid.
      lost: what retraining says.

    Returns:
      `value`, `paid` and `path` → their correlation with the `value`, and with what the relay lost without
      each participant, by the loss at its end (`final`) and by the mean over it (`mean`).
    """
    known = {"value": found.values, "paid": found.coins, "path": found.path}
    against = {"value": found.values}
    if lost:
        against |= {"final": lost.final.mean(axis=0), "mean": lost.mean.mean(axis=0)}
    return {
        of: {name: spearman(known[of], figures) for name, figures in against.items() if name != of}
        for of in known
    }


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Rank correlation; equal figures share their mean rank. NaN where all figures of one side are equal.

    Args:
      first, second: float64 [N].
    """
    ranks = np.stack([_ranks(first), _ranks(second)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    scale = math.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float(ranks[0] @ ranks[1]) / scale if scale else math.nan


def _ranks(figures: np.ndarray) -> np.ndarray:
    """From 1 for the smallest, float64 [N]."""
    _, place_of, often = np.unique(figures, return_inverse=True, return_counts=True)
    return (often.cumsum() - (often - 1) / 2)[place_of]
