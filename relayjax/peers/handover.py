"""Artefacts of the present round on their way, sealed, at names that follow from the agreed state.

    handover/ROUND-parent-VERSION.age      a head's weights, sealed by the orderer to the matched trainers
    handover/ROUND-step-BASE-VERSION.age   what leads there from a version that they were given before
    handover/ROUND-delta-NAME.age          an encoded delta, sealed by its trainer to the orderer
    handover/ROUND-candidate-NAME.age      the same, sealed by the orderer to all maintainers

Each is the head of a parcel, whose pieces lie beside it; see `parcel.py`. A trainer seals to the orderer
alone, and the orderer passes on what it has checked: else a trainer could show its delta to some maintainers
only, and the others could not report. What is opened counts only if its digest is the ledger's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from relayjax import files, hashing
from relayjax.hashing import Buffer
from relayjax.identity import Keys
from relayjax.mechanism.state import State
from relayjax.peers.collecting import collect, fetch_head
from relayjax.peers.exchange import Exchange, FolderExchange, room
from relayjax.peers.parcel import piece_path
from relayjax.replay import public_keys

FOLDER = "handover"


def parent(round: int, version: int) -> str:
    """Path of a version's weights for a round's trainers."""
    return f"{FOLDER}/{round:05d}-parent-{version}.age"


def step(round: int, base: str, version: int) -> str:
    """Path of the step to a version from one of a digest."""
    return f"{FOLDER}/{round:05d}-step-{base[:16]}-{version}.age"


def delta(round: int, name: str) -> str:
    """Path of a trainer's delta for the orderer."""
    return f"{FOLDER}/{round:05d}-delta-{name}.age"


def is_delta(path: str) -> bool:
    """Whether a path is of what a trainer hands over."""
    return path.startswith(f"{FOLDER}/") and path.partition("-")[2].startswith("delta-")


def whole(path: str) -> str:
    """Path of the head that a file is, or is a piece of."""
    head, dot, _ = path.rpartition(".age.")
    return f"{head}.age" if dot else path


def candidate(round: int, name: str) -> str:
    """Path of a trainer's delta for all maintainers."""
    return f"{FOLDER}/{round:05d}-candidate-{name}.age"


def round_of(file_name: str) -> int | None:
    """The round that a file in the folder, or a part of one, belongs to; None if it has no such name."""
    number = file_name.removeprefix(".").partition("-")[0]
    return int(number) if number.isdecimal() and number.isascii() and len(number) < 16 else None


def receiving_keys(state: State, names: Iterable[str]) -> list[str]:
    """Public keys that something is sealed to for members to open, `age1…`."""
    return [public_keys(state.members[name]).receiving for name in sorted(set(names))]


def take(
    exchange: Exchange, path: str, keys: Keys, expected: str, limit: int, kept: Path | None = None
) -> bytes | None:
    """Opens what somebody handed over.

    Args:
      exchange: where.
      path: of the head.
      keys: of who opens it.
      expected: digest of the plaintext.
      limit: bytes the plaintext may have.
      kept: where pieces are kept until all are there; None to keep none.

    Returns:
      The plaintext; None if it is not there, or is something else: then it is to be handed over again.

    Raises:
      ExchangeError: nobody can be reached.
    """
    found = fetch_head(exchange, path, keys, limit)
    if found is None or found.head.digest != expected or found.head.base:
        return None
    if not found.head.pieces:
        return found.inline if hashing.digest(found.inline) == expected else None
    head, buffer, name = found.head, room(found.head.size), path.rpartition("/")[2]
    if kept is None:
        missing = collect(exchange, path, head, buffer, range(head.pieces))
        return None if missing else bytes(buffer)

    def keep(number: int, sealed: Buffer) -> None:
        files.write_cached(kept / piece_path(name, number), sealed)

    missing = collect(FolderExchange(kept), name, head, buffer, range(head.pieces), attempts=1)
    if collect(exchange, path, head, buffer, missing, keep=keep):
        return None
    for number in range(head.pieces):
        files.remove(kept / piece_path(name, number))
    return bytes(buffer)
