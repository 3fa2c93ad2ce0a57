"""Who will train next, and from which version: what can be told before the next round begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from relayjax.mechanism.phases import in_round
from relayjax.mechanism.state import Round, State, Topology, Version
from relayjax.relay.ahead import Plan
from relayjax.relay.crew import Crew
from relayjax.relay.training import Candidate

Heads = Mapping[int, object]


def bids(crew: Crew, state: State) -> dict[str, int]:
    """What everybody offers at the beginning of a round, micro-coins, in order."""
    offered = {}
    for name in crew.rules.bidders(state):
        honest = crew.rules.suggested_bid(state, name)
        amount = crew.conduct.bid(state.round.number, name, state.balances[name], honest)
        if amount is not None:
            offered[name] = amount
    return offered


def next_leg(crew: Crew, state: State) -> tuple[str, int] | None:
    """Who will be the first to train in a round, and from which version.

    Args:
      crew: plays it.
      state: at its beginning; an empty beacon stands for one that is not known yet.

    Returns:
      None: nobody does, lots decide that are not drawn yet, or whoever it is does not train as it should.
    """
    if state.finished:
        return None
    state = in_round(state, bids=bids(crew, state))
    pairs = dict(sorted(crew.rules.match(state).items()))
    if not state.round.beacon and not _certain(crew, state, pairs):
        return None
    matched = in_round(state, pairs=pairs)
    number, due = state.round.number, crew.rules.deposits(matched)
    pays = [n for n in pairs if due[n] <= state.balances[n] and crew.conduct.deposits(number, n)]
    first = next(iter(crew.conduct.order(pays)), None)
    if first is None or not crew.conduct.trains(number, first):
        return None
    return first, pairs[first]


def _certain(crew: Crew, state: State, pairs: Mapping[str, int]) -> bool:
    """Whether a round's match is the same whatever its beacon: nobody else has waited as long."""
    topology = crew.rules.topology(state)
    if topology is Topology.CHAIN:
        since = {state.last_matched.get(name, 0) for name in pairs}
        others = {state.last_matched.get(name, 0) for name in state.round.bids if name not in pairs}
        return not since & others
    return topology is Topology.BRAID


def if_accepted(crew: Crew, candidates: Mapping[str, Candidate]) -> Plan | None:
    """The leg after a chain round's, if the round accepts its candidate; None where that cannot be told.

    Args:
      crew: has trained, and not committed yet.
      candidates: of the round.
    """
    state, rules = crew.state, crew.rules
    number = state.round.number
    if rules.topology(state) is not Topology.CHAIN or len(candidates) != 1:
        return None
    ((name, candidate),) = candidates.items()
    if not crew.conduct.reveals(number, name):
        return None
    version = Version(len(state.versions), candidate.child_digest, state.head.number, number, (name,))
    returned = state.balances[name] + state.round.deposits[name]
    supposed = dataclasses.replace(
        state,
        balances={**state.balances, name: returned},
        versions=(*state.versions, version),
        heads=(version.number,),
        round=Round(number + 1, b""),
    )
    found = next_leg(crew, supposed)
    return None if found is None else Plan(number + 1, found[0], candidate.child)
