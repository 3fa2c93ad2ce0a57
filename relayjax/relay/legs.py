"""The legs of a round: whoever was matched trains, and the legs that come next are begun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import numpy as np

from relayjax.learning.relay_momentum import pushed
from relayjax.mechanism.phases import trains
from relayjax.mechanism.state import Topology
from relayjax.relay.ahead import Made, Plan
from relayjax.relay.crew import Crew
from relayjax.relay.events import Trained
from relayjax.relay.foresight import Heads, course, if_accepted
from relayjax.relay.training import Candidate


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
    if (handed := crew.ahead.handed(trained)) is not None:
        return lambda: handed
    return partial(crew.trainer.encode, name, parent, theta, trained, loss, crew.residuals.of(name))


def _train_honestly(crew: Crew, name: str, theta: np.ndarray) -> tuple[np.ndarray, float]:
    number = crew.state.round.number
    made = crew.ahead.take(number, name, theta)
    if made is None:
        push = crew.momentum.push(name, theta, crew.state.schedule.legs_before(number))
        made = _make(crew, Plan(number, name, theta, push))
    return crew.trainer.count(made.outcome)


def _make(crew: Crew, plan: Plan) -> Made:
    """Trains a leg: what comes out follows from the plan alone, in any thread and at any time."""
    schedule = crew.state.schedule
    key = _key(crew.seed, plan.round, sorted(crew.shards).index(plan.trainer))
    place = (schedule.legs_before(plan.round), schedule.legs)
    outcome = crew.trainer.outcome(plan.parent, crew.shards[plan.trainer], key, place)
    outcome = outcome._replace(theta=pushed(outcome.theta, plan.push))
    if plan.version is None:
        return Made(outcome)
    theta, loss = outcome.theta, outcome.loss
    return Made(outcome, crew.trainer.encode(plan.trainer, plan.version, plan.parent, theta, loss, None))


@jax.jit
def _key(seed: int, round: int, trainer: int) -> jax.Array:
    """The random key of a leg, in one call for the sake of speed."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), round), trainer)


def foresee_acceptance(crew: Crew, owners: Sequence[str], head: np.ndarray, digest: str) -> None:
    """Begins the legs after a round that is not settled yet, supposing how it will end.

    Args:
      crew: plays the round.
      owners: whose work its head will be.
      head: the weights, float32 [P].
      digest: of them.
    """
    if crew.ahead.early:
        momentum = crew.momentum.copy()
        supposed, heads = if_accepted(crew.state, owners, head, digest, momentum)
        crew.ahead.begin(course(crew, supposed, heads, momentum), partial(_make, crew))


def foresee(crew: Crew, heads: Heads) -> None:
    """Begins the legs after a settled round, its heads being known."""
    crew.ahead.begin(course(crew, crew.state, heads, crew.momentum.copy()), partial(_make, crew))
