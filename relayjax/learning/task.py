"""What a user writes to bring a model and data: a `Task`, and the settings that build it.

A task is plain functions of a parameter tree, and arrays. It knows nothing of relays, flat vectors or
devices. For classification with a flax model, `relayjax.learning.classification` writes it for you.

N: participants, B: examples of a batch.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from relayjax.errors import DataError
from relayjax.learning.layout import Params
from relayjax.settings import Settings

if TYPE_CHECKING:
    from relayjax.learning.frozen import Frozen

Batch = Mapping[str, Any]
"""Arrays by name that share their first axis, the examples."""


def _no_context(shard: Batch) -> None:
    return None


@dataclass(frozen=True, eq=False)
class Task:
    """A model, its losses and its data.

    The functions are pure and traced by `jax.jit`; the arrays are NumPy's.

    Attributes:
      name: what reports call it.
      init: random key → parameters, float32 leaves.
      losses: (parameters, batch) → loss of each example in nats, float32 [B]. What validators measure, and
        many times over in a valuation: give `first_layer.FirstLayerLosses` if they begin with a dense layer.
      metrics: (parameters, batch) → by name a figure of each example, float32 [B].
      shards: the private data of each participant; same names, dtypes and trailing shapes.
      validation: the hidden examples that score a leg.
      test: the examples that only the final report sees.
      context: a participant's shard → a pytree of float arrays about it, which its training loss
        may use (the log of its label frequencies, say). Called once, before the relay.
      objective: (parameters, batch, context) → training loss of each example, float32 [B]. A leg
        fades the context from its full value to zeros over the relay, so at zeros the objective
        must be `losses`. None: train on `losses`.
      logits: (parameters, batch) → the model's outputs before the softmax, float32 [B, …, K]; needed
        to distil.
      development: examples of the same kind that everybody holds, open to trainers; needed by hand-on
        policies that look before they hand on. Never the validation examples.
      rehearsal: (random key, count) → so many examples drawn from what participants told of their data before
        the relay, such as `sketches.Rehearsal`; needed to rehearse.
      frozen: arrays that the functions read and nobody trains, so that a relay can put them where its
        legs need them.
    """

    name: str
    init: Callable[[jax.Array], Params]
    losses: Callable[[Params, Batch], jax.Array]
    metrics: Callable[[Params, Batch], Mapping[str, jax.Array]]
    shards: tuple[Batch, ...]
    validation: Batch
    test: Batch
    context: Callable[[Batch], Any] = _no_context
    objective: Callable[[Params, Batch, Any], jax.Array] | None = None
    logits: Callable[[Params, Batch], jax.Array] | None = None
    development: Batch | None = None
    rehearsal: Callable[[jax.Array, int], Batch] | None = None
    frozen: tuple[Frozen, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name):
            raise DataError(
                f"task name {self.name[:80]!r}: use 1 to 64 letters, digits, dots, hyphens and underscores; "
                "the ledger is named after it"
            )
        if not self.shards:
            raise DataError(f"task {self.name}: there are no shards; give one per participant")
        for index, shard in enumerate(self.shards):
            _check(f"task {self.name}: shard {index}", shard, like=self.shards[0])
        _check(f"task {self.name}: validation", self.validation, like=self.shards[0])
        _check(f"task {self.name}: test", self.test, like=self.shards[0])
        if self.development is not None:
            _check(f"task {self.name}: development", self.development, like=self.shards[0])


@dataclass(frozen=True)
class TaskSettings(Settings, abc.ABC):
    """Base of the settings of a task; a config names one, the run calls `build`."""

    @abc.abstractmethod
    def build(self, participants: int, seed: int) -> Task:
        """Reads the data, splits it over the participants and returns the task.

        The same settings, participants and seed give the same task.

        Raises:
          DataError: the data is missing, malformed or too little.
        """


def examples(batch: Batch) -> int:
    """How many examples a batch holds."""
    return len(next(iter(batch.values())))


def _check(where: str, batch: Batch, like: Batch) -> None:
    if not batch or set(batch) != set(like):
        raise DataError(f"{where} has the arrays {sorted(batch)}; it needs {sorted(like) or 'at least one'}")
    for name, array in batch.items():
        if not isinstance(array, np.ndarray) or array.ndim == 0 or len(array) == 0:
            raise DataError(f"{where}: {name} must be a NumPy array with at least one example")
        if len(array) != examples(batch):
            raise DataError(
                f"{where}: {name} holds {len(array)} examples where others hold {examples(batch)}"
            )
        if array.dtype != like[name].dtype or array.shape[1:] != like[name].shape[1:]:
            raise DataError(
                f"{where}: an example of {name} is {array.dtype}{list(array.shape[1:])}; "
                f"in the first shard it is {like[name].dtype}{list(like[name].shape[1:])}"
            )
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise DataError(f"{where}: {name} holds NaN or infinity; clean the data before the relay")
