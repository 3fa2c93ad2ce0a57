"""How far a relay is, in plain values: what a frontend shows of an agreed state."""

from __future__ import annotations

from dataclasses import dataclass

from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import State
from relayjax.peers.awaiting import awaited, gathers, missing_members


@dataclass(frozen=True)
class Account:
    """What a member has.

    Attributes:
      name: the member's.
      registered: whether the log has its registration; without one it has nothing.
      balance: free micro-coins.
      licence: the newest version that its licence covers; None without one.
    """

    name: str
    registered: bool = False
    balance: int = 0
    licence: int | None = None


@dataclass(frozen=True)
class Status:
    """A relay at some size of its log, as somebody has followed and verified it.

    Attributes:
      origin, log_key: of the log.
      believed: whether the log alone has said that this is its key.
      size: entries.
      root: Merkle root over them, hexadecimal.
      finished: whether every round is settled.
      round: number of the present one, from 1; one more than there are when the relay is finished.
      rounds: how many there are.
      topology: chain, braid or tree; empty when the relay is finished.
      phase: of the present round, as `auction`; empty when the relay is finished.
      missing: participants and maintainers that the first round waits for before it begins.
      awaited: who is to act in this phase, sorted.
      quiet: seconds for which the follower has seen nothing new.
      left: seconds of patience left, as who orders knows; less for who stayed away before. None for others.
      orderer, term: who orders the records, in which term.
      head, digest: number and digest of the newest version.
      account: of the member who asks; None of somebody who is none.
    """

    origin: str
    log_key: str
    believed: bool
    size: int
    root: str
    finished: bool
    round: int
    rounds: int
    topology: str
    phase: str
    missing: tuple[int, int]
    awaited: tuple[str, ...]
    quiet: float
    left: float | None
    orderer: str
    term: int
    head: int
    digest: str
    account: Account | None


def standing(
    state: State,
    origin: str,
    log_key: str,
    *,
    size: int,
    root: bytes,
    name: str | None = None,
    believed: bool = False,
    quiet: float = 0.0,
    left: float | None = None,
) -> Status:
    """The status that an agreed state amounts to; the arguments are as in `Status`, `name` the member's."""
    finished = state.finished
    return Status(
        origin=origin,
        log_key=log_key,
        believed=believed,
        size=size,
        root=root.hex(),
        finished=finished,
        round=state.round.number,
        rounds=state.schedule.rounds,
        topology="" if finished else mechanism(state.rules).topology(state).value,
        phase="" if finished else state.round.phase.name.lower(),
        missing=missing_members(state) if gathers(state) else (0, 0),
        awaited=awaited(state),
        quiet=quiet,
        left=None if finished else left,
        orderer=state.orderer,
        term=state.term.number,
        head=state.head.number,
        digest=state.head.digest,
        account=None if name is None else _account(state, name),
    )


def _account(state: State, name: str) -> Account:
    if name not in state.members:
        return Account(name)
    return Account(name, True, state.balances[name], state.licences.get(name))
