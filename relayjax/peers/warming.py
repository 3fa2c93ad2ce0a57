"""Compiling before somebody waits for it: what has been paid for, or pledged to, is done within a patience.

A leg is compiled without being run. What a validator runs are many small programs, so it measures made-up
work once; the shapes are those of the relay's tests.

P: parameters.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from relayjax.codec import Codec
from relayjax.learning.layout import Layout
from relayjax.learning.placement import Shard
from relayjax.mechanism.state import Phase, State, Topology
from relayjax.peers.workshop import Workshop
from relayjax.relay.testing import Candidates, Validator
from relayjax.relay.training import Trainer
from relayjax.valuation.novelty import Novelties

_SAMPLE = 4_096
"""Parameters that a codec is tried on; it compiles for types, not for sizes."""


def measures(state: State) -> bool:
    """Whether maintainers are measuring at present: who has just started has no time for made-up work."""
    return not state.finished and Phase.TESTING <= state.round.phase <= Phase.VALUATION


def warm_trainer(trainer: Trainer, shard: Shard) -> None:
    """Compiles what a trainer needs between its deposit and its commitment.

    Args:
      trainer: that trains.
      shard: its data.
    """
    trainer.leg.compile(shard, jax.random.fold_in(jax.random.key(0), 1))
    _try_codec(trainer.codec)


def warm_validator(validator: Validator, workshop: Workshop) -> None:
    """Compiles what a validator needs for its reports, by measuring made-up deltas.

    Args:
      validator: that measures.
      workshop: whose it is.
    """
    schedule, known = workshop.config.relay, Novelties()
    first = workshop.task.init(jax.random.key(0))
    base = np.asarray(Layout.of(first).flatten(first))
    names = [f"p{number}" for number in range(schedule.participants)]
    generator = np.random.default_rng(0)
    deltas = {name: 1e-3 * generator.standard_normal(base.size, np.float32) for name in names}
    _try_codec(workshop.codec)
    if schedule.rounds > len(schedule.valued):
        ordinary = next(n for n in range(1, schedule.rounds + 1) if n not in schedule.valued)
        _score(validator, Topology.CHAIN, base, {names[0]: deltas[names[0]]}, schedule.tested(ordinary))
    if schedule.valued:
        drawn = schedule.tested(schedule.valued[0])
        _score(validator, Topology.BRAID, base, deltas, drawn)
        weights = np.full(len(names), 1 / len(names), np.float32)
        validator.value(1, _drawn(validator, drawn), base, deltas, weights, base, known, len(names))


def _score(
    validator: Validator, topology: Topology, base: np.ndarray, deltas: dict[str, np.ndarray], examples: int
) -> None:
    parents, bases = dict.fromkeys(deltas, 0), dict.fromkeys(deltas, base)
    children = {name: base + delta for name, delta in deltas.items()}
    made_up = Candidates(1, topology, len(deltas), parents, bases, children, deltas)
    validator.score(made_up, _drawn(validator, examples), Novelties())


def _drawn(validator: Validator, examples: int) -> jax.Array:
    return jnp.asarray(np.arange(min(examples, validator.count), dtype=np.int32))


def _try_codec(codec: Codec) -> None:
    parent = np.zeros(_SAMPLE, np.float32)
    payload = codec.encode(parent, np.linspace(-1, 1, _SAMPLE, dtype=np.float32))
    codec.apply(payload, parent)
    codec.decode(payload, parent)
