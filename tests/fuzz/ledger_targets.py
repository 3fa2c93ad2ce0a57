"""Formats of the log: what a stranger who serves, cosigns or quotes one may send."""

from __future__ import annotations

import contextlib
import functools
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from fuzz.target import KEYS, Target, folder, respelt

from relayjax.audit import introduction
from relayjax.errors import FormatError, IntegrityError, RelayError
from relayjax.identity import Keys, sign
from relayjax.ledger import Log, audit_log, chain
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from relayjax.ledger.cosignature import _subtree_message, cosign, cosigner_key
from relayjax.ledger.entry import Entry
from relayjax.ledger.evidence import Evidence, check_view, verify_evidence
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import Signature, parse_note, sign_note, signer_key, verify_note
from relayjax.ledger.policy import Endpoint, Policy
from relayjax.ledger.proof import Receipt, verify_receipt_under
from relayjax.ledger.tiled import TileReader
from relayjax.ledger.tiles import decode_bundle, encode_bundle
from relayjax.ledger.vkey import ML_DSA_COSIGNATURE, VerifierKey
from relayjax.ledger.witness import Request
from relayjax.ledger.witness_client import _cosignature, with_cosignatures

ORIGIN = "relay.example/fuzz"
LOG = signer_key(ORIGIN, KEYS.public.signing)
COSIGNER = Keys.derive("witness", b"fuzz")
WITNESS = cosigner_key("witness.example/w1", COSIGNER)
_QUANTUM_SAFE = MLDSA44PrivateKey.from_seed_bytes(b"\7" * 32)
QUANTUM_SAFE = VerifierKey(
    "witness.example/w2", ML_DSA_COSIGNATURE, _QUANTUM_SAFE.public_key().public_bytes_raw()
)
ENTRIES = chain(sign(b'{"n":%d}' % number, KEYS) for number in range(9))
TREE = Tree([leaf_hash(entry) for entry in ENTRIES])
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 9, TREE.root()), KEYS)
TEXT = parse_note(NOTE).text
COSIGNATURE = cosign(TEXT, WITNESS.name, COSIGNER, 1_700_000_000)
SAFE_COSIGNATURE = (
    Signature(
        QUANTUM_SAFE.name,
        QUANTUM_SAFE.key_id,
        (1_700_000_000).to_bytes(8, "big")
        + _QUANTUM_SAFE.sign(_subtree_message(TEXT, QUANTUM_SAFE.name, 1_700_000_000)),
    ).encode()
    + "\n"
)
COSIGNED = with_cosignatures(NOTE, [COSIGNATURE, SAFE_COSIGNATURE])
POLICY = Policy.threshold(
    1, [Endpoint(WITNESS, "https://w1.example"), Endpoint(QUANTUM_SAFE)], [Endpoint(LOG)]
)


def _entry(data: bytes) -> bytes:
    with contextlib.suppress(FormatError):
        Entry.decode(respelt(data))
    return Entry.decode(data).encode()


def _note(data: bytes) -> bytes:
    note = parse_note(data)
    with contextlib.suppress(IntegrityError, FormatError):
        verify_note(data, [LOG, WITNESS, QUANTUM_SAFE])
    lines = "".join(f"{line.encode()}\n" for line in note.signatures)
    return f"{note.text}\n{lines}".encode()


def _checkpoint(data: bytes) -> bytes:
    """The text of a checkpoint, which a log signs that is not to be trusted."""
    try:
        note = sign_note(data.decode(), ORIGIN, KEYS)
    except UnicodeDecodeError:
        raise FormatError("text") from None
    checkpoint = verify_checkpoint(note, ORIGIN, KEYS.public.signing)
    with contextlib.suppress(IntegrityError):
        check_view(NOTE, note, LOG, TileReader(_fetch, checkpoint.size))
    return checkpoint.encode().encode()


def _receipt(data: bytes) -> bytes:
    receipt = Receipt.decode(data)
    with contextlib.suppress(IntegrityError, FormatError):
        verify_receipt_under(receipt, POLICY)
    return receipt.encode()


def _policy(data: bytes) -> None:
    policy = Policy.decode(data)
    again = Policy.decode(policy.encode())
    assert again.encode() == policy.encode() and again.quorum == policy.quorum
    with contextlib.suppress(IntegrityError):
        policy.verify(COSIGNED)


def _vkey(data: bytes) -> bytes:
    return VerifierKey.decode(data.decode("utf-8", "surrogateescape")).encode().encode()


def _evidence(data: bytes) -> bytes:
    for text in (respelt(data, 1 << 19), data):
        with contextlib.suppress(RelayError):
            verify_evidence(Evidence.decode(text), LOG, [WITNESS])
    return Evidence.decode(data).encode()


