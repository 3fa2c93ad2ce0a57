"""A log that is read whole, from wherever its files lie, and held against what was seen of it before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relayjax import history
from relayjax.authority import check_founder, check_note, known_keys
from relayjax.errors import FormatError, IntegrityError, SplitViewError
from relayjax.history import History
from relayjax.ledger.checkpoint import Checkpoint, read_claim
from relayjax.ledger.entry import Entry
from relayjax.ledger.evidence import check_view, keep
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import SIZE_LIMIT as NOTE_LIMIT
from relayjax.ledger.note import signer_key
from relayjax.ledger.tiled import Fetch, TileReader, hashes_of
from relayjax.ledger.tiles import ENTRY_LIMIT, WIDTH, decode_bundle, encode_bundle, tiles_of
from relayjax.peers.bundle_folder import Bundle
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.inbox import Letter
from relayjax.peers.joining import introduced
from relayjax.records import Settle

_ATTEMPTS = 5
"""Looks at a log that grows meanwhile."""


@dataclass(frozen=True)
class LogName:
    """A log by its name and the Ed25519 public key that it was founded with, 64 hex digits."""

    origin: str
    key: str

    def claim(self, note: bytes, where: str) -> Checkpoint:
        """What a checkpoint says before it is known who may sign it.

        Raises:
          IntegrityError: it is none of this log.
        """
        try:
            return read_claim(note, self.origin, where)
        except FormatError as error:
            raise IntegrityError(where, str(error)) from error

    def hold(self, kept: bytes, offered: bytes, fetch: Fetch, known: WholeLog | None, evidence: Path) -> None:
        """Holds a checkpoint that is shown against one that was seen before.

        Args:
          kept: the note seen before.
          offered: the one shown now.
          fetch: of the files of the log that is shown.
          known: the log as far as it is believed; its maintainers may have signed.
          evidence: a directory for what proves that they contradict each other.

        Raises:
          SplitViewError: they do, or the log has gone back.
          FormatError, IntegrityError: a note is not the log's, or its tiles don't lead to its root.
        """
        reader = TileReader(fetch, self.claim(offered, CHECKPOINT).size)
        keys = dict.fromkeys((self.key, *(known_keys(known.history.state) if known else ())))
        try:
            check_view(kept, offered, [signer_key(self.origin, key) for key in keys], reader)
        except SplitViewError as error:
            keep(evidence, error.evidence)
            raise


@dataclass(frozen=True)
class WholeLog:
    """A verified log in memory.

    Attributes:
      note: its signed checkpoint.
      entries: all of them, in one chain, each signed and allowed.
      tree: over them.
      history: what they say.
    """

    note: bytes
    entries: list[bytes]
    tree: Tree
    history: History

    @classmethod
    def read(cls, name: LogName, note: bytes, fetch: Fetch) -> WholeLog:
        """Reads and verifies a log.

        Args:
          name: of it.
          note: the checkpoint that it must lead to.
          fetch: of its files.

        Raises:
          IntegrityError: a file is missing, or an entry is not what was signed, or not allowed.
        """
        checkpoint = name.claim(note, CHECKPOINT)
        entries: list[bytes] = []
        for tile in tiles_of(checkpoint.size):
            if tile.level == 0:
                try:
                    entries += decode_bundle(fetch(tile.bundle_path))
                except FormatError as error:
                    raise IntegrityError(tile.bundle_path, str(error)) from error
        tree = Tree([leaf_hash(entry) for entry in entries])
        if (tree.size, tree.root()) != (checkpoint.size, checkpoint.root):
            raise IntegrityError("ledger", "its entries are not those that were signed; ask for them again")
        past = history.read(entries)
        check_founder(past.state, name.key, CHECKPOINT)
        check_note(note, name.origin, past.state, CHECKPOINT)
        return cls(note, entries, tree, past)

    @classmethod
    def here(cls, folder: Path) -> tuple[LogName, WholeLog]:
        """The log of a folder, under the key that its genesis names; somebody may be writing it.

        Raises:
          WorkdirError: there is none.
          IntegrityError: it is damaged.
        """
        exchange = FolderExchange(folder)
        for attempt in range(_ATTEMPTS):
            try:
                name = LogName(*introduced(exchange))
                note = exchange.fetch(CHECKPOINT, NOTE_LIMIT) or b""
                return name, cls.read(name, note, files_of(exchange))
            except IntegrityError:
                if attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.entries)

    @property
    def root(self) -> bytes:
        """Merkle root, 32 bytes."""
        return self.tree.root()

    def settled(self, size: int) -> int:
        """How many rounds its first entries settle."""
        return sum(isinstance(record, Settle) for record in self.history.records[:size])

    def letters(self) -> set[str]:
        """The digests under which its records lay in the inbox."""
        return {Letter.of(Entry.decode(entry).envelope).digest for entry in self.entries}

    def files(self, since: int = 0) -> Iterator[tuple[str, bytes]]:
        """Its tiles and bundles of entries that one of `since` entries lacks, by path in a relay's folder."""
        for tile in tiles_of(self.size, since):
            yield f"ledger/{tile.path}", hashes_of(self.tree, tile)
            if tile.level == 0:
                entries = self.entries[tile.start : tile.start + tile.width]
                yield f"ledger/{tile.bundle_path}", encode_bundle(entries)

    def fetch(self, path: str) -> bytes:
        """The content of one of its tiles, by path relative to the log."""
        for tile in tiles_of(self.size):
            if tile.path == path:
                return hashes_of(self.tree, tile)
        raise IntegrityError(path, "is no file of this log")


def files_of(*places: Bundle | Exchange) -> Fetch:
    """Reads files of a log from the first of some places that has them."""

    def fetch(path: str) -> bytes:
        for place in places:
            data = place.fetch(f"ledger/{path}", WIDTH * ENTRY_LIMIT)
            if data is not None:
                return data
        raise IntegrityError(f"ledger/{path}", "is missing; fetch it again, or everything")

    return fetch
