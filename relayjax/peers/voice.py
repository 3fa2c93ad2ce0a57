"""How a member speaks: its signed records go to the ordering maintainer's inbox."""

from __future__ import annotations

from relayjax import canonical, records
from relayjax.identity import Envelope, Keys, sign
from relayjax.peers.exchange import Exchange, put
from relayjax.records import Record
from relayjax.store.base import digest_of

WHY_LIMIT = 4_096
"""Bytes that the reason of a refusal may have."""


class Voice:
    """Signs and hands in a member's records."""

    def __init__(self, exchange: Exchange, keys: Keys):
        self._exchange, self._keys = exchange, keys

    def say(self, record: Record) -> str | None:
        """Hands a record in, unless it lies there already; saying it again changes nothing.

        Returns:
          Why it was refused; None if it was not, or not yet.
        """
        data = encode(sign(records.encode(record), self._keys))
        name = digest_of(data)
        reason = self._exchange.fetch(f"inbox/{name}.why", WHY_LIMIT)
        if reason is not None:
            return reason.decode(errors="replace")
        put(self._exchange, f"inbox/{name}.json", data)
        return None


def encode(envelope: Envelope) -> bytes:
    """An envelope as the file that it is in the inbox."""
    return canonical.encode(envelope.to_json())
