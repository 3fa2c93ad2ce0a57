"""Sealing a round: who may open it can, nobody else, and damage is found and named."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from relayjax import canonical
from relayjax.errors import AccessError, ConfigError, FormatError, IntegrityError
from relayjax.hashing import digest as digest_of
from relayjax.identity import Keys, sign
from relayjax.store import (
    Artefact,
    LocalStore,
    Seal,
    SealDirectory,
    open_artefact,
    open_pieces,
    seal_round,
    verify_manifest,
)
from relayjax.store.manifest import MANIFEST_TYPE, PIECE, SealManifest, sign_manifest

ALICE, BOB, CAROL = (Keys.derive(name, b"test") for name in ("alice", "bob", "carol"))
SIGNERS = {keys.name: keys.public for keys in (ALICE, BOB)}
MODEL, DELTA = b"model" * 100, b"delta"
ARTEFACTS = {digest_of(DELTA): ("delta", DELTA), digest_of(MODEL): ("model", MODEL)}
ROUND = 12


def artefacts(*recipients: Keys) -> list[Artefact]:
    return [Artefact(kind, data, [keys.public for keys in recipients]) for kind, data in ARTEFACTS.values()]


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "sealed")


@pytest.fixture
def seals(tmp_path, store) -> SealDirectory:
    directory = SealDirectory(tmp_path / "seals")
    directory.write(ROUND, seal_round(store, ROUND, artefacts(BOB, ALICE), ALICE))
    return directory


def test_recipients_open_every_artefact_and_others_none(store, seals):
    manifest = seals.read(ROUND, SIGNERS)
    for digest, (kind, plaintext) in ARTEFACTS.items():
        seal = manifest.find(digest)
        assert (seal.kind, seal.size, seal.recipients) == (kind, len(plaintext), ("alice", "bob"))
        assert plaintext not in store.get(seal.sealed[0])
        for keys in (ALICE, BOB):
            assert open_artefact(store, manifest, digest, keys) == plaintext
        with pytest.raises(AccessError):
            open_artefact(store, manifest, digest, CAROL)


def test_the_manifest_file_is_the_documented_json(seals):
    path = seals.directory / "00012.json"
    payload = json.loads(canonical.decode_base64(json.loads(path.read_bytes())["payload"]))
    assert payload["round"] == ROUND
    assert [seal["artefact"] for seal in payload["seals"]] == sorted(ARTEFACTS)
    assert set(payload["seals"][0]) == {"artefact", "kind", "size", "sealed", "recipients"}


def test_an_artefact_that_was_not_sealed_is_named(store, seals):
    with pytest.raises(IntegrityError, match="f" * 64):
        open_artefact(store, seals.read(ROUND, SIGNERS), "f" * 64, ALICE)


def test_sealing_to_nobody_is_refused(store):
    with pytest.raises(ConfigError, match="no recipients"):
        seal_round(store, ROUND, artefacts(), ALICE)


def test_equal_artefacts_are_sealed_once_to_the_recipients_of_both(store):
    same = [Artefact("delta", DELTA, [keys.public]) for keys in (ALICE, BOB)]
    (seal,) = verify_manifest(seal_round(store, ROUND, same, ALICE), SIGNERS, ROUND, "file").seals
    assert seal.recipients == ("alice", "bob")


def test_a_large_artefact_is_sealed_in_pieces_and_its_buffers_are_not_joined(store):
    rng = random.Random(0)
    buffers = [rng.randbytes(300), memoryview(rng.randbytes(PIECE)), b"", bytearray(rng.randbytes(2 * PIECE))]
    artefact = Artefact("model", buffers, [ALICE.public])
    plaintext = b"".join(buffers)
    assert [len(piece) for piece in artefact.pieces()] == [PIECE] * 3 + [300]
    assert b"".join(artefact.pieces()) == plaintext
    data = seal_round(store, ROUND, [artefact, *artefacts(BOB)], ALICE)
    manifest = verify_manifest(data, SIGNERS, ROUND, "file")
    digest = digest_of(plaintext)
    found = manifest.find(digest)
    assert found.size == len(plaintext) and len(set(found.sealed)) == 4
    assert open_artefact(store, manifest, digest, ALICE) == plaintext
    for other, (_, small) in ARTEFACTS.items():
        assert open_artefact(store, manifest, other, BOB) == small

    first, second, *rest = found.sealed
    lies = (
        (replace(found, sealed=(second, first, *rest)), "has the digest"),
        (replace(found, sealed=(rest[-1], second, *rest)), "piece 1 has 300 bytes"),
        (replace(found, size=found.size - 1), "piece 4 has 300 bytes"),
    )
    for lie, problem in lies:
        with pytest.raises(IntegrityError, match=problem):
            open_artefact(store, SealManifest(ROUND, (lie,)), digest, ALICE)
    opened = open_pieces(store, manifest, digest, ALICE)
    assert next(opened) == plaintext[:PIECE]
    store.delete(second)
    with pytest.raises(IntegrityError, match="missing"):
        next(opened)


def test_an_empty_artefact_is_one_piece(store):
    manifest = verify_manifest(
        seal_round(store, ROUND, [Artefact("delta", b"", [ALICE.public])], ALICE), SIGNERS, ROUND, "file"
    )
    assert open_artefact(store, manifest, digest_of(b""), ALICE) == b""


def test_a_signer_who_lies_about_the_plaintext_is_found_out(store):
    other = seal_round(store, ROUND, [Artefact("model", MODEL, [BOB.public])], ALICE)
    (honest,) = verify_manifest(other, SIGNERS, ROUND, "other").seals
    lie = Seal(digest_of(DELTA), "delta", len(DELTA), honest.sealed, honest.recipients)
    with pytest.raises(IntegrityError, match=digest_of(DELTA)):
        open_artefact(store, SealManifest(ROUND, (lie,)), digest_of(DELTA), BOB)


def test_any_flipped_bit_of_manifest_or_artefact_is_found_and_its_file_named(store, seals):
    manifest = seals.read(ROUND, SIGNERS)
    paths = [seals.path(ROUND), *(store.path(seal.sealed[0]) for seal in manifest.seals)]
    assert seals.verify(store, SIGNERS) == [manifest]
    rng = random.Random(0)
    for path in paths:
        whole = path.read_bytes()
        for _ in range(150):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError) as caught:
                seals.verify(store, SIGNERS)
            assert caught.value.where == str(path)
        path.write_bytes(whole)


def test_missing_files_are_named(store, seals):
    (seal, _) = seals.read(ROUND, SIGNERS).seals
    store.delete(seal.sealed[0])
    with pytest.raises(IntegrityError) as caught:
        seals.verify(store, SIGNERS)
    assert caught.value.where == str(store.path(seal.sealed[0]))
    with pytest.raises(IntegrityError) as caught:
        seals.read(ROUND + 1, SIGNERS)
    assert caught.value.where == str(seals.path(ROUND + 1))


def test_a_manifest_is_bound_to_its_round_signer_and_type(store, seals):
    data = seals.path(ROUND).read_bytes()
    with pytest.raises(IntegrityError, match="expected round 13"):
        verify_manifest(data, SIGNERS, ROUND + 1, "file")
    with pytest.raises(IntegrityError, match="not among those who may seal"):
        verify_manifest(data, {"bob": BOB.public}, ROUND, "file")
    payload = canonical.decode_base64(json.loads(data)["payload"])
    with pytest.raises(IntegrityError, match="type"):
        verify_manifest(canonical.encode(sign(payload, ALICE).to_json()), SIGNERS, ROUND, "file")


@pytest.mark.parametrize("name", ["notes.txt", "12.json", "000012.json", "-0001.json"])
def test_unexpected_files_among_the_manifests_are_named(seals, name):
    (seals.directory / ".00012.json.abc.tmp").touch()
    assert seals.rounds() == [ROUND]
    (seals.directory / name).touch()
    with pytest.raises(IntegrityError) as caught:
        seals.rounds()
    assert caught.value.where == str(seals.directory / name)


VALID = {
    "artefact": "a" * 64,
    "kind": "delta",
    "size": 1,
    "sealed": ["b" * 64],
    "recipients": ["alice", "bob"],
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"artefact": "A" * 64},
        {"sealed": "b" * 64},
        {"sealed": ["../../etc/passwd"]},
        {"sealed": [1]},
        {"sealed": []},
        {"sealed": ["b" * 64, "c" * 64]},
        {"size": PIECE + 1},
        {"kind": "other"},
        {"size": -1},
        {"size": True},
        {"recipients": []},
        {"recipients": ["bob", "alice"]},
        {"recipients": ["alice", "alice"]},
        {"recipients": ["Alice"]},
        {"recipients": [1]},
        {"extra": 1},
    ],
)
def test_signed_nonsense_is_refused(wrong):
    payload = {"round": ROUND, "seals": [{**VALID, **wrong}]}
    data = canonical.encode(sign(canonical.encode(payload), ALICE, MANIFEST_TYPE).to_json())
    with pytest.raises(IntegrityError, match="file"):
        verify_manifest(data, SIGNERS, ROUND, "file")


def test_seals_are_sorted_and_unique():
    seal = Seal("a" * 64, "delta", 1, ("b" * 64,), ("alice",))
    with pytest.raises(FormatError, match="sorted"):
        SealManifest(ROUND, (seal, seal))
    manifest = SealManifest(ROUND, (seal,))
    assert verify_manifest(sign_manifest(manifest, ALICE), SIGNERS, ROUND, "file") == manifest
