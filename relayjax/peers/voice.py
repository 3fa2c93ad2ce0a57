"""How a member speaks: its signed records go to the ordering maintainer's inbox."""

from __future__ import annotations

from relayjax import canonical, hashing, records
from relayjax.errors import IntegrityError
from relayjax.identity import Envelope, Keys, sign
from relayjax.mechanism.state import State
from relayjax.peers.awaiting import moment
from relayjax.peers.exchange import Exchange, put
from relayjax.records import Record

WHY_LIMIT = 4_096
"""Bytes that the reason of a refusal may have."""


class Voice:
    """Signs and hands in a member's records."""

    def __init__(self, exchange: Exchange, keys: Keys):
        self._exchange, self._keys = exchange, keys

    def say(self, record: Record, state: State) -> str | None:
        """Hands a record in, unless it lies there already; saying it again changes nothing.

        Args:
          record: what to say.
          state: the newest one followed; a refusal at another moment is none now.

        Returns:
          Why it was refused; None if it was not, or not yet.
        """
        data = encode(sign(records.encode(record), self._keys))
        name = hashing.digest(data)
        try:
            reason = (self._exchange.fetch(f"inbox/{name}.why", WHY_LIMIT) or b"").decode(errors="replace")
        except IntegrityError:  # too long to be the orderer's
            reason = ""
        if reason.startswith(f"{moment(state)}: "):
            return reason
        put(self._exchange, f"inbox/{name}.json", data)
        return None


def encode(envelope: Envelope) -> bytes:
    """An envelope as the file that it is in the inbox."""
    return canonical.encode(envelope.to_json())
