"""Speaking in the relay: a record is signed, chained, applied to the state, and at last made durable.

Records of a round gather in memory and go to the log as one batch, so a killed run continues with a
whole round.
"""

from __future__ import annotations

from relayjax import records
from relayjax.authority import log_keys
from relayjax.errors import ProtocolError
from relayjax.identity import Envelope, Keys, sign
from relayjax.ledger.entry import Entry, digest
from relayjax.ledger.log import Log
from relayjax.ledger.tiles import check_entry
from relayjax.mechanism.apply import apply, start
from relayjax.mechanism.membership import signer
from relayjax.mechanism.state import State
from relayjax.records import Genesis, Record


class Transcript:
    """The log of a run together with the agreed state at its end.

    Attributes:
      log: what is durable.
      state: the state after the pending records too.
    """

    def __init__(self, log: Log, state: State | None):
        self.log = log
        self._state = state
        self._pending: list[bytes] = []
        self._size = log.size
        self._prev = log.last_digest

    @property
    def state(self) -> State:
        """The agreed state; there is one as soon as the genesis record is said."""
        if self._state is None:
            raise ValueError("the genesis record comes first")
        return self._state

    def say(self, keys: Keys, record: Record) -> None:
        """Adds a record in a member's name.

        Raises:
          ProtocolError: the rules do not allow it now, or others must sign it; nothing is added.
        """
        payload = records.encode(record)
        needed, public = signer(self._state, record), keys.public
        if (public.name, public.signing) != (needed.name, needed.signing):
            raise ProtocolError(
                f"{record.KIND} of {record.author}: {keys.name} {public.signing} may not sign it, "
                f"{needed.signing} must"
            )
        state = start(record) if isinstance(record, Genesis) else apply(self.state, record, payload)
        self.add(sign(payload, keys), state)

    def add(self, envelope: Envelope, state: State) -> None:
        """Adds a record that `replay.admit` has let in.

        Args:
          envelope: the signed record.
          state: the agreed state after it.

        Raises:
          FormatError: it is too long for the log; nothing is added.
        """
        entry = Entry(self._size, self._prev, envelope).encode()
        check_entry(entry)
        self._pending.append(entry)
        self._size += 1
        self._prev = digest(entry)
        self._state = state

    def take(self) -> list[bytes]:
        """The records that are not in the log yet; the caller appends them before it takes any others."""
        taken, self._pending = self._pending, []
        return taken

    def commit(self, orderer: Keys) -> None:
        """Appends all pending records to the log, durably and at once."""
        if taken := self.take():
            self.log.entitle(log_keys(self.state))
            self.log.append(taken, orderer)
