"""What the authors' own program gives, and how simulated populations compare with it.

S: populations, R: rounds.

References:
  Duan et al., DeRelayL, arXiv 2605.02935; their program, run unchanged with 256 participants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from relayjax.mechanism.rules import COIN
from relayjax.simulation.course import Course
from relayjax.simulation.settings import Population

CLASSES = ("latest", *(f"−{lag}" for lag in range(1, 11)), "older", "none")
SHARES = (31.5, 25.5, 16.2, 10.1, 6.2, 4.0, 2.5, 1.5, 0.9, 0.6, 0.4, 0.6, 0.0)
"""Per cent of participants by class, mean of rounds 31 to 100."""

SHARES_FROM, SHARES_TO = 31, 100

COINS = {
    100: (777.0, 1_414.0, 0.0, 8_812.0),
    5_000: (1_931_117.0, 521_294.0, 833_571.0, 3_571_281.0),
}
"""Coins of a participant after a round: mean, standard deviation, lowest, highest."""

STATISTICS = ("mean", "standard deviation", "lowest", "highest")


@dataclass(frozen=True)
class Compared:
    """One figure over the populations, beside the authors'.

    Attributes:
      name: of the figure.
      mean: over populations.
      half: half width of the 95 % interval of that mean (Student); NaN for a single population.
      low: of the lowest population.
      high: of the highest.
      paper: the authors' figure; none if these aren't their settings.
    """

    name: str
    mean: float
    half: float
    low: float
    high: float
    paper: float | None

    @property
    def inside(self) -> bool | None:
        """Whether the authors' single run lies within the range of ours."""
        return None if self.paper is None else self.low <= self.paper <= self.high


def is_papers(population: Population) -> bool:
    """Whether the settings are the authors' but for the length and the repetitions."""
    ours = population
    return ours == Population(rounds=ours.rounds, seed=ours.seed, repetitions=ours.repetitions)


def shares(population: Population, courses: Sequence[Course]) -> list[Compared]:
    """Per cent of participants by how far their newest version lies behind the newest there is.

    The mean of rounds 31 to 100, as far as they have been played; of all rounds if there are fewer than 31.
    """
    window = slice(SHARES_FROM - 1 if population.rounds >= SHARES_FROM else 0, SHARES_TO)
    found = 100 * np.array([course.shares[window].mean(0) for course in courses])
    known = is_papers(population) and population.rounds >= SHARES_TO
    return [
        compared(name, found[:, i], SHARES[i] if known else None) for i, name in enumerate(CLASSES)
    ]  # fmt: skip


def coins(population: Population, courses: Sequence[Course], round: int) -> list[Compared]:
    """What participants have after a round, in coins: mean, standard deviation, lowest, highest."""
    row = round - 1
    found = np.array(
        [
            (c.curves.mean[row], c.curves.deviation[row], c.curves.low[row], c.curves.high[row])
            for c in courses
        ]
    )
    known = COINS.get(round) if is_papers(population) else None
    return [
        compared(name, found[:, i] / COIN, known[i] if known else None) for i, name in enumerate(STATISTICS)
    ]


def compared(name: str, figures: np.ndarray, paper: float | None) -> Compared:
    """A figure's mean, interval and range over populations, float64 [S]."""
    count = len(figures)
    half = float("nan")
    if count > 1:
        half = float(stdtrit(count - 1, 0.975) * figures.std(ddof=1) / np.sqrt(count))
    return Compared(name, float(figures.mean()), half, float(figures.min()), float(figures.max()), paper)
