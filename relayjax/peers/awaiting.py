"""Who is to act next in a round, as the agreed state says it."""

from __future__ import annotations

from relayjax.mechanism.phases import trains
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Phase, Role, State

_MAJORITY = {Phase.TESTING: "pledges", Phase.SCORING: "scores"}
_MAJORITY |= {Phase.APPRAISAL: "appraisals", Phase.VALUATION: "values"}
"""Where a phase cannot be closed before a majority of the maintainers has acted, and in which field."""


def moment(state: State) -> str:
    """The round and phase in words; a refusal holds for as long as they do."""
    return f"round {state.round.number}, {state.round.phase.name.lower()}"


def missing_members(state: State) -> tuple[int, int]:
    """How many participants and maintainers may still join."""
    schedule = state.schedule
    return (
        schedule.participants - len(state.named(Role.PARTICIPANT)),
        schedule.validators - len(state.named(Role.MAINTAINER)),
    )


def awaited(state: State) -> tuple[str, ...]:
    """Names of those whose record the present phase waits for, sorted; the derived ones are the orderer's."""
    rules, now = mechanism(state.rules), state.round
    if state.finished:
        return ()
    maintainers = rules.maintainers(state)
    match now.phase:
        case Phase.AUCTION:
            able = [name for name in rules.bidders(state) if rules.suggested_bid(state, name) is not None]
            left = [name for name in able if name not in now.bids]
        case Phase.DEPOSIT:
            left = [name for name in rules.deposits(state) if name not in now.deposits]
        case Phase.COMMIT:
            left = [name for name in now.pairs if trains(state, name) and name not in now.commitments]
        case Phase.REVEAL:
            left = [name for name in now.commitments if name not in now.submissions]
        case Phase.TESTING:
            left = [name for name in maintainers if name not in now.pledges]
        case Phase.SCORING:
            left = [name for name in now.pledges if name not in now.scores]
        case Phase.APPRAISAL:
            left = [name for name in maintainers if name not in now.appraisals]
        case Phase.VALUATION:
            left = [name for name in now.appraisals if name not in now.values]
        case Phase.SETTLEMENT:
            left = []
    return tuple(sorted(left))


def gathers(state: State) -> bool:
    """Whether places are still free before the first round; later members would get no endowment."""
    first = state.round.number == 1 and state.round.phase is Phase.AUCTION
    return first and any(missing_members(state))


def closable(state: State) -> bool:
    """Whether the orderer can go on from the present phase without those who stay away."""
    now = state.round
    if state.finished:
        return False
    if now.phase is Phase.AUCTION:  # without anybody to train, a round would only pass
        return bool(now.bids) or not awaited(state)
    if now.phase is Phase.TESTING and not now.seed:
        return True
    if now.phase in _MAJORITY:
        acted = len(getattr(now, _MAJORITY[now.phase]))
        return 2 * acted > len(mechanism(state.rules).maintainers(state))
    return True
