"""The log itself: a directory of tiles and bundles under a signed checkpoint, appended to batch by batch.

The checkpoint is the commit point. A batch first writes the new tiles and bundles, which no checkpoint speaks
of yet, then replaces the checkpoint, then deletes the parts of tiles that are full now. Killed anywhere in
between, the directory is the old log or the new one plus files that none of its checkpoints needs; opening it
again deletes those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from relayjax.errors import ConfigError, IntegrityError, WorkdirError
from relayjax.files import is_temporary, remove, remove_tree, write_atomic, write_many
from relayjax.identity import Keys
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from relayjax.ledger.disk import CHECKPOINT, read_bundle, read_checkpoint, superfluous_files
from relayjax.ledger.entry import FIRST_PREV, digest
from relayjax.ledger.merkle import EMPTY_ROOT, Tree, leaf_hash
from relayjax.ledger.note import parse_note
from relayjax.ledger.proof import Receipt
from relayjax.ledger.tiles import (
    check_entry,
    completed,
    encode_bundle,
    paths_of,
    tiles_of,
)

Entitled = Callable[[Sequence[bytes]], Iterable[str]]
"""The public keys, 64 hex digits, of which one signs a log that has these entries."""


class Log:
    """An append-only log of byte strings. One process writes at a time; its caller holds the lock.

    The entries and their hashes are also kept in memory, so appending hashes the new entries alone.
    """

    def __init__(
        self, path: Path, origin: str, public_keys: Iterable[str], note: bytes, entries: list[bytes]
    ):
        """For `create` and `open`, which see to it that disk and arguments agree."""
        self.path = path
        self.origin = origin
        self._public_keys = tuple(public_keys)
        self._note = note
        self._entries = entries
        self._tree = Tree([leaf_hash(entry) for entry in entries])
        self._broken = False

    @classmethod
    def create(cls, path: Path, origin: str, keys: Keys) -> Log:
        """Creates an empty log: a directory with a signed checkpoint of size 0.

        Args:
          path: Its directory.
          origin: Its name in checkpoints and receipts, for instance `relay.example/digits`; no spaces, no
            plus.
          keys: Whoever signs the log.

        Raises:
          WorkdirError: There is a log already, or what is left of one.
          FormatError: The origin can't name a log.
        """
        if (path / CHECKPOINT).exists() or (path / "tile").exists():
            raise WorkdirError(f"{path}: holds a log or parts of one; open it, or choose an empty directory")
        note = sign_checkpoint(Checkpoint(origin, 0, EMPTY_ROOT), keys)
        write_atomic(path / CHECKPOINT, note)
        return cls(path, origin, [keys.public.signing], note, [])

    @classmethod
    def open(cls, path: Path, origin: str, signer: str | Entitled) -> Log:
        """Opens a log to go on writing it; deletes what a write that was cut short has left.

        Args:
          path: Its directory.
          origin: Its name.
          signer: The Ed25519 public key it is signed with, 64 hex digits; or what says so of its entries,
            which then are read before anybody has vouched for them.

        Raises:
          WorkdirError: There is no log.
          IntegrityError: The checkpoint is not one that this log signed, or the entries are not those it
            commits to; `audit_log` says more.
        """
        if not (path / CHECKPOINT).exists():
            raise WorkdirError(
                f"{path}: no log, {CHECKPOINT} is missing; create one or restore it from a copy"
            )
        known = signer if isinstance(signer, str) else None
        note, checkpoint = read_checkpoint(path, origin, known)
        superfluous = superfluous_files(path, checkpoint.size)
        entries: list[bytes] = []
        for tile in tiles_of(checkpoint.size):
            if tile.level == 0:
                bundle, problem = read_bundle(path, tile)
                if problem:
                    raise IntegrityError(str(path / tile.bundle_path), problem)
                entries += bundle
        log = cls(path, origin, [known] if known else [], note, entries)
        if log.root != checkpoint.root:
            raise IntegrityError(
                str(path), "the entries are not those that were signed; `relayjax verify` names them"
            )
        if not isinstance(signer, str):
            log.entitle(signer(entries))
            verify_checkpoint(note, origin, log._public_keys, str(path / CHECKPOINT))
        for name in superfluous:
            if name.startswith("tile/") or is_temporary(Path(name)):
                _remove(path / name)
        return log

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self._entries)

    @property
    def root(self) -> bytes:
        """Merkle root over the entries, 32 bytes."""
        return self._tree.root()

    @property
    def signed_checkpoint(self) -> bytes:
        """The note that commits to this size and root."""
        return self._note

    @property
    def last_digest(self) -> str:
        """Digest of the last entry, the `prev` of the next; zeros while there is none."""
        return digest(self._entries[-1]) if self._entries else FIRST_PREV

    def entries(self) -> list[bytes]:
        """Returns all entries in their order."""
        return list(self._entries)

    def append(self, entries: Sequence[bytes], keys: Keys) -> Checkpoint:
        """Appends entries, all of them or, if cut short, none; they are durable when this returns.

        A batch costs three files as a rule, six when it fills a tile (and one more a level above), and one
        fsync for each of them and of their directories.

        Args:
          entries: At most 65 535 bytes each.
          keys: Of who signs the log.

        Raises:
          FormatError: An entry is too long. Nothing has changed.
          ConfigError: The keys are not those of this log. Nothing has changed.
          WorkdirError: An earlier append failed.
          DiskError: The disk refused. The log must be opened again.
        """
        if self._broken:
            raise WorkdirError(
                f"{self.path}: writing failed before, so memory and disk may differ; open it again"
            )
        if keys.public.signing not in self._public_keys:
            raise ConfigError(
                f"{self.path}: {keys.name} does not sign this log; append with the keys that do"
            )
        for entry in entries:
            check_entry(entry)
        self._broken = True
        old = self.size
        for entry in entries:
            self._entries.append(entry)
            self._tree.append(leaf_hash(entry))
        checkpoint = Checkpoint(self.origin, self.size, self.root)
        note = sign_checkpoint(checkpoint, keys)
        write_many(self._files(old))
        write_atomic(self.path / CHECKPOINT, note)
        self._note = note
        self._broken = False
        for name in paths_of(completed(self.size, old)):
            for part in list((self.path / f"{name}.p").glob("*")):
                _remove(part)
        return checkpoint

    def entitle(self, public_keys: Iterable[str]) -> None:
        """Says which keys may sign from now on, 64 hex digits each."""
        self._public_keys = tuple(public_keys)

    def adopt(self, note: bytes) -> None:
        """Replaces the checkpoint by one that says the same with more signatures; durable on return.

        Raises:
          FormatError: The note is no checkpoint.
          IntegrityError: It says something else, or is not signed by this log.
        """
        where = f"{self.path / CHECKPOINT} to be"
        verify_checkpoint(note, self.origin, self._public_keys, where)
        if parse_note(note).text != parse_note(self._note).text:
            raise IntegrityError(where, f"it is not the checkpoint of {self.size} entries that is signed now")
        write_atomic(self.path / CHECKPOINT, note)
        self._note = note

    def prove_consistency(self, old: int) -> list[bytes]:
        """Returns the consistency proof from an earlier size to the present one.

        Raises:
          ConfigError: The log has not had that size.
        """
        return self._tree.prove_consistency(old)

    def prove(self, index: int) -> Receipt:
        """Returns the receipt of an entry under the present checkpoint.

        Raises:
          ConfigError: There is no such entry.
        """
        proof = tuple(self._tree.prove_inclusion(index))
        return Receipt(index, self._entries[index], proof, self._note)

    def _files(self, since: int) -> dict[Path, bytes]:
        """The files of this log that it did not have at an earlier size."""
        files: dict[Path, bytes] = {}
        for tile in tiles_of(self.size, since):
            span = slice(tile.start, tile.start + tile.width)
            files[self.path / tile.path] = b"".join(self._tree.levels[tile.height][span])
            if tile.level == 0:
                files[self.path / tile.bundle_path] = encode_bundle(self._entries[span])
        return files


def _remove(file: Path) -> None:
    """Deletes a file, and its directory if empty; a power cut may undo that, `open` redoes it."""
    remove(file)
    if not any(file.parent.iterdir()):
        remove_tree(file.parent)
