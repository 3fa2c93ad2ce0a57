"""What a deviant has at hand when it is its turn to hand something in.

P: numbers handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

Handed = tuple[np.ndarray, float]
"""Weights that are handed in, float32 [P], and the training loss that is told, nats."""


@dataclass
class Memory:
    """What deviants remember of versions that were accepted.

    Attributes:
      heads: name → the head that its last accepted delta started from, float32 [P].
      first: name → the first of its deltas that was accepted, float32 [P].
      newest: name → the last one, float32 [P]; whose is newest comes last.
    """

    heads: dict[str, np.ndarray] = field(default_factory=dict)
    first: dict[str, np.ndarray] = field(default_factory=dict)
    newest: dict[str, np.ndarray] = field(default_factory=dict)

    def keep(self, name: str, head: np.ndarray, delta: np.ndarray) -> None:
        """Takes in what became part of a version."""
        self.heads[name] = head
        self.first.setdefault(name, delta)
        self.newest.pop(name, None)
        self.newest[name] = delta


@dataclass(frozen=True)
class Turn:
    """What a deviant has when it is to hand something in.

    Attributes:
      name: its own.
      braid: whether all train from one head in this round.
      parent: weights received, float32 [P].
      train: some weights, float32 [P] → what honest training on its own shard makes of them.
      siblings: deltas of this round by those who are honest, float32 [P], the earliest first.
      memory: of earlier rounds.
      strength: how much of the deviation, times what is usual.
      rng: its own in this round.
    """

    name: str
    braid: bool
    parent: np.ndarray
    train: Callable[[np.ndarray], Handed]
    siblings: Mapping[str, np.ndarray]
    memory: Memory
    strength: float
    rng: np.random.Generator

    def handed(self, delta: np.ndarray, loss: float = 0.0) -> Handed:
        """The parent with a delta, float32 [P]."""
        return self.parent + delta, loss

    def in_noise(self, delta: np.ndarray, length: float) -> np.ndarray:
        """A delta, float32 [P], with noise of that length in units of its own; float32 [P]."""
        return delta + self.noise(length * float(np.linalg.norm(delta)))

    def noise(self, length: float) -> np.ndarray:
        """Noise of that Euclidean length, float32 [P]."""
        drawn = self.rng.standard_normal(len(self.parent), dtype=np.float32)
        return np.float32(length / np.linalg.norm(drawn)) * drawn
