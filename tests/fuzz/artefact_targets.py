"""Artefacts and files that travel: deltas, packs, seals, weights of other programs, data sets."""

from __future__ import annotations

import contextlib
import gzip
import json
from functools import cache, partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyrage
from fuzz.target import KEYS, Target, folder, respelt

from relayjax import canonical, codec
from relayjax.codec.base import HEADER
from relayjax.errors import FormatError, RelayError
from relayjax.hashing import CHUNK
from relayjax.identity import Envelope, open_sealed, sign, verify_envelope
from relayjax.learning import sketches
from relayjax.learning.idx import read_idx
from relayjax.learning.interchange import load_weights, save_weights
from relayjax.learning.layout import Layout
from relayjax.pack import ModelVersion, decode_chunks, decode_pack, encode_pack
from relayjax.peers.parcel import decode_head, head_of, step_of
from relayjax.store.manifest import MANIFEST_TYPE, PIECE, Seal, SealManifest, sign_manifest, verify_manifest
from relayjax.weights import digest
from relayjax.workdir import Workdir

SIZE = 77
"""Values of the deltas: several blocks, the last one short."""

PARENT = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
CHILD = PARENT + (0.01 * np.random.default_rng(1).standard_normal(SIZE)).astype(np.float32)
ZEROS = np.zeros(SIZE, np.float32)

THETA = np.arange(7, dtype=np.float32)
VERSION = ModelVersion(3, digest(THETA), [{"name": "w", "shape": [2, 3]}, {"name": "b", "shape": []}])

MANIFEST = SealManifest(
    4,
    (
        Seal("0a" * 32, "delta", 120, ("0b" * 32,), ("p0", "v0")),
        Seal("0c" * 32, "model", PIECE + 4_000, ("0d" * 32, "0e" * 32), ("log", "v0")),
    ),
)
LAYOUT = Layout.of({"dense": {"bias": jnp.zeros(2), "kernel": jnp.zeros((3, 2))}})


def _delta(name: str, data: bytes) -> bytes | None:
    """A payload as it came, and its body behind a right header."""
    c = codec.get(name)
    bodies = [
        data,
        HEADER.pack(b"RJXD", 1, c.code, 0, SIZE, max(0, len(data) - HEADER.size)) + data[HEADER.size :],
    ]
    for payload in bodies:
        with contextlib.suppress(FormatError):
            child = c.apply(payload, PARENT)
            assert np.isfinite(child).all()
            delta = c.decode(payload, ZEROS)
            assert np.isfinite(delta).all()
            if name != "lossless":
                assert c.encode_once(ZEROS, delta) == payload
    c.apply(data, PARENT)
    return None if name == "lossless" else c.encode_once(ZEROS, c.decode(data, ZEROS))


def _payloads(name: str) -> list[bytes]:
    return [codec.get(name).encode_once(PARENT, child) for child in (CHILD, PARENT)]


def _pack(data: bytes) -> bytes:
    """A pack as it came, whole and in pieces; and one whose manifest is spelt as it should be."""
    length = int.from_bytes(data[8:16], "big")
    manifest = data[16 : 16 + length] if length <= len(data) else data[16:]
    spelt = _respelt(manifest)
    forged = data[:8] + len(spelt).to_bytes(8, "big") + spelt + data[16 + len(manifest) :]
    for pieces in ([forged], [data[:5], data[5:40], data[40:]]):
        with contextlib.suppress(RelayError):
            np.testing.assert_array_equal(decode_pack(pieces, VERSION), THETA)
        with contextlib.suppress(RelayError):
            decode_chunks(b"".join(pieces), VERSION)
    return b"".join(encode_pack(decode_pack([data], VERSION), VERSION))


def _respelt(data: bytes) -> bytes:
    try:
        return respelt(data)
    except FormatError:
        return data


def _seals(data: bytes) -> bytes:
    """A manifest that its signer has signed, whatever it says, and the bytes as an envelope."""
    with contextlib.suppress(RelayError):
        verify_manifest(data, {"log": KEYS.public}, 4, "seals")
    with contextlib.suppress(RelayError):
        verify_manifest(_signed(respelt(data)), {"log": KEYS.public}, 4, "seals")
    found = verify_manifest(_signed(data), {"log": KEYS.public}, 4, "seals")
    opened = canonical.decode(sign_manifest(found, KEYS))
    return canonical.decode_base64(opened["payload"])


def _signed(payload: bytes) -> bytes:
    return canonical.encode(sign(payload, KEYS, MANIFEST_TYPE).to_json())


def _envelope(data: bytes) -> bytes:
    for text in (data, _respelt(data)):
        with contextlib.suppress(RelayError):
            verify_envelope(Envelope.from_json(canonical.decode(text)), KEYS.public)
    return canonical.encode(Envelope.from_json(canonical.decode(data)).to_json())


