"""A flax classifier and labelled arrays become a `Task`.

    task = classification(
        "digits", lambda rngs: MLP(64, (256,), 10, rngs=rngs), classes=10,
        shards=shards, validation=validation, test=test,
    )

Participants whose labels are skewed pull the model towards their own labels. The objective takes that
pull out: it adds the log of the participant's own label frequencies to the logits, so that what is
left to learn is how the inputs of the labels differ (logit adjustment; Menon et al., "Long-tail learning
via logit adjustment", arXiv 2007.07314, equation 10).

B: examples of a batch, K: classes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from relayjax.errors import DataError
from relayjax.learning.first_layer import FirstLayerLosses
from relayjax.learning.layout import Params
from relayjax.learning.models.functional import Functional, MakeModel
from relayjax.learning.sketches import Rehearsal, Sketch
from relayjax.learning.task import Batch, Task


def classification(
    name: str,
    model: MakeModel,
    *,
    classes: int,
    shards: tuple[Batch, ...],
    validation: Batch,
    test: Batch,
    development: Batch | None = None,
    told: Sketch | None = None,
    pseudo_count: float = 0.01,
) -> Task:
    """A task with cross-entropy, accuracy and a prior-corrected objective.

    Args:
      name: what reports call it.
      model: makes the network; called on inputs [B, ...] it returns logits [B, K]. Inputs stored as
        uint8 (pictures) reach it as float32 in [0, 1].
      classes: K.
      shards: one batch per participant: "x" inputs [n, ...], "y" labels in [0, K), int32 [n].
      validation: a batch of the same arrays.
      test: a batch of the same arrays.
      development: a batch of the same arrays that everybody holds, for hand-on policies that look; or None.
      told: what participants told of their data, to be rehearsed, of inputs as the model sees them; or None.
      pseudo_count: added to each label's count, so that a label never seen has a finite log prior.

    Raises:
      ConfigError: the model keeps state that is not a parameter.
      DataError: labels that are not int32 in [0, K).
    """
    for index, shard in enumerate(shards):
        _check_labels(f"task {name}: shard {index}", shard, classes)
    _check_labels(f"task {name}: validation", validation, classes)
    _check_labels(f"task {name}: test", test, classes)
    if told is not None and (told.labels >= classes).any():
        raise DataError(
            f"task {name}: sketches tell of label {told.labels.max()}; expected 0 to {classes - 1}"
        )
    network = Functional.of(model)

    def inputs(batch: Batch) -> jax.Array:
        x = batch["x"]
        return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x

    pictures = shards[0]["x"].dtype == np.uint8
    shape = shards[0]["x"].shape[1:]
    rehearsal = None if told is None else Rehearsal(told, shape, (0.0, 1.0) if pictures else None)

    def logits(params: Params, batch: Batch) -> jax.Array:
        return network.apply(params, inputs(batch))

    def losses(params: Params, batch: Batch) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, batch), batch["y"])

    def in_steps(first_layer: str) -> FirstLayerLosses:
        def after(params: Params, batch: Batch, pre_activations: jax.Array) -> jax.Array:
            outputs = network.after_first(params, pre_activations)
            return optax.softmax_cross_entropy_with_integer_labels(outputs, batch["y"])

        def rows(batch: Batch) -> jax.Array:
            return inputs(batch).reshape(len(batch["x"]), -1)

        return FirstLayerLosses(losses, f"{first_layer}/kernel", f"{first_layer}/bias", rows, after)

    def objective(params: Params, batch: Batch, context: jax.Array) -> jax.Array:
        shifted = logits(params, batch) + context
        return optax.softmax_cross_entropy_with_integer_labels(shifted, batch["y"])

    def metrics(params: Params, batch: Batch) -> dict[str, jax.Array]:
        right = jnp.argmax(logits(params, batch), axis=-1) == batch["y"]
        return {"accuracy": right.astype(jnp.float32)}

    return Task(
        name=name,
        init=network.init,
        losses=losses if network.first_layer is None else in_steps(network.first_layer),
        metrics=metrics,
        shards=shards,
        validation=validation,
        test=test,
        context=lambda shard: log_prior(shard["y"], classes, pseudo_count),
        objective=objective,
        logits=logits,
        development=development,
        rehearsal=rehearsal,
    )


def log_prior(labels: np.ndarray, classes: int, pseudo_count: float) -> np.ndarray:
    """Log of the smoothed label frequencies, float32 [K]."""
    counts = np.bincount(labels, minlength=classes) + pseudo_count
    return np.log(counts / counts.sum()).astype(np.float32)


def _check_labels(where: str, batch: Batch, classes: int) -> None:
    labels = batch.get("y")
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int32 or labels.ndim != 1:
        raise DataError(f"{where}: labels must be given as y, a NumPy array of int32 [n]")
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        raise DataError(
            f"{where}: labels run from {labels.min()} to {labels.max()}; expected 0 to {classes - 1}"
        )
