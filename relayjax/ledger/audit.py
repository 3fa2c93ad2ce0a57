"""Finding what is wrong with a log on disk: the very file, and the very entry.

The log says everything more than once: an entry is in its bundle, as a hash in a level-0 tile, in every tile
above, in the `prev` of the next entry and in the signed root. Whatever leads to the signed root is right, for
nobody can find another preimage of a hash; what disagrees with it is wrong.

  1. The checkpoint must be signed, by the log and by as many witnesses as the policy asks for.
  2. There must be exactly the files that its size asks for, each tile of its full length. Partial tiles of
     earlier checkpoints may lie beside them.
  3. If the level-0 tiles lead to the signed root, they judge the entries and the tiles above them.
  4. If they don't but the entries do, the entries judge the tiles.
  5. If neither does, the first disagreement between the two is settled by the chain of `prev`; without
     any, the checkpoint was signed over another history.
  6. The entries must form one chain, each signed by somebody who has joined, with the key of that moment.

Tiles are inspected one after the other, or several at a time, and of each only its hash is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn

from relayjax.errors import IntegrityError
from relayjax.identity import PublicKeys
from relayjax.ledger import blame
from relayjax.ledger.bundle_check import Inspection, Signers, inspect
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.disk import CHECKPOINT, read_checkpoint
from relayjax.ledger.entry import FIRST_PREV
from relayjax.ledger.note import signer_key
from relayjax.ledger.policy import Policy
from relayjax.ledger.tiled import TileTree
from relayjax.ledger.tiles import Tile
from relayjax.records import Credentials

_CHUNK = 4
"""Tiles, 1024 entries, that a process inspects at a time."""


def audit_log(path: Path, origin: str, signer: PublicKeys, policy: Policy | None = None) -> list[bytes]:
    """Checks every bit of a log's directory but the signatures of its records; returns the entries.

    Args:
      path: The log's directory.
      origin: The log's name.
      signer: Who signs the log.
      policy: Whose cosignatures the checkpoint must have.

    Raises:
      IntegrityError: Something is wrong; `where` names the file and, where there is one, the entry.
    """
    checkpoint = _accepted(path, origin, signer, policy)
    tiles = blame.bottom_tiles(path, checkpoint.size)
    entries: list[bytes] = []
    verdict = _Verdict(path, checkpoint)
    for tile in tiles:
        inspection = inspect(path, tile, None, keep=True)
        verdict.add(inspection)
        entries += inspection.entries
    verdict.give()
    return entries


def verify_log(
    path: Path, origin: str, signer: PublicKeys, policy: Policy | None = None, workers: int = 2
) -> Checkpoint:
    """Checks every bit of a log's directory and every signature in it, in bounded memory.

    What the records mean is not looked at: whether they are allowed, replaying them tells.

    Args:
      path: The log's directory.
      origin: The log's name.
      signer: Who signs the log.
      policy: Whose cosignatures the checkpoint must have.
      workers: Processes to use; 0 is this one alone.

    Returns:
      The checkpoint that all of it leads to.

    Raises:
      IntegrityError: Something is wrong; `where` names the file and, where there is one, the entry.
    """
    checkpoint = _accepted(path, origin, signer, policy)
    tiles = blame.bottom_tiles(path, checkpoint.size)
    verdict = _Verdict(path, checkpoint)
    if workers:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for inspection in _in_order(pool, path, tiles, verdict, 2 * workers):
                verdict.add(inspection)
    else:
        for tile in tiles:
            verdict.add(inspect(path, tile, verdict.signers))
    verdict.give()
    return checkpoint


def _accepted(path: Path, origin: str, signer: PublicKeys, policy: Policy | None) -> Checkpoint:
    note, checkpoint = read_checkpoint(path, origin, signer.signing)
    if policy:
        policy.verify(note, signer_key(origin, signer.signing), str(path / CHECKPOINT))
    return checkpoint


def _in_order(
    pool: ProcessPoolExecutor, path: Path, tiles: Iterator[Tile], verdict: _Verdict, ahead: int
) -> Iterator[Inspection]:
    """Inspects tiles in processes, a few chunks ahead; yields what they say in the order of the log."""
    waiting: deque[Future[list[Inspection]]] = deque()
    while True:
        while len(waiting) < ahead and (chunk := list(islice(tiles, _CHUNK))):
            waiting.append(pool.submit(_inspect_chunk, path, chunk, dict(verdict.signers)))
        if not waiting:
            return
        yield from waiting.popleft().result()


def _inspect_chunk(path: Path, tiles: list[Tile], signers: Signers) -> list[Inspection]:
    inspections: list[Inspection] = []
    for tile in tiles:
        inspections.append(inspect(path, tile, signers))
        signers = {**signers, **inspections[-1].changed}
    return inspections


@dataclass
class _Verdict:
    """Puts together what the tiles say, in their order, and blames whoever is wrong."""

    path: Path
    checkpoint: Checkpoint

    def __post_init__(self) -> None:
        self.signers: dict[str, Credentials] = {}
        self._by_tiles, self._by_entries = TileTree(), TileTree()
        self._odd: Tile | None = None
        self._whole = True
        self._prev = FIRST_PREV
        self._fault: tuple[Tile, int, str] | None = None

    def add(self, inspection: Inspection) -> None:
        """Takes the next tile."""
        tile = inspection.tile
        if self._misinformed(inspection):
            inspection = inspect(self.path, tile, self.signers)
        self._by_tiles.add(inspection.stored)
        self._whole = self._whole and inspection.computed is not None
        if inspection.computed is not None and self._whole:
            self._by_entries.add(inspection.computed)
        if self._odd is None and inspection.computed != inspection.stored:
            self._odd = tile
        fault = inspection.fault
        if inspection.prev and inspection.prev != self._prev and (fault is None or fault[0] > tile.start):
            fault = tile.start, f"its prev is {inspection.prev}, the entry before has {self._prev}"
        if inspection.unsure is not None and (fault is None or fault[0] > inspection.unsure):
            fault = inspection.unsure, "it is signed by somebody who has not joined"
        if fault and self._fault is None:
            self._fault = tile, fault[0], fault[1]
        self._prev = inspection.last
        self.signers |= inspection.changed

    def _misinformed(self, inspection: Inspection) -> bool:
        """Whether a tile was inspected before it was known who had which keys at its start."""
        return any(self.signers.get(name) != keys for name, keys in inspection.relied.items())

    def give(self) -> None:
        """Raises `IntegrityError` unless everything agrees with the signed root."""
        path, size, root = self.path, self.checkpoint.size, self.checkpoint.root
        if self._by_tiles.root(size) == root:
            if self._odd:
                blame.bundle_entry(path, self._odd)
                _refuse_changed(path / self._odd.bundle_path)
            blame.upper_hash(path, size, self._by_tiles)
        elif self._whole and self._by_entries.root(size) == root:
            if self._odd:
                blame.tile_hash(path, self._odd)
                _refuse_changed(path / self._odd.path)
            blame.upper_hash(path, size, self._by_entries)
        else:
            if self._odd:
                blame.by_chain(path, size, self._odd)
            where = str(path / CHECKPOINT)
            raise IntegrityError(where, "signed over other entries than these; restore the log from a copy")
        if self._fault:
            tile, index, problem = self._fault
            raise IntegrityError(f"{path / tile.bundle_path}, entry {index}", problem)
        blame.earlier_part(path, size)


def _refuse_changed(file: Path) -> NoReturn:
    raise IntegrityError(str(file), "it changed while it was checked; check again")
