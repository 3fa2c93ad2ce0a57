"""Splitting one data set over participants the way it is split in life: unevenly.

E: examples, N: participants.
"""

from __future__ import annotations

import numpy as np

from relayjax.errors import ConfigError, DataError
from relayjax.learning.task import Batch


def dirichlet_shards(
    labels: np.ndarray, participants: int, alpha: float, rng: np.random.Generator, minimum: int
) -> list[np.ndarray]:
    """Splits examples so that each participant sees its own mixture of labels.

    Each label is cut over the participants in proportions drawn from a symmetric Dirichlet(alpha); at
    0.1 most participants see two or three labels, at 100 all see nearly the same. A shard left with
    fewer than `minimum` examples takes what it lacks from the largest one at random.

    Args:
      labels: integers [E].
      participants: N.
      alpha: concentration of the Dirichlet distribution.
      rng: source of all randomness.
      minimum: fewest examples of a shard.

    Returns:
      Sorted indices of each participant's examples, N arrays that partition [E].

    Raises:
      ConfigError: N or alpha is not positive.
      DataError: fewer than N · minimum examples.
    """
    if participants < 1 or alpha <= 0:
        raise ConfigError(
            f"participants={participants}, alpha={alpha}: need at least 1 participant and alpha above 0"
        )
    if len(labels) < participants * minimum:
        raise DataError(
            f"{len(labels)} examples cannot give {participants} participants {minimum} each; "
            "take fewer participants or a smaller minimum"
        )
    parts: list[list[np.ndarray]] = [[] for _ in range(participants)]
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        proportions = rng.dirichlet(np.full(participants, alpha))
        cuts = (np.cumsum(proportions)[:-1] * len(indices)).astype(int)
        for part, piece in zip(parts, np.split(indices, cuts), strict=True):
            part.append(piece)
    shards = [np.concatenate(part) for part in parts]
    _top_up(shards, rng, minimum)
    return [np.sort(shard) for shard in shards]


def take(batch: Batch, indices: np.ndarray | slice) -> Batch:
    """The examples at these indices."""
    return {name: array[indices] for name, array in batch.items()}


def _top_up(shards: list[np.ndarray], rng: np.random.Generator, minimum: int) -> None:
    for poor in range(len(shards)):
        while len(shards[poor]) < minimum:
            rich = max(range(len(shards)), key=lambda i: len(shards[i]))
            given = min(minimum - len(shards[poor]), len(shards[rich]) - minimum)
            mixed = rng.permutation(shards[rich])
            shards[rich] = mixed[given:]
            shards[poor] = np.concatenate([shards[poor], mixed[:given]])
