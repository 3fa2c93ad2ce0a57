"""Putting a relay, or what members elsewhere lack of it, into a bundle."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relayjax import files, hashing
from relayjax.authority import sealer
from relayjax.errors import DiskError, IntegrityError
from relayjax.mechanism.state import State
from relayjax.peers.bundle import LETTERS_LIMIT, Kind, Manifest, is_delta
from relayjax.peers.bundle_folder import Bundle, write
from relayjax.peers.bundle_letters import hold
from relayjax.peers.bundle_log import WholeLog
from relayjax.peers.bundle_replica import handed
from relayjax.peers.exchange import FolderExchange, is_regular
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.inbox import FOLDER as INBOX
from relayjax.peers.parcel import sealed_limit
from relayjax.peers.voice import WHY_LIMIT
from relayjax.store.local import LocalStore
from relayjax.store.manifest import PIECE, SIZE_LIMIT, verify_manifest


@dataclass(frozen=True)
class Exported:
    """What was put into a bundle.

    Attributes:
      manifest: of the bundle.
      log: of the relay.
      since: entries that those it is for have.
    """

    manifest: Manifest
    log: WholeLog
    since: int


def export(folder: Path, path: Path, since: Bundle | None = None) -> Exported:
    """Writes a bundle of a relay; somebody may be ordering its records meanwhile.

    Args:
      folder: of the relay.
      path: of the bundle.
      since: letters of those it is for; what they have is left out.

    Raises:
      WorkdirError: there is no relay, or `path` holds something else.
      FormatError, SplitViewError: as `bundle_letters.hold` says of `since`.
      IntegrityError: something in the folder is missing or damaged.
      DiskError: the disk refused.
    """
    name, log = WholeLog.here(folder)
    entries = hold(since, name, log, folder) if since else 0
    held = frozenset(since.manifest.held) if since else frozenset[str]()
    manifest = write(path, Kind.RELAY, name.origin, name.key, _contents(folder, log, entries, held))
    return Exported(manifest, log, entries)


def _contents(folder: Path, log: WholeLog, since: int, held: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Paths and bytes of what a folder has and one with the log's first entries lacks."""
    yield CHECKPOINT, log.note
    yield from log.files(since)
    store, past = LocalStore(folder / "store"), log.history
    if not since:
        yield f"store/{past.genesis.weights[:2]}/{past.genesis.weights[2:]}", store.get(past.genesis.weights)
    for settled in past.rounds[log.settled(since) :]:
        path = f"seals/{settled.number:05d}.json"
        data = FolderExchange(folder).fetch(path, SIZE_LIMIT)
        if data is None:
            raise IntegrityError(str(folder / path), "is missing; restore it from a copy")
        yield path, data
        for piece, limit in pieces_of(data, past.state, settled.number):
            yield f"store/{piece[:2]}/{piece[2:]}", store.get(piece, limit)
    for path, data in handed(folder, past.state):
        if not is_delta(path) and hashing.digest(data) not in held:
            yield path, data
    for file in sorted((folder / INBOX).glob("*.why"))[:LETTERS_LIMIT]:
        if is_regular(file) and hashing.is_digest(file.stem):
            with suppress(DiskError):  # removed in between
                yield f"{INBOX}/{file.name}", files.read(file, WHY_LIMIT)


def pieces_of(data: bytes, state: State, round: int) -> list[tuple[str, int]]:
    """The sealed pieces that a round's seal manifest names, with the bytes that each may have.

    Raises:
      IntegrityError: who ordered the round has not signed it.
    """
    signer = sealer(state, round)
    seals = verify_manifest(data, {signer.name: signer}, round, f"seals/{round:05d}.json").seals
    return [(piece, sealed_limit(min(seal.size, PIECE))) for seal in seals for piece in seal.sealed]
