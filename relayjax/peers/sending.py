"""Handing an artefact over in pieces: beside it two sealed pieces are in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from relayjax.hashing import Buffer
from relayjax.identity import seal
from relayjax.peers import parcel
from relayjax.peers.exchange import Exchange, holds, put

_AT_ONCE = 2
"""Pieces that are put at a time: one is sealed as another is sent or flushed."""


class Parcel:
    """An artefact to be handed over, and to be looked after while it is wanted.

    Sealing it again gives the same pieces, so only their digests are kept; what lies there already is not
    moved again, not even after a restart.
    """

    def __init__(self, path: str, data: Buffer, secret: bytes, recipients: Sequence[str]):
        """Seals the head.

        Args:
          path: where it is to lie.
          data: the artefact; it must not change.
          secret: of who hands it over, see `parcel.head_of`.
          recipients: who may open it, `age1…`.
        """
        self.path, self.head = path, parcel.head_of(data, secret)
        self._data = memoryview(data).cast("B")
        self._sealed = seal(self.head.encode(b"" if self.head.pieces else data), recipients)
        self._digests = [""] * self.head.pieces

    def put(self, exchange: Exchange) -> None:
        """Offers what does not lie there as it should; the head comes last.

        Raises:
          DiskError, ExchangeError: as for `Exchange.offer`; doing it again goes on.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(partial(self._put, exchange), range(self.head.pieces)))
        put(exchange, self.path, self._sealed)

    def _put(self, exchange: Exchange, number: int) -> None:
        path, digest = parcel.piece_path(self.path, number), self._digests[number]
        if digest and holds(exchange, path, digest, self.head.room(number)):
            return
        sealed = self.head.seal(number, self._data[self.head.span(number)])
        self._digests[number] = put(exchange, path, sealed)
