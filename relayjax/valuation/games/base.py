"""What every game is to an estimator.

Shapes: N participants, C coalitions, E validation examples.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from relayjax.errors import ConfigError


class Game(Protocol):
    """What an estimator sees. The empty coalition is worth 0."""

    @property
    def participants(self) -> int:
        """N, the number of players."""
        ...

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        """Worth of each coalition (bool [C, N]) on each validation example, in nats: float [C, E]."""
        ...


def utility(game: Game, coalitions: np.ndarray) -> np.ndarray:
    """Worth of each coalition, averaged over the examples in float64.

    Args:
      game: any game.
      coalitions: bool [C, N].

    Returns:
      v, float64 [C], nats.
    """
    return game.utility_per_example(coalitions).mean(axis=1, dtype=np.float64)


def checked(coalitions: np.ndarray, participants: int) -> np.ndarray:
    """The coalitions as an array, if they are bool [C, N] with C at least 1.

    Raises:
      ConfigError: they are not.
    """
    coalitions = np.asarray(coalitions)
    shaped = coalitions.shape[1:] == (participants,) and len(coalitions) > 0
    if not shaped or coalitions.dtype != np.bool_:
        raise ConfigError(
            f"coalitions are {coalitions.dtype} {list(coalitions.shape)}; "
            f"give bool [C, {participants}] with C at least 1"
        )
    return coalitions
