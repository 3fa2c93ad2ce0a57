"""The validator's side of a round: score candidates on the drawn examples, value a braid's participants.

What is measured leaves here as integers. P: parameters, E: drawn examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from blake3 import blake3

from relayjax.learning.evaluate import Evaluator
from relayjax.learning.task import Batch
from relayjax.records import Pairs, Score, Value
from relayjax.valuation.aumann_shapley import aumann_shapley
from relayjax.valuation.estimate import fixed_point
from relayjax.valuation.games import Composition
from relayjax.valuation.shapley import shapley
from relayjax.weights import digest

WORST = 10**15
"""Micro-nats that stand for a loss that is not finite."""


def drawn_examples(seed: str, count: int, examples: int) -> np.ndarray:
    """The examples a draw selects: those with the smallest BLAKE3 output, one 64-bit word each.

    Args:
      seed: of the draw, hexadecimal.
      count: how many examples there are.
      examples: how many to select; all of them when there are fewer.

    Returns:
      Ascending indices, int32 [min(count, examples)].
    """
    stream = blake3(bytes.fromhex(seed), derive_key_context="relayjax 2026 test draw v1").digest(
        length=8 * count
    )
    order = np.argsort(np.frombuffer(stream, dtype="<u8"), kind="stable")
    return np.sort(order[:examples]).astype(np.int32)


def validation_digest(validation: Batch) -> str:
    """Binds validators to their hidden examples: BLAKE3 over names, types, shapes and bytes."""
    hasher = blake3(derive_key_context="relayjax 2026 validation set v1")
    for name in sorted(validation):
        array = np.ascontiguousarray(validation[name])
        hasher.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        hasher.update(array.reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


@dataclass(frozen=True)
class Validator:
    """What every validator runs.

    Attributes:
      evaluator: the compiled losses.
      validation: the hidden examples, on the device.
      count: how many there are.
      nodes: of the Aumann–Shapley quadrature.
      budget: coalitions evaluated for Shapley where it is not exact.
    """

    evaluator: Evaluator
    validation: Batch
    count: int
    nodes: int
    budget: int

    def score(
        self,
        name: str,
        round: int,
        drawn: jax.Array,
        parents: Mapping[int, np.ndarray],
        children: Mapping[str, np.ndarray],
    ) -> Score:
        """Measures every parent and candidate of a round.

        Args:
          name: of the validator.
          round: the round.
          drawn: indices of the drawn examples, int32 [E].
          parents: weights by version number, float32 [P].
          children: weights by trainer, float32 [P].
        """
        return Score(
            name,
            round,
            parents=tuple(sorted((str(n), self._loss(theta, drawn)) for n, theta in parents.items())),
            children=tuple(sorted((t, self._loss(theta, drawn)) for t, theta in children.items())),
        )

    def value(
        self,
        name: str,
        round: int,
        drawn: jax.Array,
        base: np.ndarray,
        deltas: Mapping[str, np.ndarray],
        weights: np.ndarray,
        composed: np.ndarray,
    ) -> Value:
        """Values the accepted participants of a braid round.

        Args:
          name: of the validator.
          round: the round.
          drawn: indices of the drawn examples, int32 [E].
          base: weights of the common parent, float32 [P].
          deltas: of each accepted trainer as it goes into the composition, float32 [P].
          weights: of each, in the order of the trainers' names, float32 [K].
          composed: weights of the composition, float32 [P].
        """
        trainers = sorted(deltas)
        game = Composition(
            losses=self.evaluator.losses_on(self.validation, drawn),
            base=jnp.asarray(base),
            deltas=jnp.asarray(np.stack([deltas[trainer] for trainer in trainers])),
            weights=jnp.asarray(weights),
        )
        path = aumann_shapley(game, nodes=self.nodes)
        key = jax.random.fold_in(jax.random.key(0), round)
        fair = shapley(game, key, budget=self.budget)
        return Value(
            name,
            round,
            composed=digest(composed),
            loss=self._loss(composed, drawn),
            values=_pairs(trainers, path.values),
            stderr=_pairs(trainers, path.stderr),
            shapley=_pairs(trainers, fair.values),
            shapley_stderr=_pairs(trainers, fair.stderr),
        )

    def _loss(self, theta: np.ndarray, drawn: jax.Array) -> int:
        loss = self.evaluator.mean_loss(theta, self.validation, drawn)
        return min(fixed_point([loss])[0], WORST) if math.isfinite(loss) else WORST


def _pairs(trainers: list[str], values: np.ndarray) -> Pairs:
    bounded = (max(-WORST, min(value, WORST)) for value in fixed_point(values))
    return tuple(zip(trainers, bounded, strict=True))
