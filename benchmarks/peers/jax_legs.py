"""Legs in JAX: RelayJAX's, and two that know nothing of it but the model.

    relayjax    `Leg`: takes the flat parameters from the host, returns the delta
    scan        flax and optax, the whole leg one compiled `lax.scan`
    loop        flax and optax, a compiled step in a Python loop, its state donated

All three draw batches, clip, and update alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from peers.protocol import serve
from relayjax import settings
from relayjax.learning.language import language
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.models import Transformer, TransformerSettings
from relayjax.learning.placement import place_shards


def setup(spec: dict[str, Any]) -> tuple[str, Callable[[], Any], Callable[[], int | None]]:
    """See `protocol.serve`."""
    model = settings.decode(spec["settings"]["model"], TransformerSettings)
    leg = settings.decode(spec["settings"]["leg"], LegSettings)
    tokens = np.random.default_rng(0).integers(
        0, model.vocabulary, (spec["examples"], model.context + 1), np.int32
    )
    device = jax.devices()[0]
    train = {"relayjax": _relayjax, "scan": _scan, "loop": _loop}[spec["kind"]](model, leg, tokens)

    def memory() -> int | None:
        return (device.memory_stats() or {}).get("peak_bytes_in_use")

    return device.device_kind, train, memory


def _relayjax(model: TransformerSettings, settings: LegSettings, tokens: np.ndarray) -> Callable[[], Any]:
    batch = {"tokens": tokens, "kind": np.zeros(len(tokens), np.int32)}
    held_out = {name: array[:1] for name, array in batch.items()}
    task = language(
        "throughput",
        lambda rngs: Transformer(model, rngs=rngs),
        shards=(batch,),
        validation=held_out,
        test=held_out,
    )
    leg, shard = Leg(task, settings), place_shards(task)[0]
    theta, keys = leg.genesis(task.init(jax.random.key(0))), _keys()
    return lambda: jax.block_until_ready(leg(theta, shard, keys(), 0, 10))


def _scan(model: TransformerSettings, settings: LegSettings, tokens: np.ndarray) -> Callable[[], Any]:
    step, state = _bare(model, settings)
    data = jnp.asarray(tokens)

    @functools.partial(jax.jit, donate_argnums=0)
    def leg(state: Any, data: jax.Array, key: jax.Array) -> Any:
        drawn = jax.random.randint(key, (settings.steps, settings.batch_size), 0, len(data))
        return jax.lax.scan(lambda state, drawn: (step(state, data[drawn]), None), state, drawn)[0]

    return _kept(leg, state, data)


def _loop(model: TransformerSettings, settings: LegSettings, tokens: np.ndarray) -> Callable[[], Any]:
    step, state = _bare(model, settings)
    data = jnp.asarray(tokens)

    @functools.partial(jax.jit, donate_argnums=0)
    def one(state: Any, data: jax.Array, key: jax.Array) -> Any:
        drawn = jax.random.randint(key, (settings.batch_size,), 0, len(data))
        return step(state, data[drawn])

    def leg(state: Any, data: jax.Array, key: jax.Array) -> Any:
        for each in jax.random.split(key, settings.steps):
            state = one(state, data, each)
        return state

    return _kept(leg, state, data)


def _bare(model: TransformerSettings, settings: LegSettings) -> tuple[Callable[[Any, jax.Array], Any], Any]:
    """One step and its first state: a model taken apart once, and an optimizer."""
    graph, params = nnx.split(Transformer(model, rngs=nnx.Rngs(0)), nnx.Param)
    rate = settings.learning_rate
    rule = optax.adamw(rate) if settings.optimizer == "adamw" else optax.sgd(rate, settings.momentum)
    optimizer = optax.chain(optax.clip_by_global_norm(settings.clip_norm), rule)

    def loss(params: Any, tokens: jax.Array) -> jax.Array:
        logits = nnx.merge(graph, params)(tokens[:, :-1])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]))

    def step(state: Any, tokens: jax.Array) -> Any:
        params, optimizer_state = state
        updates, optimizer_state = optimizer.update(jax.grad(loss)(params, tokens), optimizer_state, params)
        return optax.apply_updates(params, updates), optimizer_state

    return step, (params, optimizer.init(params))


def _kept(leg: Callable[[Any, jax.Array, jax.Array], Any], state: Any, data: jax.Array) -> Callable[[], Any]:
    """A leg that goes on where the last one ended."""
    keys = _keys()

    def train() -> None:
        nonlocal state
        state = jax.block_until_ready(leg(state, data, keys()))

    return train


def _keys() -> Callable[[], jax.Array]:
    """Another random key at every call."""
    count = iter(range(1_000_000))
    return lambda: jax.random.key(next(count))


if __name__ == "__main__":
    serve(setup)
