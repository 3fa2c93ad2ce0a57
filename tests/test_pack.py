"""Packs: everything in one is checked before anybody opens it."""

from __future__ import annotations

import random

import pytest
from blake3 import blake3

from relayjax import canonical
from relayjax.errors import FormatError, IntegrityError, RelayError
from relayjax.pack import ModelVersion, encode_pack, verify_pack

VERSION = ModelVersion(3, "ab" * 32, [{"name": "w", "shape": [2, 3]}, {"name": "b", "shape": []}])
FILES = {"_METADATA": b"{}", "weights/c/0": bytes(range(40)), "weights/zarr.json": b"[1]"}


def forged(**changes: object) -> bytes:
    """A pack whose digests are right and whose manifest is not."""
    manifest = {
        "files": [{"blake3": blake3(d).hexdigest(), "path": p, "size": len(d)} for p, d in FILES.items()],
        "layout": VERSION.layout,
        "version": VERSION.number,
        "weights": VERSION.weights,
    } | changes
    encoded = canonical.encode(manifest)
    header = b"RJXC\x00\x00\x00\x01" + len(encoded).to_bytes(8, "big") + blake3(encoded).digest()
    return header + encoded + b"".join(FILES.values())


def entries(path: str) -> list[dict[str, object]]:
    names = [path, *list(FILES)[1:]]
    return [
        {"blake3": blake3(data).hexdigest(), "path": name, "size": len(data)}
        for name, data in zip(names, FILES.values(), strict=True)
    ]


def test_round_trip():
    assert VERSION.size == 7
    assert verify_pack(encode_pack(FILES, VERSION), VERSION) == FILES == verify_pack(forged(), VERSION)
    assert verify_pack(encode_pack({}, VERSION), VERSION) == {}


def test_every_flipped_bit_is_refused():
    pack = encode_pack(FILES, VERSION)
    for bit in range(8 * len(pack)):
        flipped = bytearray(pack)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RelayError):
            verify_pack(bytes(flipped), VERSION)


def test_every_other_length_is_refused():
    pack = encode_pack(FILES, VERSION)
    for data in (*(pack[:length] for length in range(len(pack))), pack + b"\0", pack + pack):
        with pytest.raises(RelayError):
            verify_pack(data, VERSION)


def test_random_bytes_raise_nothing_else():
    rng = random.Random(0)
    for _ in range(200):
        with pytest.raises(RelayError):
            verify_pack(b"RJXC\x00\x00\x00\x01" + rng.randbytes(rng.randrange(80)), VERSION)


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/x", "a//b", "", ".", "a/./b", "a\\..\\b", ".x", "a\0"]
)
def test_a_path_that_leaves_the_directory_is_refused(path: str):
    with pytest.raises(FormatError, match="malformed entry"):
        verify_pack(forged(files=entries(path)), VERSION)


@pytest.mark.parametrize("path", ["weights", "weights/c", "weights/c/0"])
def test_a_path_that_others_lie_on_is_refused(path: str):
    with pytest.raises(FormatError):
        verify_pack(forged(files=entries(path)), VERSION)


@pytest.mark.parametrize(
    "other",
    [
        ModelVersion(4, VERSION.weights, VERSION.layout),
        ModelVersion(3, "cd" * 32, VERSION.layout),
        ModelVersion(3, VERSION.weights, VERSION.layout[::-1]),
    ],
)
def test_a_pack_of_another_version_is_refused(other: ModelVersion):
    with pytest.raises(IntegrityError, match="another version, layout or digest"):
        verify_pack(encode_pack(FILES, VERSION), other)


@pytest.mark.parametrize("changes", [{"files": {}}, {"files": [1]}, {"more": 1}])
def test_a_malformed_manifest_is_refused(changes: dict[str, object]):
    with pytest.raises(FormatError):
        verify_pack(forged(**changes), VERSION)


@pytest.mark.parametrize(
    "leaf",
    [
        1,
        {},
        {"name": "w"},
        {"name": 1, "shape": [2]},
        {"name": "w", "shape": [-2]},
        {"name": "w", "shape": ["2"]},
        {"name": "w", "shape": [True]},
    ],
)
def test_a_layout_from_a_hostile_ledger_is_refused(leaf: object):
    with pytest.raises(FormatError, match="layout"):
        ModelVersion(0, "ab" * 32, [leaf])
