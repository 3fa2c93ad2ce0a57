"""An exchange over several places where one relay can be reached; none of them is trusted.

Each is a copy that some maintainer keeps, so a file is fetched from the first place that has it, beginning
with one whose log is as it is believed: what is on its way there fits that log. A record or a vote is handed
in wherever somebody answers, for whoever keeps a copy passes it on. A delta is offered to all as well: who
orders takes it, copies do not, and whoever takes what is not for it makes nobody believe that this was all.
Who did not answer, or did not take a delta, is left alone for a while: a machine that is gone does not delay
everybody else, and a large delta is not sent in vain again and again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf
from typing import TypeVar

from relayjax.errors import DiskError, ExchangeError, IntegrityError
from relayjax.ledger.note import SIZE_LIMIT
from relayjax.peers import handover
from relayjax.peers.exchange import Exchange, fetch_into, holds, put
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.uploads import Signer, Signing

T = TypeVar("T")

_LARGEST = 1 << 25
"""Bytes that a file of an exchange may have; what is large consists of many."""

_PAUSE = 5.0
"""Seconds after which a delta that was not taken is offered again."""

_SHORTEST, _LONGEST = 0.5, 15.0
"""Seconds for which a place is left alone after it did not answer, and after it has not for long."""


class Place:
    """One place, and whether it is worth asking now.

    Attributes:
      name: the address, for who watches.
    """

    def __init__(self, name: str, exchange: Exchange, clock: Callable[[], float] = time.monotonic):
        """Asks nothing yet.

        Args:
          name: see above.
          exchange: there.
          clock: seconds, never backwards.
        """
        self.name = name
        self._exchange, self._clock = exchange, clock
        self._rest, self._until = 0.0, clock()
        self._failed: ExchangeError | None = None
        self._refused: dict[str, float] = {}

    def fetch(self, path: str, limit: int) -> bytes | None:
        return self._ask(lambda: self._exchange.fetch(path, limit))

    def fetch_into(self, path: str, target: memoryview) -> int | None:
        return self._ask(lambda: fetch_into(self._exchange, path, target))

    def holds(self, path: str, digest: str) -> bool:
        return self._ask(lambda: holds(self._exchange, path, digest, _LARGEST))

    def offer(self, path: str, data: bytes) -> None:
        self._awake()
        self._exchange.offer(path, data)  # what is refused here does not mean that nobody answers

    def sign(self, signer: Signer | None) -> None:
        """Has what is put signed from now on, where that is asked for."""
        if isinstance(self._exchange, Signing):
            self._exchange.signer = signer

    def refuse(self, path: str) -> None:
        """Notes that a delta was not taken here."""
        now = self._clock()
        self._refused = {path: end for path, end in self._refused.items() if end > now}
        self._refused[handover.whole(path)] = now + _PAUSE

    def refuses(self, path: str) -> bool:
        """Whether a delta, or a part of it, was not taken here just before."""
        return self._refused.get(handover.whole(path), -inf) > self._clock()

    @property
    def answers(self) -> bool:
        """Whether it did when it was asked last."""
        return self._failed is None

    def _awake(self) -> None:
        failed = self._failed
        if failed is not None and self._clock() < self._until:
            raise failed.with_traceback(None)

    def _ask(self, call: Callable[[], T]) -> T:
        self._awake()
        try:
            found = call()
        except ExchangeError as error:
            self._failed = error
            self._rest = min(max(2 * self._rest, _SHORTEST), _LONGEST)
            self._until = self._clock() + self._rest
            raise
        self._rest, self._failed = 0.0, None
        return found


class Several:
    """All places of one relay. May be used from several threads: these decide only whom to ask first."""

    def __init__(self, places: Sequence[Place]):
        """Asks nothing yet.

        Args:
          places: at least one.
        """
        self.places = tuple(places)
        self._signer: Signer | None = None
        self._first = 0

    @property
    def signer(self) -> Signer | None:
        """Who signs what is put; see `uploads.py`."""
        return self._signer

    @signer.setter
    def signer(self, signer: Signer | None) -> None:
        self._signer = signer
        for place in self.places:
            place.sign(signer)

    def prefer(self, place: Place) -> None:
        """Asks a place before the others from now on."""
        self._first = self.places.index(place)

    def checkpoints(self) -> list[tuple[Place, bytes]]:
        """What each place that answers shows of the log.

        Raises:
          ExchangeError: nobody answers.
        """
        found, failed = list[tuple[Place, bytes]](), list[ExchangeError]()
        for place in self.places:
            try:
                note = place.fetch(CHECKPOINT, SIZE_LIMIT)
            except ExchangeError as error:
                failed.append(error)
            else:
                found += [] if note is None else [(place, note)]
        if len(failed) == len(self.places):
            raise failed[0]
        return found

    def fetch(self, path: str, limit: int) -> bytes | None:
        return self._first_of(lambda place: place.fetch(path, limit))

    def fetch_into(self, path: str, target: memoryview) -> int | None:
        return self._first_of(lambda place: place.fetch_into(path, target))

    def holds(self, path: str, digest: str) -> bool:
        """Whether it lies wherever somebody answers, but for a delta where it was not taken."""
        answers, failed = list[bool](), list[ExchangeError]()
        for place in self.places:
            if handover.is_delta(path) and place.refuses(path):
                continue
            try:
                answers.append(place.holds(path, digest))
            except ExchangeError as error:
                failed.append(error)
        if not answers and failed:
            raise failed[0]
        return bool(answers) and all(answers)

    def offer(self, path: str, data: bytes) -> None:
        taken, failed, delta = False, list[ExchangeError](), handover.is_delta(path)
        for place in self.places:
            if delta and place.refuses(path):
                continue
            try:
                put(place, path, data)
                taken = True
            except ExchangeError as error:
                failed.append(error)
                if delta and place.answers:
                    place.refuse(path)
        if not taken:
            raise failed[0] if failed else ExchangeError(path, "nobody takes it now", "wait a little")

    def _first_of(self, ask: Callable[[Place], T | None]) -> T | None:
        """The first answer that is one; None if somebody answers and nobody has it."""
        answered, failed = False, list[ExchangeError | IntegrityError | DiskError]()
        for place in self.places[self._first :] + self.places[: self._first]:
            try:
                found = ask(place)
            except (ExchangeError, IntegrityError, DiskError) as error:
                failed.append(error)
            else:
                answered = True
                if found is not None:
                    return found
        if not answered:
            raise failed[0]
        return None
