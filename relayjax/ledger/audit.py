"""Finding what is wrong with a log on disk: the very file, and the very entry.

The log says everything more than once: an entry is in its bundle, as a hash in a level-0 tile, in every tile
above, in the `prev` of the next entry and in the signed root. Whatever leads to the signed root is right, for
nobody can find another preimage of a hash; what disagrees with it is wrong.

  1. The checkpoint must be signed.
  2. There must be exactly the files that its size asks for, each tile of its full length.
  3. If the level-0 tiles lead to the signed root, they judge the entries and the tiles above them.
  4. If they don't but the entries do, the entries judge the tiles.
  5. If neither does, the first disagreement between the two is settled by the chain of `prev`; without
     any, the checkpoint was signed over another history.
  6. The entries must form one chain.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from relayjax.errors import IntegrityError
from relayjax.identity import PublicKeys
from relayjax.ledger.disk import CHECKPOINT, expected_files, present_files, read, read_bundle, read_checkpoint
from relayjax.ledger.entry import FIRST_PREV, digest, verify_chain
from relayjax.ledger.merkle import HASH_SIZE, Tree, leaf_hash
from relayjax.ledger.note import parse_note
from relayjax.ledger.tiles import Tile, tiles_of


def audit_log(path: Path, origin: str, signer: PublicKeys) -> list[bytes]:
    """Checks every bit of a log's directory; returns the entries. Changes nothing.

    The signatures of the records inside are the caller's to verify: who may sign them, the records say.

    Args:
      path: The log's directory.
      origin: The log's name.
      signer: Who signs the log.

    Raises:
      IntegrityError: Something is wrong; `where` names the file and, where there is one, the entry.
    """
    note, checkpoint = read_checkpoint(path, origin, signer.signing)
    if len(parse_note(note).signatures) != 1:
        raise IntegrityError(str(path / CHECKPOINT), "a signature line that nobody vouches for; remove it")
    _check_files(path, checkpoint.size)
    tiles = {tile: _read_tile(path, tile) for tile in tiles_of(checkpoint.size)}
    bottom = [tile for tile in tiles if tile.level == 0]
    bundles = {tile: read_bundle(path, tile) for tile in bottom}
    entries = [entry for bundle, _ in bundles.values() for entry in bundle]
    by_tiles = Tree([leaf for tile in bottom for leaf in tiles[tile]])
    whole = all(not problem for _, problem in bundles.values())
    by_entries = Tree([leaf_hash(entry) for entry in entries])
    if by_tiles.root() == checkpoint.root:
        for tile in bottom:
            _compare_bundle(path, tile, *bundles[tile], tiles[tile])
        _compare_tiles(path, tiles, by_tiles)
    elif whole and by_entries.root() == checkpoint.root:
        _compare_tiles(path, tiles, by_entries)
    else:
        for tile in bottom:
            _settle_by_chain(path, tile, entries, tiles[tile])
            _refuse_problem(path, tile, bundles[tile][1])
        where = str(path / CHECKPOINT)
        raise IntegrityError(where, "signed over other entries than these; restore the log from a copy")
    prev = FIRST_PREV
    for tile in bottom:
        bundle, _ = bundles[tile]
        verify_chain(bundle, tile.start, prev, str(path / tile.bundle_path))
        prev = digest(bundle[-1])
    return entries


def _check_files(path: Path, size: int) -> None:
    present, expected = present_files(path), expected_files(size)
    if missing := sorted(expected - present):
        problem = f"missing from a log of {size} entries; restore it from a copy"
        raise IntegrityError(str(path / missing[0]), problem)
    if superfluous := sorted(present - expected):
        problem = (
            f"no file of a log of {size} entries; a write cut short leaves such, and going on deletes them"
        )
        raise IntegrityError(str(path / superfluous[0]), problem)


def _read_tile(path: Path, tile: Tile) -> list[bytes]:
    data = read(path / tile.path)
    if len(data) != tile.width * HASH_SIZE:
        raise IntegrityError(str(path / tile.path), f"{len(data)} bytes, expected {tile.width * HASH_SIZE}")
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


def _compare_bundle(path: Path, tile: Tile, entries: list[bytes], problem: str, leaves: list[bytes]) -> None:
    """Holds the entries against the leaf hashes that were signed."""
    for i, leaf in enumerate(leaves):
        if i >= len(entries) or leaf_hash(entries[i]) != leaf:
            _blame_entry(path, tile, i, problem or "its bytes are not those that were signed")
    _refuse_problem(path, tile, problem)


def _compare_tiles(path: Path, tiles: dict[Tile, list[bytes]], tree: Tree) -> None:
    """Holds every tile against a tree that leads to the signed root."""
    for tile, hashes in tiles.items():
        right = tree.levels[tile.height][tile.start : tile.start + tile.width]
        for i, (found, expected) in enumerate(zip(hashes, right, strict=True)):
            if found != expected:
                _blame_hash(path, tile, i)


def _settle_by_chain(path: Path, tile: Tile, entries: list[bytes], leaves: list[bytes]) -> None:
    """Names the first entry or hash that disagrees with the other, where neither leads to the signed root."""
    for i, leaf in enumerate(leaves):
        index = tile.start + i
        if index >= len(entries):
            _blame_entry(path, tile, i, "it can't be read")
        if leaf_hash(entries[index]) != leaf:
            if _is_linked(entries, index):
                _blame_hash(path, tile, i)
            _blame_entry(path, tile, i, "neither its hash nor its neighbours know it")


def _is_linked(entries: list[bytes], index: int) -> bool:
    """Whether an entry fits between its neighbours."""
    before = digest(entries[index - 1]) if index else FIRST_PREV
    try:
        verify_chain(entries[index : index + 2], index, before)
    except IntegrityError:
        return False
    return True


def _refuse_problem(path: Path, tile: Tile, problem: str) -> None:
    if problem:
        raise IntegrityError(str(path / tile.bundle_path), f"{problem}; restore it from a copy")


def _blame_entry(path: Path, tile: Tile, i: int, problem: str) -> NoReturn:
    raise IntegrityError(
        f"{path / tile.bundle_path}, entry {tile.start + i}", f"{problem}; restore it from a copy"
    )


def _blame_hash(path: Path, tile: Tile, i: int) -> NoReturn:
    where = str(path / tile.path)
    if tile.level == 0:
        where += f", entry {tile.start + i}"
    raise IntegrityError(where, f"hash {i} is not the one that was signed; restore it from a copy")
