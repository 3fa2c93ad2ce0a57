"""Following a log that somebody else writes: every new entry is verified before it counts.

A follower knows the log by its name and its key. It holds each checkpoint against the one before, also over
a restart, and builds the Merkle tree itself: entries that do not lead to the signed root are not believed. A
log that has shrunk, or shows another history than before, is refused, and what proves it is kept.
"""

from __future__ import annotations

from pathlib import Path

from relayjax import files
from relayjax.errors import FormatError, IntegrityError, SplitViewError
from relayjax.ledger.checkpoint import Checkpoint, verify_checkpoint
from relayjax.ledger.entry import FIRST_PREV, digest
from relayjax.ledger.evidence import check_view, keep
from relayjax.ledger.merkle import HASH_SIZE, Tree, leaf_hash
from relayjax.ledger.note import SIZE_LIMIT, signer_key
from relayjax.ledger.tiled import TileReader
from relayjax.ledger.tiles import ENTRY_LIMIT, WIDTH, decode_bundle, tiles_of
from relayjax.peers.chronicle import Chronicle
from relayjax.peers.exchange import Exchange
from relayjax.replay import replay

CHECKPOINT = "ledger/checkpoint"


class _NotThereError(Exception):
    """A file of the log is not there now: the checkpoint read before is already outdated, or it got lost."""


class Follower:
    """The verified story of a log, as far as it was read.

    Attributes:
      chronicle: what it says.
      size: entries read.
    """

    def __init__(self, exchange: Exchange, origin: str, log_key: str, seen: Path | None = None):
        """Has read nothing yet.

        Args:
          exchange: where the log is.
          origin: its name.
          log_key: its Ed25519 public key, 64 hex digits, known from elsewhere.
          seen: a file that remembers the last checkpoint; None to remember it in memory only.
        """
        self.chronicle = Chronicle()
        self.size = 0
        self._exchange, self._origin, self._log_key, self._seen = exchange, origin, log_key, seen
        self._vkey = signer_key(origin, log_key)
        self._tree, self._prev = Tree(), FIRST_PREV
        self._note = files.read(seen, SIZE_LIMIT) if seen and seen.exists() else None

    @property
    def root(self) -> bytes:
        """Merkle root over the entries read, 32 bytes."""
        return self._tree.root()

    def poll(self) -> bool:
        """Reads what is new; returns whether something was.

        Raises:
          SplitViewError: the log shows another history than before, or less of it; evidence lies beside the
            file that remembers.
          IntegrityError: a checkpoint or entry is not what was signed, or not allowed; nothing was taken in.
        """
        note = self._exchange.fetch(CHECKPOINT, SIZE_LIMIT)
        if note is None or (note == self._note and self.size):
            return False
        try:
            checkpoint = verify_checkpoint(note, self._origin, self._log_key, CHECKPOINT)
        except FormatError as error:
            raise IntegrityError(CHECKPOINT, str(error)) from error
        try:
            entries = self._new_entries(note, checkpoint)
            steps = list(replay(entries, self.size, self._prev, self.chronicle.state))
        except _NotThereError:
            self._tree.truncate(self.size)
            return False
        except BaseException:
            self._tree.truncate(self.size)
            raise
        for step in steps:
            self.chronicle.add(step.record, step.state)
        self.size = checkpoint.size
        self._prev = digest(entries[-1]) if entries else self._prev
        self._note = note
        if self._seen:
            files.write_atomic(self._seen, note)
        return bool(entries)

    def _new_entries(self, note: bytes, checkpoint: Checkpoint) -> list[bytes]:
        """The entries that a verified checkpoint adds, added to the tree; what contradicts it is refused."""
        if self._note is not None and (not self.size or checkpoint.size <= self.size):
            self._compare(note, checkpoint)
        entries = self._read(checkpoint.size)
        for entry in entries:
            self._tree.append(leaf_hash(entry))
        if self._tree.root() != checkpoint.root:
            self._compare(note, checkpoint)
            raise IntegrityError("ledger", "its entries are not those that were signed; ask for them again")
        return entries

    def _compare(self, note: bytes, checkpoint: Checkpoint) -> None:
        if self._note is None:
            return
        reader = TileReader(lambda name: self._file(name, WIDTH * HASH_SIZE), checkpoint.size)
        try:
            check_view(self._note, note, self._vkey, reader)
        except SplitViewError as error:
            if self._seen:
                keep(self._seen.parent, error.evidence)
            raise

    def _read(self, size: int) -> list[bytes]:
        entries: list[bytes] = []
        for tile in tiles_of(size, self.size):
            if tile.level:
                continue
            try:
                bundle = list(decode_bundle(self._file(tile.bundle_path, tile.width * ENTRY_LIMIT)))
            except FormatError as error:
                raise IntegrityError(tile.bundle_path, str(error)) from error
            entries += bundle[max(0, self.size - tile.start) : tile.width]
        if len(entries) != size - self.size:
            raise IntegrityError("ledger", f"it holds {len(entries)} new entries, signed for {size}")
        return entries

    def _file(self, name: str, limit: int) -> bytes:
        data = self._exchange.fetch(f"ledger/{name}", limit)
        if data is None:
            raise _NotThereError(name)
        return data
