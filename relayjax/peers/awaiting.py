"""Who is to act next in a round, as the agreed state says it."""

from __future__ import annotations

from relayjax.mechanism.phases import trains
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Phase, Role, State


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
