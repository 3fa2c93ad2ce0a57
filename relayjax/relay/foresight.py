"""Who will train next, and from which version: what can be told before the next rounds begin."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from relayjax.learning.relay_momentum import RelayMomentum
from relayjax.mechanism.phases import in_round
from relayjax.mechanism.state import Round, State, Topology, Version
from relayjax.relay.ahead import Course, Plan
from relayjax.relay.crew import Crew
from relayjax.relay.training import Candidate

Heads = Mapping[int, np.ndarray]
"""Weights of versions, float32 [P], by number."""


def bids(crew: Crew, state: State) -> dict[str, int]:
    """What everybody offers at the beginning of a round, micro-coins, in order."""
    offered = {}
    for name in crew.rules.bidders(state):
        honest = crew.rules.suggested_bid(state, name)
        amount = crew.conduct.bid(state.round.number, name, state.balances[name], honest)
        if amount is not None:
            offered[name] = amount
    return offered


def next_legs(crew: Crew, state: State) -> tuple[State, list[str]]:
    """Who will train in a round, as far as it can be told.

    Args:
      crew: plays it.
      state: at its beginning; an empty beacon stands for one that is not known yet.

    Returns:
      The state with the round's match, and the trainers in their order, up to one who does not train as it
      should; nobody if lots decide that are not drawn yet.
    """
    if state.finished:
        return state, []
    state = in_round(state, bids=bids(crew, state))
    pairs = dict(sorted(crew.rules.match(state).items()))
    if not state.round.beacon and not _certain(crew, state):
        return state, []
    state = state.matched(pairs)
    number, due = state.round.number, crew.rules.deposits(state)
    pays = [n for n in pairs if due[n] <= state.balances[n] and crew.conduct.deposits(number, n)]
    order = crew.conduct.order(pays)
    honest = [crew.conduct.trains(number, name) for name in order]
    return state, order[: honest.index(False) if False in honest else None]


def _certain(crew: Crew, state: State) -> bool:
    """Whether a round's match is the same whatever its beacon: no two draw a lot with it."""
    topology = crew.rules.topology(state)
    if topology is Topology.CHAIN:
        return sum(name not in state.lots for name in state.round.bids) < 2
    return topology is Topology.BRAID


def course(crew: Crew, state: State, heads: Heads, momentum: RelayMomentum) -> Course:
    """The legs from the beginning of a round on, supposing that each chain leg will be accepted.

    It ends with a braid round, whose head depends on its test, and where nobody can be foreseen.

    Args:
      crew: plays it.
      state: at the beginning of the round.
      heads: weights of its heads.
      momentum: what participants will remember then; changed on the way.
    """
    while True:
        state, names = next_legs(crew, state)
        number, chain = state.round.number, crew.rules.topology(state) is Topology.CHAIN
        goes_on = chain and crew.ahead.early and not crew.codec.needs_feedback
        handed = None
        for name in names:
            version = state.round.pairs[name]
            parent = heads[version]
            push = momentum.push(name, parent, state.schedule.legs_before(number))
            made = yield Plan(number, name, parent, push, state.versions[version] if goes_on else None)
            handed = made.handed
        if not isinstance(handed, Candidate) or not crew.conduct.reveals(number, handed.trainer):
            return
        state, heads = if_accepted(state, names, handed.child, handed.child_digest, momentum)


def if_accepted(
    state: State, owners: Sequence[str], head: np.ndarray, digest: str, momentum: RelayMomentum
) -> tuple[State, Heads]:
    """The beginning of the next round, if a round ends with a certain head; pay is left out.

    Args:
      state: matched, and not settled yet.
      owners: whose work the head is.
      head: its weights, float32 [P].
      digest: of the weights.
      momentum: what participants remember so far; the round is added to it.
    """
    for name in state.round.pairs:
        momentum.remember(name, head, state.schedule.legs_before(state.round.number))
    number, made = state.round.number, len(state.versions)
    version = Version(made, digest, state.head.number, number, tuple(owners))
    returned = {name: state.balances[name] + paid for name, paid in state.round.deposits.items()}
    supposed = dataclasses.replace(
        state,
        balances={**state.balances, **returned},
        versions=(*state.versions, version),
        heads=(made,),
        round=Round(number + 1, b""),
    )
    return supposed, {made: head}
