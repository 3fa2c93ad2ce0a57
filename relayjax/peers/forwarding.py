"""A copy's inbox: what members put there is handed on to whoever orders the records elsewhere.

Most authors reach who orders themselves, so others' letters lie for some passes first. A letter that cannot
be admitted is refused here, with the reason, as who orders would. Nothing that another place says of a letter
is repeated: it may lie, and a letter that it says it has refused is kept from it alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from relayjax.errors import ExchangeError, IntegrityError, ProtocolError, RelayError
from relayjax.mechanism.state import State
from relayjax.peers.awaiting import moment
from relayjax.peers.exchange import put
from relayjax.peers.inbox import FOLDER, Inbox, Letter
from relayjax.peers.several import Place
from relayjax.peers.voice import WHY_LIMIT, encode
from relayjax.replay import admit

_SECONDS = 1.0
"""Seconds that a pass takes at most: whoever floods the inbox must not hold the log up."""

_PASSES = 3
"""Passes for which others' letters lie here before they are handed on."""


class Forwarding:
    """Looks after one inbox."""

    def __init__(self, inbox: Inbox, own: str, places: Sequence[Place]):
        """Has looked at nothing yet.

        Args:
          inbox: of the copy.
          own: name of the maintainer that keeps it, whose letters are handed on at once.
          places: the other copies.
        """
        self._inbox, self._own, self._places = inbox, own, places
        self._lying: dict[str, int] = {}

    def step(self, state: State) -> None:
        """Sees to it that others have what may be said now, and removes what may not.

        Args:
          state: the one that the copy shows.

        Raises:
          DiskError: the disk refused; the next pass goes on.
        """
        lying, end = dict[str, int](), time.monotonic() + _SECONDS
        letters = list(self._inbox.letters(lambda name, why: None))
        for letter in sorted(letters, key=lambda letter: self._rank(letter, state)):
            if time.monotonic() > end:
                lying = self._lying | lying
                break
            if self._admitted(letter, state):
                lying[letter.digest] = passes = self._lying.get(letter.digest, 0) + 1
                if letter.envelope.signer == self._own or passes % _PASSES == 0:
                    self._hand_on(letter)
        self._lying = lying

    def _rank(self, letter: Letter, state: State) -> tuple[bool, bool]:
        """Sorts one's own letters first, then members', then strangers'."""
        signer = letter.envelope.signer
        return signer != self._own, signer not in state.members

    def _admitted(self, letter: Letter, state: State) -> bool:
        try:
            admit(letter.envelope, state, letter.envelope.signer)
        except ProtocolError as error:  # the signature holds
            self._inbox.refuse(letter, f"{moment(state)}: {error}")
        except RelayError:
            self._inbox.remove(letter)
        else:
            return True
        return False

    def _hand_on(self, letter: Letter) -> None:
        for place in self._places:
            with suppress(ExchangeError, IntegrityError):
                if place.fetch(f"{FOLDER}/{letter.digest}.why", WHY_LIMIT) is None:
                    put(place, f"{FOLDER}/{letter.digest}.json", encode(letter.envelope))
