"""The randomness of a simulation, drawn by a counter-based generator and handed to the rules as arrays.

Whoever computes the rules, compiled or not, gets the same draws and must end with the same coins.

N: participants, R: rounds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from relayjax.simulation.settings import Population

BLOCKS = 4
"""Blocks of a round, each written by a maintainer: deposits, hashes, test cases, settlement."""


class Draws(NamedTuple):
    """The draws of some rounds.

    Attributes:
      lots: int32 [R, N], ≥ 0; who trains, and who comes first among equal bids: the lowest.
      trained: bool [R, N], whether a training of this participant's gives a model.
      gains: float64 [R, N], what its model is better by than the parent.
      writers: int32 [R, 4], ≥ 0; the maintainer that writes each block, modulo their number.
    """

    lots: np.ndarray
    trained: np.ndarray
    gains: np.ndarray
    writers: np.ndarray


class Source:
    """Draws the rounds of one seed in order; how many at a time makes no difference."""

    def __init__(self, population: Population, seed: int):
        self._population = population
        self._streams = [
            np.random.Generator(np.random.Philox(s)) for s in np.random.SeedSequence(seed).spawn(4)
        ]

    def draw(self, rounds: int) -> Draws:
        """The next rounds' draws."""
        population, shape = self._population, (rounds, self._population.participants)
        lots, trained, gains, writers = self._streams
        if population.gains:
            known = np.array(population.gains)
            gained = known[(gains.random(shape) * len(known)).astype(np.int64)]
        else:
            gained = gains.standard_normal(shape)
            gained *= population.gain_deviation
            gained += population.gain_mean
        return Draws(
            _lots(lots, shape),
            trained.random(shape) < population.success_rate,
            gained,
            _lots(writers, (rounds, BLOCKS)),
        )


def _lots(stream: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Uniform over the integers from 0 to 2³¹ − 1."""
    return stream.integers(0, 2**31, shape, dtype=np.uint32).view(np.int32)
