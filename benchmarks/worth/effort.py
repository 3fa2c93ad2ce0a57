"""How much is measured: all of it, or just enough to see that everything runs."""

from __future__ import annotations

from dataclasses import dataclass

BUDGETS = (64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
      keys: of every estimator at every budget.
      participants: of the games that are tabulated.
      retrained: participants of the game of retraining.
      budgets: distinct coalitions.
      points: of quadratures that stand for the truth of Aumann–Shapley values.
      many: siblings of the game that is too large for a table.
      evaluations: spent there by every estimator, and by a valuation whose time is taken.
      of_truth: spent there, on other draws, by the estimate that stands for the truth.
      turns: everybody's, where times are taken.
      legs: valued one after another.
    """

    keys: int = 11
    participants: int = 16
    retrained: int = 10
    budgets: tuple[int, ...] = BUDGETS
    points: int = 2000
    many: int = 64
    evaluations: int = 1024
    of_truth: int = 65_536
    turns: int = 7
    legs: int = 1000


QUICK = Effort(
    keys=3,
    participants=9,
    retrained=8,
    budgets=(64, 256),
    points=200,
    many=24,
    evaluations=160,
    of_truth=2048,
    turns=2,
    legs=50,
)
