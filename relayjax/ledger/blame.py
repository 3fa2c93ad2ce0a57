"""Naming the file and the entry that are wrong, once an audit knows what to hold them against.

Every function reads its files anew and raises `IntegrityError` for the first fault that it finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from relayjax.errors import IntegrityError
from relayjax.ledger.bundle_check import read_tile
from relayjax.ledger.disk import present_files, read_bundle, superfluous_files
from relayjax.ledger.entry import FIRST_PREV, digest, verify_chain
from relayjax.ledger.merkle import leaf_hash
from relayjax.ledger.tiled import TileTree
from relayjax.ledger.tiles import Tile, earlier, tiles_of


def bottom_tiles(path: Path, size: int) -> Iterator[Tile]:
    """Sees to it that the files of a log of this size are there, and no others; returns its level-0 tiles."""
    if superfluous := sorted(superfluous_files(path, size)):
        problem = (
            f"no file of a log of {size} entries; a write cut short leaves such, and going on deletes them"
        )
        raise IntegrityError(str(path / superfluous[0]), problem)
    return (tile for tile in tiles_of(size) if tile.level == 0)


def bundle_entry(path: Path, tile: Tile) -> None:
    """Blames an entry of a bundle, held against the leaf hashes that were signed."""
    entries, problem = read_bundle(path, tile)
    for i, leaf in enumerate(read_tile(path, tile)):
        if i >= len(entries) or leaf_hash(entries[i]) != leaf:
            _entry(path, tile, i, problem or "its bytes are not those that were signed")
    _refuse_problem(path, tile, problem)


def tile_hash(path: Path, tile: Tile) -> None:
    """Blames a hash of a level-0 tile, held against the entries that were signed."""
    entries, _ = read_bundle(path, tile)
    for i, leaf in enumerate(read_tile(path, tile)):
        if leaf_hash(entries[i]) != leaf:
            _hash(path, tile, i)


def upper_hash(path: Path, size: int, tree: TileTree) -> None:
    """Holds every tile above level 0 against a tree that leads to the signed root."""
    for tile in tiles_of(size):
        if tile.level:
            for i, found in enumerate(read_tile(path, tile)):
                if found != tree.node(tile.height, tile.start + i):
                    _hash(path, tile, i)


def by_chain(path: Path, size: int, tile: Tile) -> None:
    """Blames the first entry or hash that disagrees, where neither leads to the signed root."""
    entries, problem = read_bundle(path, tile)
    for i, leaf in enumerate(read_tile(path, tile)):
        if i >= len(entries):
            _entry(path, tile, i, "it can't be read")
        if leaf_hash(entries[i]) != leaf:
            if _is_linked(path, size, tile, entries, i):
                _hash(path, tile, i)
            _entry(path, tile, i, "neither its hash nor its neighbours know it")
    _refuse_problem(path, tile, problem)


def earlier_part(path: Path, size: int) -> None:
    """Holds the partial tiles of earlier checkpoints against those of today, which are right."""
    present = present_files(path)
    for narrow, wide in earlier(size):
        names = [narrow.path] if narrow.level else [narrow.path, narrow.bundle_path]
        there = [name for name in names if name in present]
        if there and len(there) < len(names):
            missing = next(name for name in names if name not in present)
            raise IntegrityError(str(path / missing), f"missing beside {there[0]}; restore it from a copy")
        if not there:
            continue
        hashes = read_tile(path, wide)
        for i, found in enumerate(read_tile(path, narrow)):
            if found != hashes[i]:
                _hash(path, narrow, i)
        if not narrow.level:
            _compare_bundles(path, narrow, wide)


def _compare_bundles(path: Path, narrow: Tile, wide: Tile) -> None:
    entries, problem = read_bundle(path, narrow)
    whole, _ = read_bundle(path, wide)
    for i in range(narrow.width):
        if i >= len(entries) or entries[i] != whole[i]:
            _entry(path, narrow, i, problem or f"not as in {wide.bundle_path}")
    _refuse_problem(path, narrow, problem)


def _is_linked(path: Path, size: int, tile: Tile, entries: list[bytes], i: int) -> bool:
    """Whether an entry fits between its neighbours."""
    bottom = [other for other in tiles_of(size) if other.level == 0][tile.number - 1 if tile.number else 0 :]
    before = FIRST_PREV
    if i:
        before = digest(entries[i - 1])
    elif tile.number:
        before = digest(b"".join(read_bundle(path, bottom[0])[0][-1:]))
    following = entries[i + 1 : i + 2]
    if not following and (after := [other for other in bottom if other.number == tile.number + 1]):
        following = read_bundle(path, after[0])[0][:1]
    try:
        verify_chain([entries[i], *following], tile.start + i, before)
    except IntegrityError:
        return False
    return True


def _refuse_problem(path: Path, tile: Tile, problem: str) -> None:
    if problem:
        raise IntegrityError(str(path / tile.bundle_path), f"{problem}; restore it from a copy")


def _entry(path: Path, tile: Tile, i: int, problem: str) -> NoReturn:
    raise IntegrityError(
        f"{path / tile.bundle_path}, entry {tile.start + i}", f"{problem}; restore it from a copy"
    )


def _hash(path: Path, tile: Tile, i: int) -> NoReturn:
    where = str(path / tile.path)
    if tile.level == 0:
        where += f", entry {tile.start + i}"
    raise IntegrityError(where, f"hash {i} is not the one that was signed; restore it from a copy")
