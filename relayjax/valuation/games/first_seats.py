"""A game among the first of its participants: the others stay away, so that nothing compiles for fewer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relayjax.valuation.games.base import Game, checked


@dataclass(frozen=True, eq=False)
class FirstSeats:
    """The game that the first participants of another one play among themselves.

    Attributes:
      game: of all.
      participants: how many of them play.
    """

    game: Game
    participants: int

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        """Worth of each coalition (bool [C, `participants`]) on each example, in nats: float [C, E].

        Raises:
          ConfigError, DataError: as the game does.
        """
        coalitions = checked(coalitions, self.participants)
        away = np.zeros((len(coalitions), self.game.participants - self.participants), bool)
        return self.game.utility_per_example(np.hstack([coalitions, away]))
