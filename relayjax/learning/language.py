"""A flax model of sequences and bytes of text become a `Task`: predict each byte from those before it.

    task = language(
        "text", lambda rngs: Transformer(settings, rngs=rngs),
        shards=shards, validation=validation, test=test,
    )

An example is a sequence of T + 1 tokens; the model sees the first T and is measured on the last T. Its
loss is the mean over them, in nats a token. Beside the tokens an example says which kind of text it is from:
nothing trains on that, it is there to report losses by kind.

n: examples, B: examples of a batch, T: tokens that are predicted, V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from relayjax.errors import DataError
from relayjax.learning.layout import Params
from relayjax.learning.models.functional import Functional, MakeModel
from relayjax.learning.task import Batch, Task


def language(
    name: str,
    model: MakeModel,
    *,
    shards: tuple[Batch, ...],
    validation: Batch,
    test: Batch,
    development: Batch | None = None,
    rehearsal: Callable[[jax.Array, int], Batch] | None = None,
) -> Task:
    """A task of next-token prediction; its metrics are the loss and the share of tokens predicted right.

    Args:
      name: what reports call it.
      model: makes the network; called on tokens [B, T] it returns logits, float32 [B, T, V].
      shards: one batch per participant: "tokens", uint8 or int32 [n, T + 1], and "kind", int32 [n], a
        number for the kind of text that each is from.
      validation: a batch of the same arrays.
      test: a batch of the same arrays.
      development: a batch of the same arrays that everybody holds, for hand-on policies that look; or None.
      rehearsal: draws a batch of the same arrays from what participants told, as `markov.Rehearsal`; or None.

    Raises:
      ConfigError: the model keeps state that is not a parameter.
      DataError: arrays of other types or shapes, or tokens beyond the model's vocabulary.
    """
    network = Functional.of(model)
    vocabulary = _vocabulary(network)
    for index, shard in enumerate(shards):
        _check(f"task {name}: shard {index}", shard, vocabulary)
    _check(f"task {name}: validation", validation, vocabulary)
    _check(f"task {name}: test", test, vocabulary)
    if development is not None:
        _check(f"task {name}: development", development, vocabulary)

    def logits(params: Params, batch: Batch) -> jax.Array:
        return network.apply(params, batch["tokens"][:, :-1])

    def losses(params: Params, batch: Batch) -> jax.Array:
        return _mean_nats(logits(params, batch), batch)

    def metrics(params: Params, batch: Batch) -> dict[str, jax.Array]:
        predicted = logits(params, batch)
        right = jnp.argmax(predicted, axis=-1) == batch["tokens"][:, 1:]
        return {
            "accuracy": jnp.mean(right, axis=-1, dtype=jnp.float32),
            "loss": _mean_nats(predicted, batch),
        }

    return Task(
        name=name,
        init=network.init,
        losses=losses,
        metrics=metrics,
        shards=shards,
        validation=validation,
        test=test,
        logits=logits,
        development=development,
        rehearsal=rehearsal,
    )


def mean_by_kind(values: np.ndarray, kind: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Averages a figure of each example over the examples of each kind.

    Args:
      values: a figure of each example, such as its loss in nats a token, float [n].
      kind: which of the names each example belongs to, int32 [n].
      names: of the kinds, by number.

    Returns:
      Mean by name, in float64, in the order of the names; kinds without examples are left out.
    """
    counts = np.bincount(kind, minlength=len(names))
    sums = np.bincount(kind, weights=values, minlength=len(names))
    return {name: float(sums[i] / counts[i]) for i, name in enumerate(names) if counts[i]}


def _mean_nats(logits: jax.Array, batch: Batch) -> jax.Array:
    """Cross-entropy of each sequence in nats a token, float32 [B]."""
    following = batch["tokens"][:, 1:].astype(jnp.int32)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, following), axis=-1)


def _vocabulary(network: Functional) -> int:
    """V, from the shape of the model's output."""
    params = jax.eval_shape(network.init, jax.random.key(0))
    return network.output_shape(params, jax.ShapeDtypeStruct((1, 1), jnp.int32))[-1]


def _check(where: str, batch: Batch, vocabulary: int) -> None:
    tokens, kind = batch.get("tokens"), batch.get("kind")
    if not isinstance(tokens, np.ndarray) or tokens.dtype not in (np.uint8, np.int32) or tokens.ndim != 2:
        raise DataError(f"{where}: text must be given as tokens, a NumPy array of uint8 or int32 [n, T + 1]")
    if tokens.shape[1] < 2:
        raise DataError(f"{where}: a sequence is {tokens.shape[1]} tokens; it takes 2 to predict one")
    if not isinstance(kind, np.ndarray) or kind.dtype != np.int32 or kind.ndim != 1:
        raise DataError(f"{where}: kinds of text must be given as kind, a NumPy array of int32 [n]")
    if tokens.size and (tokens.min() < 0 or tokens.max() >= vocabulary):
        raise DataError(
            f"{where}: tokens run from {tokens.min()} to {tokens.max()}; the model's vocabulary is 0 to "
            f"{vocabulary - 1}"
        )
