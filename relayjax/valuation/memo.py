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

    Attributes:
      game: the game behind it.
    """

    def __init__(self, game: Game, *, limit: int = 2 << 30):
        """Starts empty.

        Args:
          game: what to remember.
          limit: most bytes that remembered values may take; a coalition takes 4 · E.
        """
        self.game, self._limit = game, limit
        self._rows: dict[bytes, np.ndarray] = {}

    @property
    def participants(self) -> int:
        """N."""
        return self.game.participants

    @property
    def evaluated(self) -> int:
        """How many distinct coalitions were evaluated so far."""
        return len(self._rows)

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        """As the game's, float [C, E].

        Raises:
          ConfigError: the coalitions are ill-formed, or remembering them would exceed the limit; nothing is
            then evaluated.
        """
        coalitions = checked(coalitions, self.participants)
        keys = [row.tobytes() for row in np.packbits(coalitions, axis=1)]
        new = {key: index for index, key in enumerate(keys) if key not in self._rows}
        asked = coalitions[list(new.values())]
        if not self._rows:
            # How much a coalition takes is known from one.
            self._remember(list(new)[:1], asked[:1])
            new, asked = dict(list(new.items())[1:]), asked[1:]
        if new:
            self._check_room(len(new))
            self._remember(list(new), asked)
        return np.stack([self._rows[key] for key in keys])

    def _remember(self, keys: list[bytes], coalitions: np.ndarray) -> None:
        table = self.game.utility_per_example(coalitions)
        self._rows.update(zip(keys, table, strict=True))

    def _check_room(self, more: int) -> None:
        row = next(iter(self._rows.values()))
        count = len(self._rows) + more
        if count * row.nbytes > self._limit:
            raise ConfigError(
                f"remembering {count} coalitions takes {count * row.nbytes} bytes, more than {self._limit}: "
                f"lower the budget, or use fewer of the {len(row)} examples"
            )
