"""Taking an artefact up in pieces, each verified as it comes, another one on its way meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

from relayjax.errors import AccessError, DiskError, FormatError, IntegrityError
from relayjax.hashing import Buffer
from relayjax.identity import Keys, open_sealed
from relayjax.peers import parcel
from relayjax.peers.exchange import Exchange, fetch_into, room
from relayjax.peers.parcel import Head

_AT_ONCE = 2
"""Pieces on their way at a time: one is opened, while it lies in a cache still, as another one comes."""

_ATTEMPTS = 3
"""How often a piece that is damaged is asked for before it is left for another time."""


@dataclass(frozen=True)
class Opened:
    """A head that was opened.

    Attributes:
      head: what it says.
      inline: the artefact, where it has no pieces.
      sealed: the head as it came.
    """

    head: Head
    inline: bytes
    sealed: bytes


def fetch_head(exchange: Exchange, path: str, keys: Keys, size: int) -> Opened | None:
    """Fetches and opens a head.

    Args:
      exchange: where.
      path: of the head.
      keys: of who opens it.
      size: bytes that the artefact may have.

    Returns:
      None if it is not there, or is something else.
    """
    try:
        sealed = exchange.fetch(path, parcel.head_limit(size))
        if sealed is None:
            return None
        head, inline = parcel.decode_head(open_sealed(sealed, keys))
    except (AccessError, IntegrityError, FormatError, DiskError):
        return None
    return Opened(head, inline, sealed) if head.size <= size else None


def fetch_piece(exchange: Exchange, path: str, head: Head, number: int, place: memoryview) -> None:
    """Fetches one piece of an artefact.

    Args:
      exchange, path, head: as for `collect`.
      number: of the piece.
      place: the bytes that it is about, to be filled.

    Raises:
      IntegrityError: it is not there, or not right.
    """
    buffer = room(head.room(number))
    size = fetch_into(exchange, parcel.piece_path(path, number), buffer)
    head.open(number, buffer[: size or 0], place)


def collect(
    exchange: Exchange,
    path: str,
    head: Head,
    target: memoryview,
    numbers: Iterable[int],
    *,
    prepare: Callable[[int, memoryview], None] | None = None,
    keep: Callable[[int, Buffer], None] | None = None,
    done: Callable[[int], None] | None = None,
    attempts: int = _ATTEMPTS,
) -> list[int]:
    """Fetches pieces into their places.

    Args:
      exchange: where; it is used by several threads until this returns, as are the functions.
      path: of the head.
      head: what to expect.
      target: the artefact's bytes.
      numbers: of the pieces to fetch.
      prepare: fills a piece's place before the piece is opened: with the base's bytes, where it is a step.
      keep: is given each piece as it came, before it is known to be right; the buffer is used again.
      done: is told of each piece that was right.
      attempts: how often a damaged piece is asked for.

    Returns:
      Numbers of those that were not there, or not right.

    Raises:
      ExchangeError: nobody can be reached; what was kept stands.
    """
    left = list(numbers)
    buffers = [room(max(map(head.room, left), default=0)) for _ in left[:_AT_ONCE]]

    def take(number: int) -> _Found:
        buffer = buffers.pop()
        try:
            sealed = _fetch(exchange, parcel.piece_path(path, number), buffer[: head.room(number)])
            if sealed is None:
                return _Found.NOTHING
            if sealed and keep:
                keep(number, sealed)
            place = target[head.span(number)]
            if prepare:
                prepare(number, place)
            head.open(number, sealed, place)
            if done:
                done(number)
        except IntegrityError:
            return _Found.DAMAGED
        finally:
            buffers.append(buffer)
        return _Found.RIGHT

    missing = list[int]()
    for _ in range(attempts):
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = dict(zip(left, pool.map(take, left), strict=True))
        missing += [number for number in left if found[number] is _Found.NOTHING]
        left = [number for number in left if found[number] is _Found.DAMAGED]
        if not left:
            break
    return sorted([*left, *missing])


class _Found(Enum):
    RIGHT, DAMAGED, NOTHING = range(3)


def _fetch(exchange: Exchange, path: str, buffer: memoryview) -> memoryview | None:
    """What lies there; nothing of it where it is longer than it may be, or no file that can be read."""
    try:
        size = fetch_into(exchange, path, buffer)
    except (IntegrityError, DiskError):
        size = 0
    return None if size is None else buffer[:size]
