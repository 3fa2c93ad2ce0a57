"""Games for tests: one read from a table, one that tells what was asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from relayjax.valuation import Game


@dataclass
class TableGame:
    """A game read from a table, float64 [2^N, E]; coalition c holds participant i if bit i of c is set."""

    table: np.ndarray

    @classmethod
    def random(cls, seed: int, participants: int, examples: int = 6) -> TableGame:
        """Utilities without any structure, standard normal."""
        table = np.random.default_rng(seed).normal(size=(2**participants, examples))
        table[0] = 0.0
        return cls(table)

    @classmethod
    def smooth(cls, seed: int, participants: int, examples: int = 2) -> TableGame:
        """A concave game of the kind that losses make: 1 − exp of an additive and a pairwise part.

        All examples alike: what error an estimate has is that of its sampling.
        """
        rng = np.random.default_rng(seed)
        present = (np.arange(2**participants)[:, None] >> np.arange(participants) & 1).astype(float)
        pairwise = rng.normal(size=(participants, participants)) / participants**2
        total = present @ rng.uniform(0.5, 1.5, participants) / participants
        worth = 1 - np.exp(-total - np.einsum("ci,ij,cj->c", present, pairwise, present))
        return cls(np.repeat(worth[:, None], examples, axis=1))

    @property
    def participants(self) -> int:
        return len(self.table).bit_length() - 1

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        return self.table[coalitions @ (1 << np.arange(self.participants))]


@dataclass
class Counted:
    """A game that keeps every coalition it is asked for, as bytes, with repeats."""

    game: Game
    asked: list[bytes] = field(default_factory=list)
    calls: int = 0

    @property
    def participants(self) -> int:
        return self.game.participants

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.asked += [coalition.tobytes() for coalition in coalitions]
        return self.game.utility_per_example(coalitions)


@pytest.fixture(scope="session")
def table_game() -> type[TableGame]:
    """The class `TableGame`."""
    return TableGame


@pytest.fixture(scope="session")
def counted() -> type[Counted]:
    """The class `Counted`."""
    return Counted
