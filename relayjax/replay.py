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
from relayjax.identity import PublicKeys, verify_envelope
from relayjax.ledger.entry import verify_chain
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


def replay(entries: Iterable[bytes]) -> Iterator[Step]:
    """Replays a log from its first entry.

    Raises:
      IntegrityError: naming the first entry that is malformed, out of its chain, wrongly signed or not
        allowed by the rules.
    """
    state: State | None = None
    for entry in verify_chain(entries):
        where = f"entry {entry.index}"
        try:
            record = records.decode(entry.envelope.payload)
            verify_envelope(entry.envelope, signer(state, record), where=where)
            state = _next(record, state, entry.envelope.payload)
        except (FormatError, ProtocolError, ConfigError) as error:
            raise IntegrityError(where, str(error)) from error
        yield Step(entry.index, record, state)


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
