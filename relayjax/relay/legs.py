"""The legs of a round: whoever was matched trains, and the leg that comes next is begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import numpy as np

from relayjax.learning.relay_momentum import pushed
from relayjax.mechanism.phases import trains
from relayjax.mechanism.state import Topology
from relayjax.relay.ahead import Plan
from relayjax.relay.crew import Crew
from relayjax.relay.events import Trained
from relayjax.relay.foresight import if_accepted, next_leg
from relayjax.relay.training import Candidate, Outcome

Heads = Mapping[int, np.ndarray]
"""Weights of the versions that a round starts from, float32 [P], by number."""


def train(crew: Crew, heads: Heads) -> dict[str, Candidate]:
    """Every matched participant trains; whoever diverges has nothing to commit to.

    What one has trained is encoded and hashed while the next one trains.
    """
    state = crew.state
    names = crew.conduct.order(name for name in state.round.pairs if trains(state, name))
    with ThreadPoolExecutor(1, "relayjax-encoder") as encoder:  # no thread starts for a single leg
        side = {name: encoder.submit(_hand_in(crew, heads, name)) for name in names[:-1]}
        last = {name: _hand_in(crew, heads, name)() for name in names[-1:]}
        found = {name: encoding.result() for name, encoding in side.items()} | last
    candidates = {name: outcome for name, outcome in found.items() if isinstance(outcome, Candidate)}
    for name, candidate in candidates.items():
        ahead = crew.ahead.took(state.round.number, name)
        crew.notify(Trained(state.round.number, name, candidate.loss, len(candidate.payload), ahead))
    return candidates


def _hand_in(crew: Crew, heads: Heads, name: str) -> Callable[[], Candidate | str]:
    """Has a participant train; returns what encodes it."""
    state = crew.state
    number, version = state.round.number, state.round.pairs[name]
    parent, theta = state.versions[version], heads[version]
    braid = crew.rules.topology(state) is Topology.BRAID
    trained, loss = crew.conduct.hand_in(number, name, braid, theta, partial(_train_honestly, crew, name))
    return partial(crew.trainer.encode, name, parent, theta, trained, loss, crew.residuals.of(name))


def _train_honestly(crew: Crew, name: str, theta: np.ndarray) -> tuple[np.ndarray, float]:
    number = crew.state.round.number
    plan = Plan(number, name, theta)
    trained, loss = crew.trainer.count(crew.ahead.take(plan) or _outcome(crew, plan))
    return pushed(trained, crew.momentum.push(name, theta, crew.state.schedule.legs_before(number))), loss


def _outcome(crew: Crew, plan: Plan) -> Outcome:
    """Trains a leg: what comes out follows from the plan alone, in any thread and at any time."""
    schedule = crew.state.schedule
    key = _key(crew.seed, plan.round, sorted(crew.shards).index(plan.trainer))
    place = (schedule.legs_before(plan.round), schedule.legs)
    return crew.trainer.outcome(plan.parent, crew.shards[plan.trainer], key, place)


@jax.jit
def _key(seed: int, round: int, trainer: int) -> jax.Array:
    """The random key of a leg, in one call for the sake of speed."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), round), trainer)


def foresee_acceptance(crew: Crew, candidates: Mapping[str, Candidate]) -> None:
    """Begins the leg after a chain round's, supposing that its candidate will be accepted."""
    if crew.ahead.early:
        crew.ahead.begin(if_accepted(crew, candidates), partial(_outcome, crew))


def foresee(crew: Crew, heads: Heads) -> None:
    """Begins the next round's first leg, its heads being known."""
    if found := next_leg(crew, crew.state):
        name, version = found
        plan = Plan(crew.state.round.number, name, heads[version])
        crew.ahead.begin(plan, partial(_outcome, crew))
