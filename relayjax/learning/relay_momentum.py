"""Momentum of the relay as a whole, which no participant has to be told.

    handed on = received + policy(own delta) + rate · (received − head after its last turn) / legs since then

Between two turns of its own a participant sees how far all the others have moved the model: their mean
movement a leg is an estimate of the direction that pooled data would give, without its own skew. A share of
it, added to every leg, smooths the relay as an outer momentum smooths DiLoCo, and costs no bytes: everybody
remembers the head of its own last turn. (Heavy ball over incremental gradients: Polyak 1964; outer momentum:
arXiv 2311.08105.)

P: parameters, C: numbers carried beside them.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np


class RelayMomentum:
    """What each participant remembers of its last turn."""

    def __init__(self, rate: float, size: int):
        """Starts without any memory.

        Args:
          rate: share of the mean movement that is added; at 0 nothing is remembered.
          size: P; what is carried beside the parameters has no momentum.
        """
        self.rate = rate
        self._size = size
        self._turns: dict[Hashable, tuple[int, np.ndarray]] = {}

    def copy(self) -> RelayMomentum:
        """The same memory, to be gone on from by itself."""
        other = RelayMomentum(self.rate, self._size)
        other._turns = dict(self._turns)
        return other

    def push(self, who: Hashable, received: np.ndarray, leg: int) -> np.ndarray | None:
        """What a participant adds to its leg.

        Args:
          who: the participant.
          received: the baton, float32 [P + C].
          leg: legs of the relay before this one.

        Returns:
          float32 [P]; None before its second turn, or at rate 0.
        """
        if who not in self._turns:
            return None
        then, head = self._turns[who]
        return np.float32(self.rate / max(1, leg - then)) * (received[: self._size] - head)

    def remember(self, who: Hashable, head: np.ndarray, leg: int) -> None:
        """Keeps the head after a participant's turn.

        Args:
          who: the participant.
          head: the baton after it was settled, float32 [P + C].
          leg: legs of the relay before that turn.
        """
        if self.rate:
            self._turns[who] = leg, head[: self._size]


def pushed(trained: np.ndarray, push: np.ndarray | None) -> np.ndarray:
    """A trained baton, float32 [P + C], moved by a push of float32 [P]."""
    if push is None:
        return trained
    return np.concatenate([trained[: push.size] + push, trained[push.size :]])
