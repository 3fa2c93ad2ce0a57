"""A game that remembers what it evaluated, so that a larger budget costs only what it adds.

Shapes: N participants, C coalitions, E validation examples.
"""

from __future__ import annotations

import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.games.base import Game, checked


class Memo:
    """Any game, each coalition of which is evaluated once.

    A coalition that a game does not evaluate the same way to the last bit, whatever is evaluated beside it,
    has here the first value it got.
    """

    def __init__(self, game: Game, *, limit: int = 2 << 30):
        """Starts empty.

        Args:
          game: what to remember.
          limit: most bytes that remembered values may take; a coalition takes 4 · E.
        """
        self._game, self._limit = game, limit
        self._rows: dict[bytes, np.ndarray] = {}

    @property
    def participants(self) -> int:
        """N."""
        return self._game.participants

    @property
    def evaluated(self) -> int:
        """How many distinct coalitions were evaluated so far."""
        return len(self._rows)

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        """As the game's, float [C, E].

        Raises:
          ConfigError: the coalitions are ill-formed, or remembering them would exceed the limit.
        """
        coalitions = checked(coalitions, self.participants)
        keys = [row.tobytes() for row in np.packbits(coalitions, axis=1)]
        new = {key: index for index, key in enumerate(keys) if key not in self._rows}
        if new:
            table = self._game.utility_per_example(coalitions[list(new.values())])
            needed = (len(self._rows) + len(new)) * table[0].nbytes
            if needed > self._limit:
                raise ConfigError(
                    f"remembering {len(self._rows) + len(new)} coalitions takes {needed} bytes, more than "
                    f"{self._limit}: lower the budget, or use fewer of the {table.shape[1]} examples"
                )
            self._rows.update(zip(new, table, strict=True))
        return np.stack([self._rows[key] for key in keys])
