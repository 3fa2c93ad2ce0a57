"""The Merkle tree of RFC 6962 over SHA-256: append, root, inclusion and consistency proofs.

    MTH({})      = SHA-256("")
    MTH({d})     = SHA-256(0x00 ‖ d)
    MTH(D[0:n])  = SHA-256(0x01 ‖ MTH(D[0:k]) ‖ MTH(D[k:n])),  k the largest power of two below n

Roots and proofs, also of an earlier size, are functions of the hashes of complete subtrees, of which they
need O(log n), wherever those are kept. `Tree` keeps them in memory, about two an entry, so that appending an
entry costs two hashes on average. The verifiers are pure functions and need no tree.

References:
  RFC 6962 section 2.1 (tree and proofs), RFC 9162 section 2.1 (the same tree, verification algorithms).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from relayjax.errors import ConfigError, IntegrityError

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Nodes = Callable[[int, int], bytes]
"""(h, i) → hash of the complete subtree over the leaves from i·2ʰ up to (i + 1)·2ʰ."""


def leaf_hash(entry: bytes) -> bytes:
    """Returns SHA-256(0x00 ‖ entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Returns SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """An append-only Merkle tree in memory.

    Attributes:
      levels: `levels[h][i]` is the hash of the complete subtree over the leaves from i·2ʰ up to (i + 1)·2ʰ.
    """

    def __init__(self, leaves: Sequence[bytes] = ()):
        """Builds the tree over leaf hashes."""
        self.levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self.levels[0])

    def append(self, leaf: bytes) -> None:
        """Appends a leaf hash and completes the subtrees that end with it."""
        hashes, height = leaf, 0
        while True:
            level = self.levels[height]
            level.append(hashes)
            if len(level) % 2:
                return
            hashes, height = node_hash(level[-2], level[-1]), height + 1
            if height == len(self.levels):
                self.levels.append([])

    def rewind(self, size: int) -> None:
        """Takes back the leaves from a number on, and the subtrees that end with them."""
        for height, level in enumerate(self.levels):
            del level[size >> height :]

    def root(self, size: int | None = None) -> bytes:
        """Returns the root hash, now or when the tree had `size` leaves."""
        return tree_root(self._size(size), self._node)

    def prove_inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Returns the inclusion proof of a leaf, now or at an earlier size; see `inclusion_proof`."""
        return inclusion_proof(index, self._size(size), self._node)

    def prove_consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """Returns the consistency proof of two sizes it has had; see `consistency_proof`."""
        return consistency_proof(old, self._size(new), self._node)

    def _node(self, height: int, index: int) -> bytes:
        return self.levels[height][index]

    def _size(self, size: int | None) -> int:
        if size is not None and not 0 <= size <= self.size:
            raise ConfigError(f"tree size {size}: this log has had sizes from 0 to {self.size}")
        return self.size if size is None else size


def tree_root(size: int, nodes: Nodes) -> bytes:
    """Returns MTH(D[0:size])."""
    return _range_hash(0, size, nodes) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Returns PATH(index, D[0:size]) of RFC 6962 section 2.1.1: sibling hashes, the leaf's first.

    Raises:
      ConfigError: A tree of this size has no such leaf.
    """
    if not 0 <= index < size:
        raise ConfigError(f"no entry {index} in a log of {size}: give an index from 0 to {size - 1}")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_hash(middle, end, nodes))
            end = middle
        else:
            proof.append(_range_hash(start, middle, nodes))
            start = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """Returns PROOF(old, D[0:new]) of RFC 6962 section 2.1.2: that the newer tree begins with the older.

    Raises:
      ConfigError: Not 1 ≤ old ≤ new.
    """
    if not 1 <= old <= new:
        raise ConfigError(
            f"no consistency proof from size {old} to {new}: the older size lies from 1 to {new}"
        )
    proof: list[bytes] = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_range_hash(middle, end, nodes))
            end = middle
        else:
            proof.append(_range_hash(start, middle, nodes))
            start = middle
    if start:  # otherwise what is left is the whole older tree, whose root the verifier has
        proof.append(_range_hash(start, end, nodes))
    return proof[::-1]


def _range_hash(start: int, end: int, nodes: Nodes) -> bytes:
    """MTH(D[start:end]) for a range that the splits of a tree lead to, out of complete subtrees."""
    width = end - start
    if width & (width - 1) == 0:
        height = width.bit_length() - 1
        return nodes(height, start >> height)
    middle = start + _split(width)
    return node_hash(_range_hash(start, middle, nodes), _range_hash(middle, end, nodes))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Verifies that a leaf hash is number `index` of the tree with this size and root.

    Raises:
      IntegrityError: It is not, or the proof is not one for this index and size.

    References:
      RFC 9162 section 2.1.3.2.
    """
    where = f"inclusion proof of entry {index} in {size}"
    if not 0 <= index < size:
        raise IntegrityError(where, "the index lies outside the tree")
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise IntegrityError(where, "it has more hashes than the tree has levels")
        if node % 2 or node == last:
            computed = node_hash(sibling, computed)
            node, last = _skip_lone(node, last)
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise IntegrityError(where, "it has fewer hashes than the tree has levels")
    if computed != root:
        raise IntegrityError(
            where, "it leads to another root; entry, proof and checkpoint don't belong together"
        )


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Verifies that the tree of size `new` begins with all of the tree of size `old`.

    Raises:
      IntegrityError: It does not: history was rewritten, or the proof is not one for these sizes.

    References:
      RFC 9162 section 2.1.4.2.
    """
    where = f"consistency proof from size {old} to {new}"
    if not 1 <= old <= new:
        raise IntegrityError(where, "the sizes are not in order")
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if old == new:
        if proof or old_root != new_root:
            raise IntegrityError(where, "one size with two roots, or a proof where none is needed")
        return
    if not path:
        raise IntegrityError(where, "it is empty")
    node, last = old - 1, new - 1
    while node % 2:
        node, last = node >> 1, last >> 1
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise IntegrityError(where, "it has more hashes than the tree has levels")
        if node % 2 or node == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            node, last = _skip_lone(node, last)
        else:
            new_computed = node_hash(new_computed, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise IntegrityError(where, "it has fewer hashes than the tree has levels")
    if (old_computed, new_computed) != (old_root, new_root):
        raise IntegrityError(where, "it leads to other roots; the log's history was rewritten")


def _skip_lone(node: int, last: int) -> tuple[int, int]:
    """Climbs from the last node of a level past the levels where it has no sibling."""
    while node and node % 2 == 0:
        node, last = node >> 1, last >> 1
    return node, last


def _split(width: int) -> int:
    """The largest power of two below a width of at least 2."""
    return 1 << (width - 1).bit_length() - 1
