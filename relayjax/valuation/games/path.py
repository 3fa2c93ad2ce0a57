"""What every leg of a relay gained where it was trained: the path value, as a game.

Shapes: N participants, K legs, C coalitions, P parameters, E validation examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
from jax.tree_util import Partial

from relayjax.errors import ConfigError, DataError
from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.games.base import checked
from relayjax.valuation.games.composition import Losses

NOBODY = -1
"""Trainer of a step whose worth is shared out elsewhere, as that of a braid round."""


@dataclass(frozen=True, eq=False)
class Path:
    """Legs on the way from a relay's first model to its head.

        φ_k = mean_e [ ℓ_e(parent of k) − ℓ_e(child of k) ]      v(S) = Σ_{legs k of members of S} φ_k

    Along a relay without refusals the parent of k is the child of k − 1. Legs off the way (refused ones,
    branches nobody went on from) are worth 0, so that v(N) is what the whole relay gained. Nothing is
    retrained: a leg is worth what it gained at its place, which rewards early ones. Where coalitions must be
    beginnings of the relay, as its order wants, this is the Shapley value. As a game of all coalitions it is
    additive: every estimator returns the path values, and `estimate` does so without sampling.

    To value legs rather than participants, give every leg a trainer of its own: `trainers=range(K)`.

    Attributes:
      losses: per-example loss of every model, float [K + 1, E], nats: first the model the relay started from,
        then the child of every leg. Any measure of which less is better will do; negate others.
      trainers: who ran each leg, K of 0 … N − 1 or `NOBODY`.
      participants: N.
      parents: row of `losses` each leg started from, K of them, each at most k; by default the row before.
      head: row of `losses` the relay ended with; by default the last one. The last leg was refused: give the
        row of the model that stayed.

    Raises:
      ConfigError: a shape, a trainer, a parent or the head does not fit.
      DataError: a loss on the way to the head is not finite.

    References:
      Faigle and Kern, The Shapley value for cooperative games under precedence constraints, 1992.
      Frye, Rowat and Feige, Asymmetric Shapley values, arXiv 1910.06358.
    """

    losses: np.ndarray
    trainers: Sequence[int] | np.ndarray
    participants: int
    parents: Sequence[int] | np.ndarray | None = None
    head: int | None = None

    def __post_init__(self) -> None:
        if self.participants < 1:
            raise ConfigError(f"path: {self.participants} participants; give 1 or more")
        legs = len(self.trainers)
        rows = np.shape(self.losses)
        if len(rows) != 2 or rows[0] != legs + 1 or rows[1] < 1 or legs < 1:
            raise ConfigError(
                f"path: losses are {list(rows)} for {legs} legs; give [K + 1, E]: a row for the model before "
                "the first leg, then one for the child of every leg"
            )
        ranges = {
            "trainers": (self.trainers, NOBODY, np.full(legs, self.participants)),
            "parents": (self._parents, 0, np.arange(1, legs + 1)),
            "head": ([self._head], 0, np.array([legs + 1])),
        }
        for name, (given, low, high) in ranges.items():
            array = np.asarray(given)
            if array.shape != high.shape or array.dtype.kind not in "iu":
                raise ConfigError(
                    f"path: {name} are {array.dtype} {list(array.shape)}; give {len(high)} integers"
                )
            wrong = np.flatnonzero((array < low) | (array >= high))
            if len(wrong):
                first = wrong[0]
                raise ConfigError(
                    f"path: {name}[{first}] is {array[first]}; give {low} or more and less than {high[first]}"
                )
        # A leg that diverged and was refused is no concern of anybody's value.
        rows = np.array([0, *(leg + 1 for leg in self.way)])
        diverged = rows[~np.isfinite(np.asarray(self.losses)[rows]).all(axis=1)]
        if len(diverged):
            raise DataError(
                f"path: losses[{diverged[0]}], of a model on the way to the head, is not finite; "
                "refuse legs that diverge (by a trust region) and give their successor another parent"
            )

    @classmethod
    def measure(
        cls,
        losses: Losses,
        models: Iterable[np.ndarray | jax.Array],
        trainers: Sequence[int] | np.ndarray,
        participants: int,
        parents: Sequence[int] | np.ndarray | None = None,
        head: int | None = None,
    ) -> Path:
        """The path game of models whose losses are not known yet.

        Args:
          losses: maps parameters float32 [P] to per-example losses float32 [E]: as in `Composition`.
          models: K + 1 parameter vectors, float32 [P], taken one after another: from a generator, one is held
            at a time.
          trainers, participants, parents, head: as of the class.

        Raises:
          ConfigError: a model is not float32 [P], or there is not one more of them than of trainers.
        """
        return cls(_measured(losses, models), trainers, participants, parents, head)

    @property
    def _parents(self) -> np.ndarray:
        return np.arange(len(self.trainers)) if self.parents is None else np.asarray(self.parents)

    @property
    def _head(self) -> int:
        return len(self.trainers) if self.head is None else self.head

    @cached_property
    def way(self) -> list[int]:
        """The legs that led to the head, in order."""
        found, row = [], self._head
        while row:
            found.append(row - 1)
            row = int(self._parents[row - 1])
        return found[::-1]

    @cached_property
    def shares(self) -> np.ndarray:
        """Every example's own path values, float64 [N, E], nats."""
        losses = np.asarray(self.losses)
        shares = np.zeros((self.participants, losses.shape[1]))
        for leg in self.way:
            if (trainer := self.trainers[leg]) != NOBODY:
                shares[trainer] += np.subtract(losses[self._parents[leg]], losses[leg + 1], dtype=np.float64)
        return shares

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        """Worth of each coalition (bool [C, N]) on each validation example, float64 [C, E], nats."""
        coalitions = checked(coalitions, self.participants)
        worth = np.zeros((len(coalitions), self.shares.shape[1]))
        # Added one by one: in a matrix product the last bit would depend on what else is evaluated.
        for member, share in zip(coalitions.T, self.shares, strict=True):
            worth[member] += share
        return worth

    def estimate(self) -> Estimate:
        """The path values: the worth of every participant alone.

        Raises:
          DataError: fewer than two examples.
        """
        alone = np.eye(self.participants)
        return from_table(alone > 0, self.shares, alone, "path")


def _measured(losses: Losses, models: Iterable[np.ndarray | jax.Array]) -> np.ndarray:
    """Per-example losses of models that come one by one, float32 [K + 1, E]."""
    partial = losses if isinstance(losses, Partial) else Partial(losses)
    shape, rows = None, []
    for number, model in enumerate(models):
        shape = shape or np.shape(model)
        if len(shape) != 1 or np.shape(model) != shape or model.dtype != np.float32:
            raise ConfigError(
                f"path: model {number} is {model.dtype} {list(np.shape(model))}; "
                "give float32 [P], the same P for all"
            )
        # One call a model and no loop within: it costs 0.1 ms, holds one model, and XLA's loops are slow on
        # what is wide. All by the same code: a leg that changed nothing is worth 0 to the last bit.
        rows.append(np.asarray(_losses_of(partial, model)))
    return np.stack(rows) if rows else np.zeros((0, 0), np.float32)


@jax.jit
def _losses_of(losses: Partial, model: jax.Array) -> jax.Array:
    """Losses of one model, float32 [E]; compiled once for every function and set of shapes."""
    return losses(model)
