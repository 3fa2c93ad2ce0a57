"""Who orders the records, and how another maintainer comes to.

Terms are numbered; the founder's is 0. When more than half of the maintainers vote for a term at one and the
same point of the log, it begins with the vote that makes them so many. The number says whose it is: one more
is the next maintainer's in the order in which they joined, after the last the first again. So two that
count the same votes name the same orderer, and who is silent as well is passed over by a higher number.

A vote speaks of the log up to a point and counts only there: whatever else is said after it makes it void.
So all whose votes begin a term have seen all that the term builds on.
"""

from __future__ import annotations

import dataclasses

from relayjax.mechanism.base import Mechanism
from relayjax.mechanism.checks import require
from relayjax.mechanism.state import Role, State, Term
from relayjax.records import Succeed


def electorate(state: State) -> tuple[str, ...]:
    """Names of all maintainers who are not revoked, in the order in which they joined."""
    return tuple(m.name for m in state.members.values() if m.role is Role.MAINTAINER and not m.revoked)


def successor(state: State, term: int) -> str:
    """Who orders in a term that follows the present one."""
    names = electorate(state)
    return names[(names.index(state.orderer) + term - state.term.number) % len(names)]


def enough(state: State, votes: int) -> bool:
    """Whether so many votes are more than half of the maintainers."""
    return 2 * votes > len(electorate(state))


def ballot(state: State, author: str, term: int) -> Succeed:
    """A maintainer's vote for a term, at this point of the log."""
    return Succeed(author, state.run, term, successor(state, term), state.seen.hex())


def succeed(state: State, record: Succeed, _: Mechanism) -> State:
    require(record.run == state.run, record, f"is of another run; this one is {state.run}")
    names, now = electorate(state), state.term.number
    require(record.author in names, record, "only maintainers decide who orders the records")
    require(record.seen == state.seen.hex(), record, "is about another point of the log than this one")
    within = now < record.term <= now + len(names)
    require(within, record, f"the term must be one of the {len(names)} that follow {now}")
    newer = record.term > state.votes.get(record.author, now)
    require(newer, record, "has voted for this term, or a later one, before")
    due = successor(state, record.term)
    require(record.successor == due, record, f"term {record.term} is {due}'s")
    votes = {**state.votes, record.author: record.term}
    if not enough(state, sum(term == record.term for term in votes.values())):
        return dataclasses.replace(state, votes=votes)
    term = Term(record.term, due, state.members[due].signing, state.round.number)
    return dataclasses.replace(state, terms=(*state.terms, term))
