"""Fetching a whole relay, so that it can be verified, audited or served where it was only reached before.

What is there already is not fetched again, so a copy that was cut short goes on, and one of yesterday grows.
"""

from __future__ import annotations

from pathlib import Path

from relayjax import files, hashing
from relayjax.authority import check_note, sealer
from relayjax.errors import FormatError, IntegrityError
from relayjax.ledger.disk import superfluous_files
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import SIZE_LIMIT as NOTE_LIMIT
from relayjax.ledger.tiled import hashes_of
from relayjax.ledger.tiles import ENTRY_LIMIT, Tile, decode_bundle, tiles_of
from relayjax.mechanism.state import State
from relayjax.pack import ModelVersion
from relayjax.peers.exchange import Exchange
from relayjax.peers.follower import CHECKPOINT, Follower
from relayjax.peers.parcel import sealed_limit
from relayjax.store.local import LocalStore
from relayjax.store.manifest import PIECE, SIZE_LIMIT, verify_manifest

_ATTEMPTS = 5
"""Looks at a log that grows meanwhile."""


def copy(exchange: Exchange, follower: Follower, origin: str, log_key: str, folder: Path) -> None:
    """Fetches log, seals and artefacts; the checkpoint comes last, so a part of a copy is none.

    Args:
      exchange: of the relay.
      follower: of its log; verifies what it says.
      origin, log_key: of the log.
      folder: of the copy.

    Raises:
      IntegrityError: something is missing, or not what was signed.
      ExchangeError: nobody can be reached.
      DiskError: the disk refused.
    """
    note = _newest(exchange, follower, origin)
    history = follower.chronicle.history
    genesis = ModelVersion(0, history.genesis.weights, history.genesis.layout)
    store = LocalStore(folder / "store")
    keep_blob(exchange, store, genesis.weights, 4 * genesis.size)
    for settled in history.rounds:
        copy_round(exchange, store, folder, history.state, settled.number)
    for tile in tiles_of(follower.size):
        _copy_tile(exchange, follower.tree, tile, folder / "ledger")
    files.write_atomic(folder / CHECKPOINT, note)
    for path in superfluous_files(folder / "ledger", follower.size):
        if path.startswith("tile/"):  # of an earlier copy, outgrown
            files.remove(folder / "ledger" / path)


def _copy_tile(exchange: Exchange, tree: Tree, tile: Tile, ledger: Path) -> None:
    """Writes a tile out of the verified tree, and what is fetched of entries if they lead to it."""
    if not (ledger / tile.path).exists():
        files.write_atomic(ledger / tile.path, hashes_of(tree, tile))
    if tile.level or (ledger / tile.bundle_path).exists():
        return
    path = f"ledger/{tile.bundle_path}"
    data = _fetched(exchange, path, tile.width * ENTRY_LIMIT)
    try:
        leaves = [leaf_hash(entry) for entry in decode_bundle(data)]
    except FormatError as error:
        raise IntegrityError(path, str(error)) from error
    if b"".join(leaves) != hashes_of(tree, tile):
        raise IntegrityError(path, "its entries are not those that were followed; fetch it again")
    files.write_atomic(ledger / tile.bundle_path, data)


def _newest(exchange: Exchange, follower: Follower, origin: str) -> bytes:
    """The signed checkpoint of exactly the entries that were followed."""
    for _ in range(_ATTEMPTS):
        follower.poll()
        note = _fetched(exchange, CHECKPOINT, NOTE_LIMIT)
        try:
            checkpoint = check_note(note, origin, follower.chronicle.history.state, CHECKPOINT)
        except FormatError as error:
            raise IntegrityError(CHECKPOINT, str(error)) from error
        if (checkpoint.size, checkpoint.root) == (follower.size, follower.root):
            return note
    raise IntegrityError(CHECKPOINT, "does not fit the entries, or the log grows all the time; try again")


def copy_round(exchange: Exchange, store: LocalStore, folder: Path, state: State, round: int) -> None:
    """Fetches a settled round's artefacts, and its manifest after them; errors as for `copy`."""
    path = f"seals/{round:05d}.json"
    data = _fetched(exchange, path, SIZE_LIMIT)
    signer = sealer(state, round)
    for seal in verify_manifest(data, {signer.name: signer}, round, path).seals:
        for piece in seal.sealed:
            keep_blob(exchange, store, piece, sealed_limit(min(seal.size, PIECE)))
    files.write_atomic(folder / path, data)


def keep_blob(exchange: Exchange, store: LocalStore, digest: str, limit: int) -> None:
    """Fetches an artefact unless it is there; errors as for `copy`."""
    if store.has(digest):
        return
    path = f"store/{digest[:2]}/{digest[2:]}"
    data = _fetched(exchange, path, limit)
    if hashing.digest(data) != digest:
        raise IntegrityError(path, "not what its name says; fetch it again")
    store.put(data)


def _fetched(exchange: Exchange, path: str, limit: int) -> bytes:
    data = exchange.fetch(path, limit)
    if data is None:
        raise IntegrityError(path, "is missing; ask the ordering maintainer for it")
    return data