def _bundle(data: bytes) -> bytes:
    return encode_bundle(decode_bundle(data))


@functools.cache
def _tiles() -> dict[str, bytes]:
    found = {file.relative_to(_log()).as_posix(): file for file in _log().rglob("*") if file.is_file()}
    return {name: file.read_bytes() for name, file in found.items()}


def _fetch(path: str) -> bytes:
    if path not in _tiles():
        raise IntegrityError(path, "not served")
    return _tiles()[path]


@functools.cache
def _log() -> Path:
    directory = folder() / "log"
    Log.create(directory, ORIGIN, KEYS).append(ENTRIES, KEYS)
    return directory


def _proof(data: bytes) -> None:
    """A tile as a server of tiles may send it, and proofs made with it."""
    size = int.from_bytes(data[:4], "big")
    reader = TileReader(lambda path: data[4:], size)
    reader.root()
    if size:
        reader.prove_inclusion(int.from_bytes(data[4:8], "big") % size)
        reader.prove_consistency(1 + int.from_bytes(data[8:12], "big") % size)


_FILES = ("checkpoint", "tile/0/000.p/9", "tile/entries/000.p/9")


def _directory(data: bytes) -> None:
    """One file of a log's directory, the first byte says which; whoever opens and audits it looks at all."""
    if not data:
        return
    file = _log() / _FILES[data[0] % len(_FILES)]
    kept = _tiles()[_FILES[data[0] % len(_FILES)]]
    try:
        file.write_bytes(data[1:])
        with contextlib.suppress(IntegrityError):
            introduction(_log())
        with contextlib.suppress(IntegrityError):
            Log.open(_log(), ORIGIN, KEYS.public.signing)
        audit_log(_log(), ORIGIN, KEYS.public)
    finally:
        if not file.parent.is_dir():
            shutil.rmtree(_log())
            raise AssertionError(f"{file.parent} is gone")
        file.write_bytes(kept)


def _request(data: bytes) -> bytes:
    return Request.decode(data).encode()


def _answer(data: bytes) -> None:
    """What a witness answers to a log that asks it."""
    line = _cosignature(NOTE, data, Endpoint(WITNESS, "https://w1.example"))
    verify_note(with_cosignatures(NOTE, [line]), [LOG, WITNESS])


TARGETS = [
    Target("entry", _entry, lambda: [ENTRIES[0], ENTRIES[1]]),
    Target("note", _note, lambda: [NOTE, COSIGNED]),
    Target("checkpoint", _checkpoint, lambda: [TEXT.encode(), f"{TEXT}extension 1\n".encode()]),
    Target(
        "receipt",
        _receipt,
        lambda: [
            Receipt(3, ENTRIES[3], tuple(TREE.prove_inclusion(3)), note).encode() for note in (NOTE, COSIGNED)
        ],
    ),
    Target(
        "policy",
        _policy,
        lambda: [
            POLICY.encode(),
            f"# all\n\nlog {LOG.encode()}\nwitness a {WITNESS.encode()}\ngroup g any a\nquorum g\n".encode(),
            f"log {LOG.encode()} https://log.example\nquorum none\n".encode(),
        ],
    ),
    Target("vkey", _vkey, lambda: [key.encode().encode() for key in (LOG, WITNESS, QUANTUM_SAFE)]),
    Target(
        "evidence",
        _evidence,
        lambda: [
            Evidence(NOTE, sign_checkpoint(Checkpoint(ORIGIN, 9, b"\1" * 32), KEYS)).encode(),
            Evidence(
                sign_checkpoint(Checkpoint(ORIGIN, 5, b"\1" * 32), KEYS),
                NOTE,
                TREE.root(5),
                tuple(TREE.prove_consistency(5)),
            ).encode(),
        ],
    ),
    Target("bundle", _bundle, lambda: [encode_bundle(ENTRIES), encode_bundle([b"", b"x"])]),
    Target(
        "tile",
        _proof,
        lambda: [size.to_bytes(4, "big") + b"".join(TREE.levels[0][:size]) for size in (0, 1, 9)],
    ),
    Target(
        "log",
        _directory,
        lambda: [bytes([which]) + _tiles()[name] for which, name in enumerate(_FILES)],
    ),
    Target(
        "request",
        _request,
        lambda: [Request(3, tuple(TREE.prove_consistency(3)), NOTE).encode(), Request(0, (), NOTE).encode()],
    ),
    Target("answer", _answer, lambda: [COSIGNATURE.encode(), (SAFE_COSIGNATURE + COSIGNATURE).encode()]),
]
