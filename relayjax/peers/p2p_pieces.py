"""Trainers that serve each other pieces of the version they hold, so that not all of it comes from one place.

    GET /held/DIGEST/parcel.N     piece N of that version, as the orderer sealed it

The same version is sealed to the same pieces for all who are given it, and whoever was not given it can't
open them: the head, which has their key, is not served. Nothing can be put here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from relayjax import files
from relayjax.peers.http_gate import Awaited, Gate, RefusedError
from relayjax.peers.http_serving import Served, serving

_PIECES = re.compile(r"held/[0-9a-f]{64}/parcel\.(0|[1-9][0-9]{0,8})")


class Closed(Gate):
    """Lets nothing in."""

    def limit(self, path: str) -> int:
        raise RefusedError(HTTPStatus.FORBIDDEN, "nothing can be put here")


@contextmanager
def serving_pieces(served: Served, home: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Serves what a trainer holds, for a time.

    Args:
      served: where.
      home: the trainer's own directory.
      tell: is given lines for who watches; called from several threads.

    Raises:
      ConfigError, WorkdirError: as for `Served.open`.
    """
    awaited = lambda: Awaited({}, 0)  # noqa: E731
    files.make_directory(home, mode=0o700)
    server = served.open(home, awaited, tell)
    server.readable, server.gate = _PIECES, Closed(home, awaited, time.monotonic)
    with serving(server):
        yield
