"""Following a log that somebody else writes: every new entry is verified before it counts.

A follower knows the log by its name and the key it was founded with. It replays what a checkpoint covers,
builds the Merkle tree itself, and believes the checkpoint if its signer orders at this size. It holds each
against the one before, also over a restart. A log that has shrunk, or shows another history than before, is
refused, and what proves it is kept. Where the log lies in several places, `quorum.py` says which counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
from relayjax.ledger.vkey import VerifierKey
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
      entries: that were read.
      tree: over them.
      disputes: what is to be told of places that are left out, by their names.
      note: the signed checkpoint that was believed last, maybe before a restart; None before the first.
    """

    def __init__(
        self,
        exchange: Exchange,
        origin: str,
        log_key: str,
        seen: Path | None = None,
        evidence: Path | None = None,
    ):
        """Has read nothing yet.

        Args:
          exchange: where the log is.
          origin: its name.
          log_key: the Ed25519 public key it was founded with, 64 hex digits, known from elsewhere.
          seen: a file that remembers the last checkpoint; None to remember it in memory only.
          evidence: directory for what proves that the log has two histories; that of `seen` by default.
        """
        self.chronicle = Chronicle()
        self.entries: list[bytes] = []
        self.tree = Tree()
        self.disputes: dict[str, str] = {}
        self._exchange, self._origin, self._log_key, self._seen = exchange, origin, log_key, seen
        self._evidence = evidence or (seen.parent if seen else None)
        self._prev = FIRST_PREV
        self.note = files.read(seen, SIZE_LIMIT) if seen and seen.exists() else None

    @property
    def size(self) -> int:
        """Entries read."""
        return len(self.entries)

    @property
    def root(self) -> bytes:
        """Merkle root over the entries read, 32 bytes."""
        return self.tree.root()

    def prove(self, index: int, entry: bytes) -> Receipt:
        """A receipt for one of the entries read.

        Raises:
          IntegrityError: it is not the entry that was read.
        """
        proof, note = tuple(self.tree.prove_inclusion(index)), self.note or b""
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
        if note is None or (note == self.note and self.size):
            return False
        return self.take(self._exchange, note)

    def claim(self, note: bytes) -> Checkpoint:
        """What a checkpoint says before it is believed.

        Raises:
          IntegrityError: it is none of this log.
        """
        try:
            return read_claim(note, self._origin, CHECKPOINT)
        except FormatError as error:
            raise IntegrityError(CHECKPOINT, str(error)) from error

    def lags(self, note: bytes) -> bool:
        """Whether a checkpoint says nothing new: it is of a beginning of what was read, or of all of it.

        Raises:
          SplitViewError: it is of another history; evidence is kept.
          IntegrityError: it is none of this log.
        """
        claim = self.claim(note)
        if self.note is None or claim.size > self.size:
            return False
        if self.tree.root(claim.size) != claim.root:
            with self._keeping_evidence():
                check_view(note, self.note, self.signers(), TileReader(self._own, self.size))
        return True

    def signers(self) -> list[VerifierKey]:
        """Keys that may have signed a checkpoint of this log, as far as it was read."""
        state = self.chronicle.state
        keys = dict.fromkeys((self._log_key, *(known_keys(state) if state else ())))
        return [signer_key(self._origin, key) for key in keys]

    def take(self, exchange: Exchange, note: bytes) -> bool:
        """Reads what a checkpoint adds and believes it; result and errors as for `poll`."""
        claim, steps, entries = self.claim(note), list[Step](), list[bytes]()
        try:
            self._read(exchange, note, claim, steps, entries)
        except BaseException as error:
            self.tree.rewind(self.size)
            if isinstance(error, _NotThereError):
                return False
            raise
        for step in steps:
            self.chronicle.add(step.record, step.state)
        self.entries += entries
        self.note = note
        if self._seen:
            files.write_atomic(self._seen, note)
        return bool(steps)

    def _read(
        self, exchange: Exchange, note: bytes, claim: Checkpoint, steps: list[Step], entries: list[bytes]
    ) -> None:
        """Replays what a checkpoint adds into lists and the tree, and sees whether it is to be believed."""
        state, prev = self.chronicle.state, self._prev
        if self.size and claim.size <= self.size:
            self._compare(exchange, note, claim)
        try:
            for bundle in self._bundles(exchange, claim.size):
                steps += replay(bundle, self.size + len(steps), prev, state)
                state, prev = steps[-1].state, digest(bundle[-1])
                check_founder(state, self._log_key, CHECKPOINT)
                for entry in bundle:
                    self.tree.append(leaf_hash(entry))
                entries += bundle
            self._believe(exchange, note, claim, state)
        except SplitViewError:
            raise
        except IntegrityError:
            self._compare(exchange, note, claim, state)
            raise
        self._prev = prev

    def _believe(self, exchange: Exchange, note: bytes, claim: Checkpoint, state: State | None) -> None:
        """Holds what was read to the checkpoint, the checkpoint to who orders, and both to what was seen."""
        if self.tree.size != claim.size or self.tree.root() != claim.root:
            raise IntegrityError("ledger", "its entries are not those that were signed; ask for them again")
        if state is None:
            verify_checkpoint(note, self._origin, self._log_key, CHECKPOINT)
        else:
            check_note(note, self._origin, state, CHECKPOINT)
        if not self.size:
            self._compare(exchange, note, claim, state)

    def _compare(
        self, exchange: Exchange, note: bytes, claim: Checkpoint, state: State | None = None
    ) -> None:
        """Holds a checkpoint against the one before.

        Args:
          exchange: where it is shown.
          note: the checkpoint.
          claim: what it says.
          state: as far as it could be read; its maintainers may have signed.
        """
        if self.note is None:
            return
        reader = TileReader(lambda name: _file(exchange, name, WIDTH * HASH_SIZE), claim.size)
        more = [signer_key(self._origin, key) for key in (known_keys(state) if state else ())]
        with self._keeping_evidence():
            try:
                check_view(self.note, note, [*dict.fromkeys((*self.signers(), *more))], reader)
            except RollbackError:
                self._compare_beginning(self.note, note, claim)
                raise

    @contextmanager
    def _keeping_evidence(self) -> Iterator[None]:
        try:
            yield
        except SplitViewError as error:
            if self._evidence:
                keep(self._evidence, error.evidence)
            raise

    def _compare_beginning(self, seen: bytes, note: bytes, claim: Checkpoint) -> None:
        """Sees whether a smaller log that was signed is no beginning of the one that was read."""
        if not self.size or not claim.size or self.tree.root(claim.size) == claim.root:
            return
        problem = f"it has signed another history of {claim.size} entries; show others the evidence"
        proof = tuple(self.tree.prove_consistency(claim.size, self.size))
        evidence = Evidence(note, seen, self.tree.root(claim.size), proof)
        raise SplitViewError(f"log {self._origin}", problem, evidence.encode())

    def _bundles(self, exchange: Exchange, size: int) -> Iterator[list[bytes]]:
        """The new entries of a log of this size, bundle by bundle; nobody has vouched for the size."""
        for tile in tiles_of(size, self.size):
            if tile.level:
                return
            try:
                data = _file(exchange, tile.bundle_path, tile.width * ENTRY_LIMIT)
                bundle = list(decode_bundle(data))
            except FormatError as error:
                raise IntegrityError(tile.bundle_path, str(error)) from error
            if len(bundle) < tile.width:
                problem = f"it holds {len(bundle)} entries, signed for {tile.width}"
                raise IntegrityError(tile.bundle_path, problem)
            yield bundle[max(0, self.size - tile.start) : tile.width]

    def _own(self, path: str) -> bytes:
        """A tile of what was read, by its path relative to the log."""
        for tile in tiles_of(self.size):
            if tile.path == path:
                return b"".join(self.tree.levels[tile.height][tile.start : tile.start + tile.width])
        raise IntegrityError(path, "is no file of this log")


def _file(exchange: Exchange, name: str, limit: int) -> bytes:
    data = exchange.fetch(f"ledger/{name}", limit)
    if data is None:
        raise _NotThereError(name)
    return data
