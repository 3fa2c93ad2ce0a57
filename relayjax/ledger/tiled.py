"""Tiles of a log whose tree is held; roots and proofs from its tiles where it is not.

`TileTree` is built tile by tile and keeps 1/256 of the hashes. `TileReader` reads the few tiles that a proof
needs, from wherever they are served: about one for every level.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from relayjax.errors import IntegrityError
from relayjax.ledger.merkle import HASH_SIZE, Tree, consistency_proof, inclusion_proof, tree_root
from relayjax.ledger.tiles import HEIGHT, WIDTH, Tile

Fetch = Callable[[str], bytes]
"""Returns the content of a file of the log, by its path relative to the log."""

_KEPT = 64
"""Tiles whose hashes a reader keeps, 32 KiB each."""


def hashes_of(tree: Tree, tile: Tile) -> bytes:
    """The content of a tile of a log whose tree is held."""
    return b"".join(tree.levels[tile.height][tile.start : tile.start + tile.width])


class TileTree:
    """The upper levels of a Merkle tree, built from its level-0 tiles one after the other."""

    def __init__(self) -> None:
        self._upper = Tree()
        self._last = Tree()

    def add(self, hashes: list[bytes]) -> None:
        """Takes the next tile: the one hash over all of a full tile, or the leaf hashes of a partial one.

        A partial tile of one leaf looks like a full one; `root` and `node` know by the size.
        """
        self._last = Tree(hashes)
        if len(hashes) == 1:
            self._upper.append(hashes[0])

    def root(self, size: int) -> bytes:
        """The root hash; the tiles that were added must be those of this size."""
        return tree_root(size, self.node)

    def node(self, height: int, index: int) -> bytes:
        """The hash of a complete subtree, of a height of at least 8 or within the last tile."""
        if height >= HEIGHT:
            return self._upper.levels[height - HEIGHT][index]
        return self._last.levels[height][index % (WIDTH >> height)]


class TileReader:
    """Proves from tile files, which it checks against nothing: whoever gets a proof verifies it."""

    def __init__(self, fetch: Fetch, size: int):
        """For the log of `size` entries whose files `fetch` returns."""
        self.size = size
        self._fetch = fetch
        self._tree = lru_cache(_KEPT)(self._read)

    def root(self, size: int | None = None) -> bytes:
        """The root hash at this or an earlier size."""
        return tree_root(self.size if size is None else size, self.node)

    def prove_inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The inclusion proof of an entry; see `merkle.inclusion_proof`."""
        return inclusion_proof(index, self.size if size is None else size, self.node)

    def prove_consistency(self, old: int) -> list[bytes]:
        """The consistency proof from an earlier size; see `merkle.consistency_proof`."""
        return consistency_proof(old, self.size, self.node)

    def node(self, height: int, index: int) -> bytes:
        """The hash of a complete subtree: (h, i) covers the leaves from i·2ʰ up to (i + 1)·2ʰ."""
        level, within = divmod(height, HEIGHT)
        number, position = divmod(index << within, WIDTH)
        return self._tree(level, number).levels[within][position >> within]

    def _read(self, level: int, number: int) -> Tree:
        width = min(WIDTH, (self.size >> level * HEIGHT) - number * WIDTH)
        tile = Tile(level, number, width)
        data = self._fetch(tile.path)
        if len(data) != width * HASH_SIZE:
            raise IntegrityError(tile.path, f"{len(data)} bytes, expected {width * HASH_SIZE}")
        return Tree([data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)])
