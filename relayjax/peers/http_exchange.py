"""An exchange whose folder somebody serves over HTTP; see `http_server.py`.

The server and the line to it are trusted with nothing: what arrives is held against signatures and digests
by whoever asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from relayjax.peers.http_line import Address, HttpLine
from relayjax.peers.uploads import HEADER, Signer


class HttpExchange:
    """An exchange at an address. May be used from several threads: each has a connection of its own.

    Attributes:
      signer: who signs what is put; None if nobody does.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, attempts: int = 5, pause: float = 0.1):
        """Connects to nothing yet.

        Args:
          url: of the folder, such as `https://relay.example/digits`.
          timeout: seconds without a byte after which a connection is given up.
          attempts: failures in a row, without a byte gained, after which an operation is given up.
          pause: seconds before the second repetition; the first is immediate, each later one waits twice
            as long as the one before.

        Raises:
          ConfigError: the address is none.
        """
        address = Address.parse(url)
        self.url = address.url
        self._open = partial(HttpLine, address, timeout=timeout, attempts=attempts, pause=pause)
        self._idle: list[HttpLine] = []
        self.signer: Signer | None = None

    def fetch(self, path: str, limit: int) -> bytes | None:
        with self._line() as line:
            return line.fetch(path, limit)

    def fetch_into(self, path: str, target: memoryview) -> int | None:
        with self._line() as line:
            return line.fetch_into(path, target)

    def holds(self, path: str, digest: str) -> bool:
        with self._line() as line:
            return line.holds(path, digest)

    def offer(self, path: str, data: bytes) -> None:
        with self._line() as line:
            line.offer(path, data, {HEADER: self.signer.header(path, data)} if self.signer else {})

    @contextmanager
    def _line(self) -> Iterator[HttpLine]:
        """Lends a connection: one that was used before, or a new one while others use those."""
        try:
            line = self._idle.pop()
        except IndexError:
            line = self._open()
        try:
            yield line
        finally:
            self._idle.append(line)
