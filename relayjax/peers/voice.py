"""How a member speaks: its signed records go to the ordering maintainer's inbox."""

from __future__ import annotations

from relayjax import canonical, hashing, records
from relayjax.errors import ExchangeError, IntegrityError
from relayjax.identity import Envelope, Keys, sign
from relayjax.mechanism.state import State
from relayjax.peers.awaiting import moment
from relayjax.peers.exchange import Exchange, put
from relayjax.peers.several import Several
from relayjax.records import Record

WHY_LIMIT = 4_096
"""Bytes that the reason of a refusal may have."""


class Voice:
    """Signs and hands in a member's records."""

    def __init__(self, exchange: Exchange, keys: Keys):
        self._exchange, self._keys = exchange, keys

    def say(self, record: Record, state: State) -> str | None:
        """Hands a record in, unless it lies there already; saying it again changes nothing.

        Where there are several places, it is refused when more than half of them say so: any may lie.

        Args:
          record: what to say.
          state: the newest one followed; a refusal at another moment is none now.

        Returns:
          Why it was refused; None if it was not, or not yet.

        Raises:
          ExchangeError: nobody can be reached now, or takes it.
        """
        data = encode(sign(records.encode(record), self._keys))
        name = hashing.digest(data)
        several = self._exchange.places if isinstance(self._exchange, Several) else (self._exchange,)
        refusals, failures = list[str](), list[ExchangeError]()
        for place in several:
            try:
                reason = _why(place, name)
                if reason.startswith(f"{moment(state)}: "):
                    refusals.append(reason)
                else:
                    put(place, f"inbox/{name}.json", data)
            except ExchangeError as error:
                failures.append(error)
        if len(failures) == len(several):
            raise failures[0]
        return refusals[0] if 2 * len(refusals) > len(several) else None


def _why(exchange: Exchange, name: str) -> str:
    try:
        return (exchange.fetch(f"inbox/{name}.why", WHY_LIMIT) or b"").decode(errors="replace")
    except IntegrityError:  # too long to be an orderer's
        return ""


def encode(envelope: Envelope) -> bytes:
    """An envelope as the file that it is in the inbox."""
    return canonical.encode(envelope.to_json())
