"""Packs: one for each version, and nothing of one is believed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from relayjax import canonical, hashing
from relayjax.errors import FormatError, IntegrityError, RelayError
from relayjax.hashing import CHUNK
from relayjax.pack import Chunks, ModelVersion, decode_chunks, decode_pack, encode_pack, parameters
from relayjax.weights import digest

THETA = np.arange(7, dtype=np.float32) - 3
LAYOUT = [{"name": "w", "shape": [2, 3]}, {"name": "b", "shape": []}]
VERSION = ModelVersion(3, digest(THETA), LAYOUT)
PACK = b"".join(encode_pack(THETA, VERSION))

# Three chunks and a part of a fourth.
LARGE = np.random.default_rng(0).standard_normal(3 * CHUNK // 4 + 1_001, np.float32)
LARGE_VERSION = ModelVersion(1, digest(LARGE), [{"name": "w", "shape": [LARGE.size]}])


def manifest(**changes: object) -> bytes:
    """The beginning of the pack of version 3 with another manifest."""
    fields = {"chunks": [VERSION.weights], "layout": LAYOUT, "version": 3, "weights": VERSION.weights}
    encoded = canonical.encode(fields | changes)
    return b"RJXC\x00\x00\x00\x02" + len(encoded).to_bytes(8, "big") + encoded


def cut(data: bytes, at: int) -> Iterator[bytes]:
    return (data[i : i + at] for i in range(0, len(data), at))


def test_a_pack_is_the_documented_bytes():
    assert VERSION.size == 7
    assert manifest() + THETA.astype("<f4").tobytes() == PACK


@pytest.mark.parametrize("at", [1, 7, 16, 1_000])
def test_round_trip_however_it_is_cut(at: int):
    assert decode_pack(cut(PACK, at), VERSION).tobytes() == THETA.tobytes()
    large = b"".join(encode_pack(LARGE, LARGE_VERSION))
    assert decode_pack(cut(large, at * 1_009), LARGE_VERSION).tobytes() == LARGE.tobytes()


def test_encoding_copies_no_parameter():
    _, view = encode_pack(LARGE, LARGE_VERSION)
    assert np.shares_memory(np.frombuffer(view, np.float32), LARGE)


def test_special_values_keep_their_bits():
    theta = np.array([0.0, -0.0, 1e-45, -1e-45, 3.4e38, np.inf, np.nan], np.float32)
    version = ModelVersion(0, digest(theta), LAYOUT)
    assert decode_pack(encode_pack(theta, version), version).tobytes() == theta.tobytes()


def test_other_parameters_than_the_ledger_names_are_not_packed():
    for theta in (THETA + 1, THETA[:6]):
        with pytest.raises(IntegrityError):
            encode_pack(theta, VERSION)


def test_every_flipped_bit_is_refused():
    for bit in range(8 * len(PACK)):
        flipped = bytearray(PACK)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RelayError):
            decode_pack([bytes(flipped)], VERSION)


def test_every_other_length_is_refused():
    for data in (*(PACK[:length] for length in range(len(PACK))), PACK + b"\0", PACK + PACK):
        with pytest.raises(RelayError):
            decode_pack([data], VERSION)


def test_random_bytes_raise_nothing_else():
    rng = random.Random(0)
    for _ in range(200):
        with pytest.raises(RelayError):
            decode_pack([b"RJXC\x00\x00\x00\x02" + rng.randbytes(rng.randrange(80))], VERSION)


def test_the_first_bad_chunk_is_named_and_nothing_behind_it_is_fetched():
    head, body = encode_pack(LARGE, LARGE_VERSION)
    damaged = bytearray(body)
    damaged[CHUNK + 5] ^= 1
    fetched: list[int] = []

    def pieces() -> Iterator[bytes]:
        yield bytes(head)
        for start in range(0, len(damaged), CHUNK):
            fetched.append(start // CHUNK)
            yield bytes(damaged[start : start + CHUNK])

    with pytest.raises(IntegrityError, match="chunk 1 is not"):
        decode_pack(pieces(), LARGE_VERSION)
    assert fetched == [0, 1, 2]  # the third while the second was verified


def test_a_transfer_that_was_cut_short_goes_on_chunk_by_chunk_from_anybody():
    head, body = encode_pack(LARGE, LARGE_VERSION)
    chunks = decode_chunks(bytes(head), LARGE_VERSION)
    assert chunks == Chunks.of(LARGE, LARGE_VERSION) and len(chunks.digests) == 4
    got = bytearray(len(body))
    for number in (2, 0, 3, 1):
        part = body[number * CHUNK : (number + 1) * CHUNK]
        with pytest.raises(IntegrityError, match=f"chunk {number} is not"):
            chunks.verify(number, bytes(len(part)))
        chunks.verify(number, part)
        got[number * CHUNK : number * CHUNK + len(part)] = part
    assert got == body
    chunks.verify(1, body[CHUNK:])
    with pytest.raises(IntegrityError, match="chunk 4 is not"):
        chunks.verify(4, body[:CHUNK])


def test_a_list_of_chunks_that_does_not_lead_to_the_weights_is_refused():
    head, body = encode_pack(LARGE, LARGE_VERSION)
    for chunks in (
        Chunks.of(LARGE, LARGE_VERSION).digests[::-1],
        tuple(hashing.chunk_digests(bytes(len(body)))),
        (bytes.fromhex(LARGE_VERSION.weights),),
        (),
    ):
        with pytest.raises(IntegrityError, match="its chunks are not"):
            Chunks(LARGE_VERSION, chunks)
    with pytest.raises(FormatError, match="follow its manifest"):
        decode_chunks(bytes(head) + b"\0", LARGE_VERSION)


@pytest.mark.parametrize(
    "other",
    [
        replace(VERSION, number=4),
        replace(VERSION, weights="cd" * 32),
        replace(VERSION, layout=VERSION.layout[::-1]),
    ],
)
def test_a_pack_of_another_version_is_refused(other: ModelVersion):
    with pytest.raises(IntegrityError, match="another version, layout or digest"):
        decode_pack([PACK], other)


@pytest.mark.parametrize(
    "changes",
    [
        {"chunks": {}},
        {"chunks": [1]},
        {"chunks": ["AB" * 32]},
        {"more": 1},
        {"layout": [{"name": "w", "shape": [2, 3]}, {"name": "b", "shape": [True]}]},
    ],
)
def test_a_malformed_manifest_is_refused(changes: dict[str, object]):
    with pytest.raises(RelayError):
        decode_chunks(manifest(**changes), VERSION)
    decode_chunks(manifest(), VERSION)


def test_one_version_has_one_spelling():
    """True equals 1 in Python, and would give another pack of the same version."""
    one = ModelVersion(1, digest(THETA), [{"name": "w", "shape": [1, 7]}])
    fields = {"chunks": [one.weights], "layout": one.layout, "version": True, "weights": one.weights}
    for changes in ({}, {"version": 1, "layout": [{"name": "w", "shape": [True, 7]}]}):
        encoded = canonical.encode(fields | changes)
        head = b"RJXC\x00\x00\x00\x02" + len(encoded).to_bytes(8, "big") + encoded
        with pytest.raises(FormatError, match="is not written as"):
            decode_chunks(head, one)


def test_parameters_come_by_name_without_what_is_carried():
    version = ModelVersion(0, digest(THETA), [*LAYOUT[:1], {"name": "carried/m", "shape": [1]}])
    (found,) = parameters(THETA, version).items()
    assert found[0] == "w" and found[1].tolist() == [[-3, -2, -1], [0, 1, 2]]


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
