"""Making the step from a version to another one: the lossless difference, a piece at a time.

A step of a leg has 0.35 to 0.65 of the version's bytes, that between versions which have nothing in common
0.85. It takes longer to apply than to open a piece, so it is only made where it saves a quarter.
"""

from __future__ import annotations

from collections.abc import Sequence

from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys, seal
from relayjax.peers import parcel
from relayjax.peers.collecting import fetch_head, fetch_piece
from relayjax.peers.exchange import Exchange, room
from relayjax.peers.parcel import Head


def put_step(
    exchange: Exchange,
    keys: Keys,
    base_path: str,
    base: str,
    path: str,
    whole: Head,
    new: memoryview,
    recipients: Sequence[str],
) -> bool:
    """Puts the step to a version unless it lies there already, or saves less than a quarter.

    Args:
      exchange: where.
      keys: that open the base.
      base_path: where the base was handed over.
      base: its digest.
      path: where the step is to lie.
      whole: head of the version that it leads to.
      new: that version's bytes.
      recipients: who may open it, `age1…`.

    Returns:
      Whether it lies there now.

    Raises:
      DiskError, ExchangeError: as for `Exchange.offer`.
    """
    there = fetch_head(exchange, path, keys, whole.size)
    if there and (there.head.base, there.head.chunks) == (base, whole.chunks):
        return True
    old = fetch_head(exchange, base_path, keys, whole.size)
    if old is None or (old.head.digest, old.head.size, old.head.base) != (base, whole.size, ""):
        return False
    head, size = parcel.step_of(whole, base), 0
    buffer = room(min(parcel.PIECE, head.size))
    for number in range(head.pieces):
        span = head.span(number)
        place = buffer[: span.stop - span.start]
        try:
            fetch_piece(exchange, base_path, old.head, number, place)
            sealed = head.seal(number, parcel.encode_step(place, new[span]))
        except (IntegrityError, FormatError):  # somebody has damaged it, or it holds what is not finite
            return False
        size += len(sealed)
        if 4 * size > 3 * span.stop:
            return False
        exchange.offer(parcel.piece_path(path, number), sealed)
    exchange.offer(path, seal(head.encode(), recipients))
    return True