def _parcel(data: bytes) -> bytes:
    """The opened head of a parcel as it came, and one whose manifest is spelt as it should be."""
    length = int.from_bytes(data[8:16], "big")
    manifest = data[16 : 16 + length] if length <= len(data) else data[16:]
    spelt = _respelt(manifest)
    with contextlib.suppress(RelayError):
        forged = data[:8] + len(spelt).to_bytes(8, "big") + spelt + data[16 + len(manifest) :]
        head, inline = decode_head(forged)
        assert head.encode(inline) == forged and all(head.room(number) for number in range(head.pieces))
    head, inline = decode_head(data)
    return head.encode(inline)


def _parcels() -> list[bytes]:
    whole = head_of(bytes(2 * CHUNK), b"secret")
    return [whole.encode(), step_of(whole, "0a" * 32).encode(), head_of(b"small", b"secret").encode(b"small")]


def _sealed(data: bytes) -> None:
    open_sealed(data, KEYS)


@cache
def _folder() -> Path:
    return folder()


def _fitting(data: bytes) -> list[bytes]:
    """A safetensors file, and it with a header whose length fits, which is looked at."""
    length = int.from_bytes(data[:8], "little")
    return [data, *([len(data[8:]).to_bytes(8, "little") + data[8:]] if length > len(data) else [])]


def _weights(data: bytes) -> None:
    file = _folder() / "weights.safetensors"
    for content in _fitting(data):
        file.write_bytes(content)
        with contextlib.suppress(RelayError):
            assert np.isfinite(load_weights(file, LAYOUT)).all()
    file.write_bytes(data)
    load_weights(file, LAYOUT)


def _sketch(data: bytes) -> None:
    file = _folder() / "sketch.safetensors"
    for content in _fitting(data):
        file.write_bytes(content)
        with contextlib.suppress(RelayError):
            one = sketches.load(file)
            if one.means.size:
                sketches.Rehearsal(one, one.means.shape[1:])
    file.write_bytes(data)
    sketches.load(file)


def _sketch_seeds() -> list[bytes]:
    file = _folder() / "seed.safetensors"
    x = np.arange(63, dtype=np.float32).reshape(21, 3) ** 2
    sketches.save(file, sketches.sketch(x, np.ones(21, np.int32), 2))
    return [file.read_bytes()]


def _weights_seeds() -> list[bytes]:
    file = _folder() / "seed.safetensors"
    arrays = {"dense/bias": np.ones(2, np.float32), "dense/kernel": np.ones((3, 2), np.float32)}
    save_weights(file, arrays, {"from": "here"})
    header = {
        "dense/bias": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
        "dense/kernel": {"dtype": "BF16", "shape": [3, 2], "data_offsets": [4, 16]},
    }
    text = json.dumps(header).encode()
    return [file.read_bytes(), len(text).to_bytes(8, "little") + text + bytes(16)]


def _idx(data: bytes) -> None:
    for name in ("data.idx", "data.gz"):
        (_folder() / name).write_bytes(data)
        with contextlib.suppress(RelayError):
            read_idx(_folder() / name, 1 + len(data) % 3)


def _idx_seeds() -> list[bytes]:
    plain = [
        bytes((0, 0, 8, d)) + b"".join((2).to_bytes(4, "big") for _ in range(d)) + bytes(2**d) for d in (1, 3)
    ]
    return [*plain, gzip.compress(plain[0], mtime=0)]


def _figures(data: bytes) -> None:
    """What lies beside a ledger: figures that were measured."""
    workdir = Workdir(_folder())
    workdir.metrics.write_bytes(data)
    workdir.baselines.write_bytes(data)
    with contextlib.suppress(RelayError):
        workdir.read_baselines()
    workdir.read_metrics(3, damaged=True)
    with contextlib.suppress(RelayError):
        workdir.read_metrics(3)


TARGETS = [
    *(
        Target(
            f"delta_{name}",
            partial(_delta, name),
            partial(_payloads, name),
        )
        for name in codec.NAMES
    ),
    Target("pack", _pack, lambda: [b"".join(encode_pack(THETA, VERSION))]),
    Target(
        "seals",
        _seals,
        lambda: [canonical.decode_base64(canonical.decode(sign_manifest(MANIFEST, KEYS))["payload"])],
    ),
    Target(
        "envelope",
        _envelope,
        lambda: [canonical.encode(sign(b"{}", KEYS).to_json()), sign_manifest(MANIFEST, KEYS)],
    ),
    Target("parcel", _parcel, _parcels),
    Target("sealed", _sealed, lambda: [pyrage.encrypt(b"weights", [KEYS.receiving.to_public()])]),
    Target("weights", _weights, _weights_seeds),
    Target("sketch", _sketch, _sketch_seeds),
    Target("idx", _idx, _idx_seeds),
    Target(
        "figures",
        _figures,
        lambda: [b'{"round": 1, "loss": 2.5}\n{"round": 2}\n', b'{"alone": [{}], "pooled": {}}'],
    ),
]
