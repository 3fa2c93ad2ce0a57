"""Handing an artefact over in pieces. Beside the artefact itself one sealed piece is in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence

from relayjax import hashing
from relayjax.hashing import Buffer
from relayjax.identity import seal
from relayjax.peers import parcel
from relayjax.peers.exchange import Exchange, holds, put


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
        for number, digest in enumerate(self._digests):
            path = parcel.piece_path(self.path, number)
            if digest and holds(exchange, path, digest, self.head.room(number)):
                continue
            sealed = self.head.seal(number, self._data[self.head.span(number)])
            self._digests[number] = hashing.digest(sealed)
            put(exchange, path, sealed)
        put(exchange, self.path, self._sealed)
