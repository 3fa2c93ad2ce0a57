"""Every size up to 64 and every proof, against the recursion of RFC 6962 section 2.1."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayjax.errors import ConfigError, IntegrityError
from relayjax.ledger.merkle import EMPTY_ROOT, Tree, leaf_hash, verify_consistency, verify_inclusion

ENTRIES = [b"entry %d" % i for i in range(64)]
TREE = Tree([leaf_hash(entry) for entry in ENTRIES])


def _split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def _mth(d: list[bytes]) -> bytes:
    if not d:
        return hashlib.sha256().digest()
    if len(d) == 1:
        return hashlib.sha256(b"\0" + d[0]).digest()
    k = _split(len(d))
    return hashlib.sha256(b"\1" + _mth(d[:k]) + _mth(d[k:])).digest()


def _path(m: int, d: list[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = _split(len(d))
    return [*_path(m, d[:k]), _mth(d[k:])] if m < k else [*_path(m - k, d[k:]), _mth(d[:k])]


def _subproof(m: int, d: list[bytes], whole: bool) -> list[bytes]:
    if m == len(d):
        return [] if whole else [_mth(d)]
    k = _split(len(d))
    if m <= k:
        return [*_subproof(m, d[:k], whole), _mth(d[k:])]
    return [*_subproof(m - k, d[k:], False), _mth(d[:k])]


@pytest.mark.parametrize("size", range(65))
def test_every_root_and_proof_of_a_size_equals_the_recursion(size: int) -> None:
    data = ENTRIES[:size]
    root = TREE.root(size)
    assert root == _mth(data) == Tree([leaf_hash(entry) for entry in data]).root()
    for index in range(size):
        proof = TREE.prove_inclusion(index, size)
        assert proof == _path(index, data)
        verify_inclusion(leaf_hash(data[index]), index, size, proof, root)
    for old in range(1, size + 1):
        proof = TREE.prove_consistency(old, size)
        assert proof == _subproof(old, data, True)
        verify_consistency(old, size, TREE.root(old), root, proof)


@pytest.mark.parametrize("size", [65, 100, 127, 128, 129, 200, 255, 256, 257, 300])
def test_proofs_of_larger_sizes_equal_the_recursion(size: int) -> None:
    data = [b"entry %d" % i for i in range(size)]
    tree = Tree([leaf_hash(entry) for entry in data])
    assert tree.root() == _mth(data)
    for at in {0, 1, size - 2, size - 1, *range(5, size, 13)}:
        assert tree.prove_inclusion(at) == _path(at, data)
        assert tree.prove_consistency(at + 1) == _subproof(at + 1, data, True)


@pytest.mark.parametrize("size", range(34))
def test_leaves_can_be_taken_back(size: int) -> None:
    tree = Tree([leaf_hash(entry) for entry in ENTRIES[:33]])
    tree.rewind(size)
    kept = ENTRIES[: min(size, 33)]
    assert tree.size == len(kept) and tree.root() == _mth(kept)
    for entry in (other := [b"other %d" % i for i in range(9)]):
        tree.append(leaf_hash(entry))
    assert tree.root() == _mth(kept + other)


def test_known_roots() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@given(data=st.data(), size=st.integers(1, 64))
def test_an_altered_inclusion_proof_is_refused(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, root, proof = leaf_hash(ENTRIES[index]), TREE.root(size), TREE.prove_inclusion(index, size)
    other_index = data.draw(st.integers(-1, size))
    other_proof = [*proof]
    match data.draw(st.sampled_from(["flip", "drop", "add"] if proof else ["add"])):
        case "flip":
            at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
            number = int.from_bytes(proof[at], "big") ^ 1 << bit
            other_proof[at] = number.to_bytes(32, "big")
        case "drop":
            del other_proof[data.draw(st.integers(0, len(proof) - 1))]
        case "add":
            other_proof.insert(data.draw(st.integers(0, len(proof))), root)
    with pytest.raises(IntegrityError):
        verify_inclusion(leaf, index, size, other_proof, root)
    if other_index != index:
        with pytest.raises(IntegrityError):
            verify_inclusion(leaf, other_index, size, proof, root)
    with pytest.raises(IntegrityError):
        verify_inclusion(leaf_hash(b"another"), index, size, proof, root)


@given(data=st.data(), new=st.integers(2, 64))
def test_an_altered_consistency_proof_is_refused(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(1, new - 1))
    old_root, new_root, proof = TREE.root(old), TREE.root(new), TREE.prove_consistency(old, new)
    at = data.draw(st.integers(0, len(proof) - 1))
    for other in ([], proof[:at] + proof[at + 1 :], [*proof[:at], old_root, *proof[at:]], [*proof, new_root]):
        with pytest.raises(IntegrityError):
            verify_consistency(old, new, old_root, new_root, other)
    for roots in ((new_root, new_root), (old_root, old_root), (new_root, old_root)):
        with pytest.raises(IntegrityError):
            verify_consistency(old, new, *roots, proof)


def test_one_size_with_two_roots_is_refused() -> None:
    with pytest.raises(IntegrityError, match="two roots"):
        verify_consistency(5, 5, TREE.root(5), TREE.root(6), [])


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (0, 0), (0, 65)])
def test_a_proof_of_what_is_not_there_is_refused(index: int, size: int) -> None:
    with pytest.raises(ConfigError):
        TREE.prove_inclusion(index, size)
