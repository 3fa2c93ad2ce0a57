"""When a phase of the round ends and which one follows.

A phase ends when everybody who is expected to act has acted, or when the ordering maintainer closes
it without those who stay away. Commitments are complete before anything is revealed, and everything is
revealed before the test is drawn. Likewise all pledges to reports are made before any report is shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from relayjax.mechanism.base import Mechanism
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Phase, State, Topology


def advance(state: State) -> State:
    """Moves on through every phase in which nobody is left to act."""
    rules = mechanism(state.rules)
    while _complete(state, rules):
        state = next_phase(state, rules)
    return state


def _complete(state: State, rules: Mechanism) -> bool:
    now = state.round
    match now.phase:
        case Phase.DEPOSIT:
            return set(now.deposits) >= set(rules.deposits(state))
        case Phase.COMMIT:
            return all(name in now.commitments for name in now.pairs if trains(state, name))
        case Phase.REVEAL:
            return set(now.submissions) >= set(now.commitments)
        case Phase.TESTING:
            return not now.submissions or (bool(now.pledges) and _all_in(now.pledges, state, rules))
        case Phase.SCORING:
            return set(now.scores) >= set(now.pledges)
        case Phase.APPRAISAL:
            return bool(now.appraisals) and _all_in(now.appraisals, state, rules)
        case Phase.VALUATION:
            return set(now.values) >= set(now.appraisals)
    return False


def next_phase(state: State, rules: Mechanism) -> State:
    following = Phase(state.round.phase + 1)
    if following is Phase.SCORING and not state.round.submissions:
        following = Phase.SETTLEMENT
    if following is Phase.APPRAISAL:
        valued = rules.topology(state) is Topology.BRAID and rules.accepted(state)
        following = Phase.APPRAISAL if valued else Phase.SETTLEMENT
    return in_round(state, phase=following)


def _all_in(pledges: Mapping[str, str], state: State, rules: Mechanism) -> bool:
    return set(pledges) >= set(rules.maintainers(state))


def trains(state: State, name: str) -> bool:
    """Whether a name was matched and has paid its deposit."""
    return name in state.round.pairs and name in state.round.deposits


def in_round(state: State, **changes: Any) -> State:
    """The state with some facts of its present round replaced."""
    return dataclasses.replace(state, round=dataclasses.replace(state.round, **changes))
