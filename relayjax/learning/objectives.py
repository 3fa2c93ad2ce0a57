"""What a leg minimises: a sum of terms, each a small pure pair of functions, freely combined.

    data            mean loss of the batch, plain or with the participant's own label prior taken out
    proximal        weight · ‖θ − received‖²                             (FedProx, arXiv 1812.06127, eq. 2)
    distillation    weight · mean KL(received model ‖ present model)     (LwF, arXiv 1606.09282, sec. 3)
    fisher          weight · Σ F · (θ − received)²                       (online EWC, arXiv 1805.06370, eq. 5)
    rehearsal       weight · mean loss of examples drawn from what participants told     (`sketches.py`)

A term that is switched off (weight 0) is not there at all, so it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from relayjax.errors import ConfigError
from relayjax.learning.layout import Params
from relayjax.learning.task import Batch, Task


class Term(NamedTuple):
    """One summand of the training loss.

    Attributes:
      prepare: (received parameters, Fisher information) → what the term remembers during the leg.
      loss: (what it remembers, parameters, batch, faded context, the step's random key) → float32 scalar.
    """

    prepare: Callable[[Params, Any], Any]
    loss: Callable[[Any, Params, Batch, Any, jax.Array], jax.Array]


def data(task: Task, objective: str) -> Term:
    """The mean training loss of a batch, in nats."""

    def loss(_: Any, params: Params, batch: Batch, context: Any, key: jax.Array) -> jax.Array:
        if objective == "plain" or task.objective is None:
            return jnp.mean(task.losses(params, batch))
        return jnp.mean(task.objective(params, batch, context))

    return Term(lambda received, fisher: None, loss)


def others(
    task: Task, near: float, said: float, firm: float, rehearsed: float, count: int
) -> tuple[Term, ...]:
    """The terms beside the data: what holds a leg near what it received, and what it rehearses.

    Args:
      task: what is trained.
      near: weight of `proximal`.
      said: weight of `distillation`.
      firm: weight of `fisher_anchor`.
      rehearsed: weight of `rehearsal`.
      count: examples that are rehearsed in a step.
    """
    terms = [proximal(near)] if near else []
    terms += [distillation(task, said)] if said else []
    terms += [fisher_anchor(firm)] if firm else []
    return (*terms, rehearsal(task, rehearsed, count)) if rehearsed else tuple(terms)


def proximal(weight: float) -> Term:
    """Keeps the parameters near the received ones, all alike."""

    def loss(received: Params, params: Params, batch: Batch, context: Any, key: jax.Array) -> jax.Array:
        return weight * optax.tree.norm(optax.tree.sub(params, received), squared=True)

    return Term(lambda received, fisher: received, loss)


def distillation(task: Task, weight: float) -> Term:
    """Keeps what the received model says about the participant's own examples.

    Raises:
      ConfigError: the task does not say what its model's outputs are.
    """
    logits = task.logits
    if logits is None:
        raise ConfigError(
            f"leg.distillation={weight}: task {task.name} has no `logits`, so there is nothing to distil; "
            "set it to 0 or give the task its logits"
        )

    def loss(received: Params, params: Params, batch: Batch, context: Any, key: jax.Array) -> jax.Array:
        taught = jax.nn.log_softmax(logits(received, batch))
        said = jax.nn.log_softmax(logits(params, batch))
        return weight * jnp.mean(optax.losses.kl_divergence_with_log_targets(said, taught))

    return Term(lambda received, fisher: received, loss)


def fisher_anchor(weight: float) -> Term:
    """Keeps each parameter near the received one as firmly as earlier legs found it to matter."""

    def loss(
        state: tuple[Params, Params], params: Params, batch: Batch, context: Any, key: jax.Array
    ) -> jax.Array:
        received, fisher = state
        stretched = jax.tree.map(lambda f, p, r: jnp.sum(f * (p - r) ** 2), fisher, params, received)
        return weight * sum(jax.tree.leaves(stretched), start=jnp.zeros(()))

    def prepare(received: Params, fisher: Params) -> tuple[Params, Params]:
        return received, jax.tree.map(lambda f: jnp.maximum(f, 0), fisher)

    return Term(prepare, loss)


def rehearsal(task: Task, weight: float, count: int) -> Term:
    """Trains on examples of every label beside the participant's own, drawn anew in each step.

    Raises:
      ConfigError: the task has nothing to draw them from.
    """
    draw = task.rehearsal
    if draw is None:
        raise ConfigError(
            f"leg.rehearsal={weight}: task {task.name} has no sketches to draw from; give it some (of its "
            "setting sketch_rank, if it has one), or set it to 0"
        )

    def loss(_: Any, params: Params, batch: Batch, context: Any, key: jax.Array) -> jax.Array:
        return weight * jnp.mean(task.losses(params, draw(key, count)))

    return Term(lambda received, fisher: None, loss)
