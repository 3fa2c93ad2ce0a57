"""Following a log that somebody else writes: every new entry is verified before it counts.

A follower knows the log by its name and the key it was founded with. It replays what a checkpoint covers,
builds the Merkle tree itself, and believes the checkpoint if its signer orders at this size. It holds each
against the one before, also over a restart. A log that has shrunk, or shows another history than before, is
refused, and what proves it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from relayjax import files
from relayjax.authority import check_founder, check_note, known_keys
from relayjax.errors import FormatError, IntegrityError, RollbackError, SplitViewError
from relayjax.ledger.checkpoint import Checkpoint, read_claim, verify_checkpoint
from relayjax.ledger.entry import FIRST_PREV, digest
from relayjax.ledger.evidence import Evidence, check_view, keep
from relayjax.ledger.merkle import HASH_SIZE, Tree, leaf_hash, verify_inclusion
from relayjax.ledger.note import SIZE_LIMIT, signer_key
from relayjax.ledger.proof import Receipt
from relayjax.ledger.tiled import TileReader
from relayjax.ledger.tiles import ENTRY_LIMIT, WIDTH, decode_bundle, tiles_of
from relayjax.mechanism.state import State
from relayjax.peers.chronicle import Chronicle
from relayjax.peers.exchange import Exchange
from relayjax.replay import Step, replay

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
          log_key: the Ed25519 public key it was founded with, 64 hex digits, known from elsewhere.
          seen: a file that remembers the last checkpoint; None to remember it in memory only.
        """
        self.chronicle = Chronicle()
        self.size = 0
        self._exchange, self._origin, self._log_key, self._seen = exchange, origin, log_key, seen
        self._tree, self._prev = Tree(), FIRST_PREV
        self._note = files.read(seen, SIZE_LIMIT) if seen and seen.exists() else None

    @property
    def root(self) -> bytes:
        """Merkle root over the entries read, 32 bytes."""
        return self._tree.root()

    @property
    def tree(self) -> Tree:
        """Over the entries read."""
        return self._tree

    def prove(self, index: int, entry: bytes) -> Receipt:
        """A receipt for one of the entries read.

        Raises:
          IntegrityError: it is not the entry that was read.
        """
        proof, note = tuple(self._tree.prove_inclusion(index)), self._note or b""
        verify_inclusion(leaf_hash(entry), index, self.size, proof, self.root)
        return Receipt(index, entry, proof, note)

    def poll(self) -> bool:
        """Reads what is new; returns whether something was.

        Raises:
          SplitViewError: the log shows another history than before; evidence lies beside the file that
            remembers.
          RollbackError: it shows less of it; likewise. Asking again may help.
          IntegrityError: a checkpoint or entry is not what was signed, not allowed, or signed by somebody who
            does not order at this size; nothing was taken in.
        """
        note = self._exchange.fetch(CHECKPOINT, SIZE_LIMIT)
        if note is None or (note == self._note and self.size):
            return False
        try:
            claim = read_claim(note, self._origin, CHECKPOINT)
        except FormatError as error:
            raise IntegrityError(CHECKPOINT, str(error)) from error
        steps: list[Step] = []
        try:
            self._read(note, claim, steps)
        except BaseException as error:
            self._tree.rewind(self.size)
            if isinstance(error, _NotThereError):
                return False
            raise
        for step in steps:
            self.chronicle.add(step.record, step.state)
        self.size, self._note = claim.size, note
        if self._seen:
            files.write_atomic(self._seen, note)
        return bool(steps)

    def _read(self, note: bytes, claim: Checkpoint, steps: list[Step]) -> None:
        """Replays what a checkpoint adds into `steps` and the tree, and sees whether it is to be believed."""
        state, prev = self.chronicle.state, self._prev
        if self.size and claim.size <= self.size:
            self._compare(note, claim, state)
        try:
            for entries in self._bundles(claim.size):
                steps += replay(entries, self.size + len(steps), prev, state)
                state, prev = steps[-1].state, digest(entries[-1])
                check_founder(state, self._log_key, CHECKPOINT)
                for entry in entries:
                    self._tree.append(leaf_hash(entry))
            self._believe(note, claim, state)
        except SplitViewError:
            raise
        except IntegrityError:
            self._compare(note, claim, state)
            raise
        self._prev = prev

    def _believe(self, note: bytes, claim: Checkpoint, state: State | None) -> None:
        """Holds what was read to the checkpoint, the checkpoint to who orders, and both to what was seen."""
        if self._tree.size != claim.size or self._tree.root() != claim.root:
            raise IntegrityError("ledger", "its entries are not those that were signed; ask for them again")
        if state is None:
            verify_checkpoint(note, self._origin, self._log_key, CHECKPOINT)
        else:
            check_note(note, self._origin, state, CHECKPOINT)
        if not self.size:
            self._compare(note, claim, state)

    def _compare(self, note: bytes, claim: Checkpoint, state: State | None) -> None:
        """Holds a checkpoint against the one before.

        Args:
          note: the checkpoint.
          claim: what it says.
          state: as far as it could be read; its maintainers may have signed.
        """
        if self._note is None:
            return
        reader = TileReader(lambda name: self._file(name, WIDTH * HASH_SIZE), claim.size)
        keys = dict.fromkeys((self._log_key, *(known_keys(state) if state else ())))
        try:
            try:
                check_view(self._note, note, [signer_key(self._origin, key) for key in keys], reader)
            except RollbackError:
                self._compare_beginning(self._note, note, claim)
                raise
        except SplitViewError as error:
            if self._seen:
                keep(self._seen.parent, error.evidence)
            raise

    def _compare_beginning(self, seen: bytes, note: bytes, claim: Checkpoint) -> None:
        """Sees whether a smaller log that was signed is no beginning of the one that was read."""
        if not self.size or not claim.size or self._tree.root(claim.size) == claim.root:
            return
        problem = f"it has signed another history of {claim.size} entries; show others the evidence"
        proof = tuple(self._tree.prove_consistency(claim.size, self.size))
        evidence = Evidence(note, seen, self._tree.root(claim.size), proof)
        raise SplitViewError(f"log {self._origin}", problem, evidence.encode())

    def _bundles(self, size: int) -> Iterator[list[bytes]]:
        """The new entries of a log of this size, bundle by bundle; nobody has vouched for the size."""
        for tile in tiles_of(size, self.size):
            if tile.level:
                return
            try:
                bundle = list(decode_bundle(self._file(tile.bundle_path, tile.width * ENTRY_LIMIT)))
            except FormatError as error:
                raise IntegrityError(tile.bundle_path, str(error)) from error
            if len(bundle) < tile.width:
                problem = f"it holds {len(bundle)} entries, signed for {tile.width}"
                raise IntegrityError(tile.bundle_path, problem)
            yield bundle[max(0, self.size - tile.start) : tile.width]

    def _file(self, name: str, limit: int) -> bytes:
        data = self._exchange.fetch(f"ledger/{name}", limit)
        if data is None:
            raise _NotThereError(name)
        return data
