"""Who is in the run, with which keys, and until when.

Coins, licences and work hang on a name, its keys may change: `rotate` with the present signing key,
`recover` with a recovery key that was registered before. Whoever brings a key shows that it is his, and no
key of a name is ever used again, so neither another's key nor an old record can be put in its place.

A revoked member says nothing more, takes part in no later round, and is neither granted licences nor sealed
to from then on. What it earned stays on the books. Who is revoked in the course of a round is counted to its
end like anybody who stays away: the round's sets are fixed, and nobody saves a deposit by leaving.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from relayjax.errors import IntegrityError, ProtocolError
from relayjax.identity import PublicKeys
from relayjax.identity.ed25519 import verify
from relayjax.identity.envelope import pre_authentication
from relayjax.mechanism.base import Mechanism
from relayjax.mechanism.checks import in_phase, is_hex, require
from relayjax.mechanism.phases import in_round
from relayjax.mechanism.rules import RelayJAXRules, Rules, Schedule
from relayjax.mechanism.settlement import BURN, MINT, POT, Settlement
from relayjax.mechanism.state import FormerKeys, Member, Phase, Role, State
from relayjax.records import (
    Genesis,
    Join,
    Record,
    Recover,
    RecoveryKey,
    Revoke,
    Rotate,
    possession,
)

POSSESSION_TYPE = "application/vnd.relayjax.possession+json"
"""Media type under which a new key signs; keeps the signature from being used for anything else."""


def signer(state: State | None, record: Record) -> PublicKeys:
    """The keys that must have signed a record that is said now; there is no state before the first one.

    Raises:
      ProtocolError: nobody may sign it.
      FormatError: it introduces its author with malformed keys.
    """
    if isinstance(record, Genesis | Join):
        return _public(record.author, record.signing, record.receiving)
    if state is None:
        raise ProtocolError(f"{record.KIND}: {record.author} has not joined")
    member = _author(state, record)
    key = member.credentials.needed(record)
    require(bool(key), record, "no recovery key was registered, so nobody can recover this name")
    return _public(member.name, key, member.receiving)


_public = lru_cache(maxsize=4096)(PublicKeys)
"""Checks keys once: that they are points of the curve takes as long as a signature."""


def enlist(record: Genesis | Join, role: Role, schedule: Schedule) -> Member:
    """The member that a record introduces.

    Raises:
      ProtocolError: a name that means something else or is too long for this relay's settlements.
      FormatError: a malformed name or key.
    """
    _public(record.author, record.signing, record.receiving)
    require(record.author not in (MINT, POT, BURN), record, "the name stands for an account of the relay")
    fits = role is Role.OBSERVER or len(record.author) <= schedule.longest_name
    require(fits, record, f"a name has at most {schedule.longest_name} characters in a relay of this size")
    return Member(record.author, role, record.signing, record.receiving)


def endowment(rules: Rules) -> int:
    """What a founding participant or maintainer is granted, micro-coins."""
    return rules.endowment if isinstance(rules, RelayJAXRules) else 0


def entitled(state: State, settlement: Settlement) -> Settlement:
    """A settlement without the licences it would grant to who is revoked."""
    granted = tuple(pair for pair in settlement.licences if not state.members[pair[0]].revoked)
    return dataclasses.replace(settlement, licences=granted)


def join(state: State, record: Join, _: Mechanism) -> State:
    in_phase(state, record, Phase.AUCTION)
    require(record.author not in state.members, record, "the name is taken")
    require(record.role in list(Role), record, f"the role must be one of {', '.join(Role)}")
    member = enlist(record, Role(record.role), state.schedule)
    require(_has_place(state, member.role), record, f"every place of a {member.role} is taken")
    grant = endowment(state.rules) if member.role is not Role.OBSERVER and state.round.number == 1 else 0
    return dataclasses.replace(
        state,
        members={**state.members, record.author: member},
        balances={**state.balances, record.author: grant},
        minted=state.minted + grant,
    )


def register(state: State, record: RecoveryKey, _: Mechanism) -> State:
    member = _mine(state, record)
    _public(member.name, record.recovery, member.receiving)
    _shown(record, record.recovery, member)
    spent = (*member.spent, member.recovery) if member.recovery else member.spent
    return _with(state, dataclasses.replace(member, recovery=record.recovery, spent=spent))


def rotate(state: State, record: Rotate, _: Mechanism) -> State:
    return _with(state, _renewed(state, record))


def recover(state: State, record: Recover, _: Mechanism) -> State:
    now = state.round.number
    require(1 <= record.void <= now, record, f"void must be a round from 1 to the present one, {now}")
    state = _with(state, _renewed(state, record))
    if record.void == now:
        state = _without_bid(state, record.author)
    return _without_approvals(state, record.author, record.void)


def revoke(state: State, record: Revoke, _: Mechanism) -> State:
    author, member = _mine(state, record), state.members.get(record.name)
    if member is None:
        raise ProtocolError(f"revoke of {record.author}: there is no member {record.name}")
    require(not member.revoked, record, f"{member.name} is revoked already")
    orders = member.name == state.orderer
    require(not orders, record, "the ordering maintainer signs the log; let another take over first")
    if author.name != member.name:
        require(author.role is Role.MAINTAINER, record, "only maintainers revoke another member")
        require(author.name not in dict(member.accusers), record, "has approved this before")
        approving = (*member.accusers, (author.name, state.round.number))
        member = dataclasses.replace(member, accusers=approving)
        state = _with(state, member)
        voters = [name for name in state.named(Role.MAINTAINER) if not state.members[name].revoked]
        if 2 * len(dict(approving).keys() & set(voters)) <= len(voters):
            return state
    return _shut_out(state, member)


def _shut_out(state: State, member: Member) -> State:
    """In an auction nothing hangs on a name but its bid; later in a round it is counted to the end."""
    number, serving = state.round.number, state.round.phase is not Phase.AUCTION
    state = _with(state, dataclasses.replace(member, revoked=number, serving=serving))
    return _without_approvals(_without_bid(state, member.name), member.name, 1)


def _has_place(state: State, role: Role) -> bool:
    """Whether one more may join: whoever could add names at will would add coins and votes.

    The place of who is revoked is not free: a settlement names it as long as its work is paid.
    """
    places = {Role.PARTICIPANT: state.schedule.participants, Role.MAINTAINER: state.schedule.validators}
    return role not in places or len(state.named(role)) < places[role]


def _author(state: State, record: Record) -> Member:
    if record.author not in state.members:
        raise ProtocolError(f"{record.KIND}: {record.author} has not joined")
    member = state.members[record.author]
    require(not member.revoked, record, f"was revoked in round {member.revoked}")
    return member


def _mine(state: State, record: RecoveryKey | Rotate | Recover | Revoke) -> Member:
    """The author of a record that must be meant for this run."""
    require(record.run == state.run, record, f"is of another run; this one is {state.run}")
    return _author(state, record)


def _renewed(state: State, record: Rotate | Recover) -> Member:
    """The author with the keys that its record brings."""
    member = _mine(state, record)
    _public(member.name, record.signing, record.receiving)
    _shown(record, record.signing, member)
    former = FormerKeys(member.signing, member.receiving, state.round.number - 1)
    return dataclasses.replace(
        member,
        signing=record.signing,
        receiving=record.receiving,
        former=(*member.former, former),
        spent=(*member.spent, member.signing),
    )


def _shown(record: RecoveryKey | Rotate | Recover, key: str, member: Member) -> None:
    """Refuses a key that the name has had before, or that has not signed the record that brings it."""
    known = (member.signing, member.recovery, *member.spent)
    require(key not in known, record, "a key that this name has or had is not taken again; make new ones")
    require(is_hex(record.proof, 64), record, "a proof is 128 hexadecimal digits")
    message = pre_authentication(POSSESSION_TYPE, possession(record))
    try:
        verify(bytes.fromhex(key), bytes.fromhex(record.proof), message, "proof")
    except IntegrityError as error:
        raise ProtocolError(
            f"{record.KIND} of {record.author}: the new key has not signed it ({error.problem})"
        ) from error


def _with(state: State, member: Member) -> State:
    return dataclasses.replace(state, members={**state.members, member.name: member})


def _without_bid(state: State, name: str) -> State:
    """Takes back what a name has bid in an auction that is still open."""
    if state.round.phase is not Phase.AUCTION or name not in state.round.bids:
        return state
    return in_round(state, bids={bidder: bid for bidder, bid in state.round.bids.items() if bidder != name})


def _without_approvals(state: State, name: str, since: int) -> State:
    """Takes back what a maintainer's keys have approved from a round on, where it has had no effect yet."""
    members = dict(state.members)
    for member in state.members.values():
        kept = tuple(pair for pair in member.accusers if pair[0] != name or pair[1] < since)
        if kept != member.accusers:
            members[member.name] = dataclasses.replace(member, accusers=kept)
    return dataclasses.replace(state, members=members)
