"""From log entries to agreed state: what a resumed run, an auditor and a report all start with.

Every entry's place in the chain, its signature and its admissibility are checked; nothing else is
believed. A signature is held to the key that its author had at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from relayjax import records
from relayjax.errors import ConfigError, FormatError, IntegrityError, ProtocolError
from relayjax.identity import Envelope, PublicKeys, verify_envelope
from relayjax.ledger.entry import FIRST_PREV, verify_chain
from relayjax.mechanism.apply import apply, start
from relayjax.mechanism.membership import signer
from relayjax.mechanism.state import Member, State
from relayjax.records import Genesis, Record


@dataclass(frozen=True)
class Step:
    """One replayed entry.

    Attributes:
      index: of the entry in the log.
      record: what it states.
      state: the agreed state after it.
    """

    index: int
    record: Record
    state: State


def replay(
    entries: Iterable[bytes], start: int = 0, prev: str = FIRST_PREV, state: State | None = None
) -> Iterator[Step]:
    """Replays a log, from its first entry or on from where an earlier replay ended.

    Args:
      entries: consecutive ones.
      start: index of the first.
      prev: digest of the entry before it.
      state: the agreed state before it; None before the genesis.

    Raises:
      IntegrityError: naming the first entry that is malformed, out of its chain, wrongly signed or not
        allowed by the rules.
    """
    for entry in verify_chain(entries, start, prev):
        where = f"entry {entry.index}"
        try:
            record, state = admit(entry.envelope, state, where)
        except (FormatError, ProtocolError, ConfigError) as error:
            raise IntegrityError(where, str(error)) from error
        yield Step(entry.index, record, state)


def admit(envelope: Envelope, state: State | None, where: str) -> tuple[Record, State]:
    """What a signed record states, and the agreed state after it.

    Args:
      envelope: from anybody.
      state: before it; None before the genesis.
      where: names the envelope in errors.

    Raises:
      FormatError: it holds no record, or one with malformed fields.
      IntegrityError: its author has not signed it.
      ProtocolError: the rules do not allow it now.
      ConfigError: it is a genesis with impossible settings.
    """
    record = records.decode(envelope.payload)
    verify_envelope(envelope, signer(state, record), where=where)
    return record, _next(record, state, envelope.payload)


@lru_cache(maxsize=4096)
def public_keys(member: Member) -> PublicKeys:
    """A member's public keys in the form that verifies signatures and seals; checked once a member."""
    return PublicKeys(member.name, member.signing, member.receiving)


def _next(record: Record, state: State | None, payload: bytes) -> State:
    if state is not None:
        return apply(state, record, payload)
    if not isinstance(record, Genesis):
        raise ProtocolError(f"the log starts with a {record.KIND} record; it must start with its genesis")
    return start(record)
