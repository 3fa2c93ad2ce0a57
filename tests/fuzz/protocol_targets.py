"""Records, settings and keys: what members, config files and command lines say."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import hashlib
import hmac
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conftest import Player
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fuzz.target import KEYS, Target, folder, respelt

from relayjax import canonical, config, hashing, records, settings
from relayjax.config import Config
from relayjax.errors import ConfigError, FormatError, RelayError
from relayjax.identity import Keys, PublicKeys
from relayjax.identity.locked import SUFFIX, load_locked
from relayjax.ledger.entry import Entry
from relayjax.ledger.witness_server import listen
from relayjax.mechanism.apply import apply, start
from relayjax.mechanism.rules import DeRelayLRules, RelayJAXRules, Rules, Schedule
from relayjax.mechanism.state import State
from relayjax.peers.bundle import Kind, Listed, Manifest
from relayjax.peers.uploads import Occasion, Signer, verify_upload
from relayjax.records import KINDS, Genesis, Record

PASSWORD = "fuzz"

BODY, SIGNER = b"a delta", Signer(KEYS, Occasion("run", "orderer"))
UPLOADED = "handover/00001-delta-log.age", len(BODY)


def _canonical(data: bytes) -> bytes:
    with contextlib.suppress(FormatError):
        canonical.decode(respelt(data))
    return canonical.encode(canonical.decode(data))


def _base64(data: bytes) -> bytes:
    return canonical.encode_base64(canonical.decode_base64(data.decode("latin-1"))).encode()


def _upload(data: bytes) -> bytes:
    digest = verify_upload(data.decode("latin-1"), *UPLOADED, KEYS.public, SIGNER.occasion)
    assert digest == hashing.digest(BODY)
    return SIGNER.header(UPLOADED[0], BODY).encode()


def _record(data: bytes) -> bytes:
    with contextlib.suppress(FormatError):
        records.decode(respelt(data))
    return records.encode(records.decode(data))


def _record_seeds() -> list[bytes]:
    """One of each kind, its fields filled by their types."""
    found: list[bytes] = []
    for kind in KINDS.values():
        hints = typing.get_type_hints(kind)
        found.append(
            records.encode(kind(**{f.name: _filled(hints[f.name]) for f in dataclasses.fields(kind)}))
        )
    return found


def _filled(kind: Any) -> Any:
    args = typing.get_args(kind)
    match typing.get_origin(kind) or kind:
        case builtin if builtin is int:
            return 7
        case builtin if builtin is str:
            return "ab" * 16
        case builtin if builtin is dict:
            return {"seed": 1}
        case builtin if builtin is list:
            return [{"name": "w", "shape": [2]}]
        case builtin if builtin is bytes:
            return b"\1"
        case builtin if builtin is tuple:
            return tuple(_filled(arg) for arg in args if arg is not Ellipsis)
    return None


def _relay(data: bytes) -> None:
    """Records one a line, whatever they say, their signatures taken for granted; the coins must add up."""
    state: State | None = None
    for line in data.split(b"\n")[:200]:
        with contextlib.suppress(RelayError):
            record = records.decode(respelt(line, records.SIZE_LIMIT))
            if state is None:
                state = start(record) if isinstance(record, Genesis) else None
            else:
                state = apply(state, record)
                _books(state)


def _books(state: State) -> None:
    there = sum(state.balances.values()) + sum(state.round.deposits.values()) + state.pot
    assert there == state.minted - state.burned and min(state.balances.values()) >= 0 <= state.pot


@functools.cache
def _played(rules: Rules) -> list[Record]:
    braids = () if isinstance(rules, DeRelayLRules) else (1,)
    people = 4 if isinstance(rules, DeRelayLRules) else 2
    schedule = Schedule(rounds=2, participants=people, validators=1, braid_rounds=braids)
    player = Player(schedule, rules, lambda number, name: -100_000, lambda number, name: (50_000, 1_000))
    return [records.decode(Entry.decode(entry).envelope.payload) for entry in player.play()]


def _relay_seeds() -> list[bytes]:
    found = []
    for rules in (RelayJAXRules(), DeRelayLRules()):
        said = [records.encode(record) for record in _played(rules)]
        found += [b"\n".join(said), b"\n".join(said[:8])]
    return found


def _settings(data: bytes) -> bytes:
    """The settings that a genesis record holds."""
    with contextlib.suppress(ConfigError, FormatError):
        settings.decode(canonical.decode(respelt(data)), Config)
    return canonical.encode(settings.encode(settings.decode(canonical.decode(data), Config)))


def _settings_seeds() -> list[bytes]:
    found = [config.resolve("digits", {}, 1), config.resolve("text", {}, 1)]
    return [canonical.encode(settings.encode(one)) for one in found]


def _flags(data: bytes) -> None:
    """Settings as they are typed: a path, an equals sign and a text, one a line; and an address."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")[:4]
    given = dict(line.partition("=")[::2] for line in lines)
    with contextlib.suppress(ConfigError):
        listen(lines[0])
    changed = settings.override(_digits(), given)
    assert settings.decode(settings.encode(changed), Config) == changed


@functools.cache
def _digits() -> Config:
    return config.load("digits")


def _public(data: bytes) -> bytes:
    """A name, a signing key and a recipient, as a join record has them."""
    name, _, rest = data.decode("utf-8", "surrogateescape").partition("\n")
    signing, _, receiving = rest.partition("\n")
    public = PublicKeys(name, signing, receiving)
    return f"{public.name}\n{public.signing}\n{public.receiving}".encode()


def _keys(data: bytes) -> None:
    """Both key files in one text, and each by itself."""
    keys = None
    with contextlib.suppress(FormatError):
        keys = Keys.decode("log", data, "keys")
    if keys:
        assert Keys.decode("log", keys.encode(), "keys").public == keys.public
    for name in ("log.pem", "log.age"):
        (_folder() / name).write_bytes(data)
    for name in ("log.pem", "log.age"):
        _write_good()
        (_folder() / name).write_bytes(data)
        with contextlib.suppress(FormatError):
            Keys.load(_folder(), "log")


@functools.cache
def _folder() -> Path:
    return folder()


def _write_good() -> None:
    pem, end, age = KEYS.encode().partition(b"-----END PRIVATE KEY-----\n")
    (_folder() / "log.pem").write_bytes(pem + end)
    (_folder() / "log.age").write_bytes(age)


def _carried(data: bytes) -> bytes:
    """What a bundle says that it holds."""
    with contextlib.suppress(FormatError):
        Manifest.decode(respelt(data, 1 << 25))
    return Manifest.decode(data).encode()


def _carried_seeds() -> list[bytes]:
    named, key = "ab" * 32, KEYS.public.signing
    to_members = ("handover/00001-parent-0.age", f"inbox/{named}.why", "ledger/checkpoint")
    to_members += ("ledger/tile/0/000.p/9", "ledger/tile/entries/x001/000", "seals/00001.json")
    to_members += (f"store/{named[:2]}/{named[2:]}",)
    to_orderer = ("handover/00001-delta-p0.age", f"inbox/{named}.json", "ledger/checkpoint")
    sides = ((Kind.RELAY, to_members, ()), (Kind.LETTERS, to_orderer, ("0c" * 32,)))
    return [
        Manifest(
            kind, "relay.example/fuzz", key, tuple(Listed(path, named, 9) for path in paths), held
        ).encode()
        for kind, paths, held in sides
    ]


def _locked(data: bytes) -> None:
    (_folder() / f"log{SUFFIX}").write_bytes(data)
    load_locked(_folder(), "log", PASSWORD)


def locked(plaintext: bytes, work: int, password: str = PASSWORD) -> bytes:
    """An age file behind a password, of any work factor: the library chooses one that takes a second.

    References:
      age-encryption.org/v1, sections "scrypt recipient stanza", "Header MAC" and "Payload".
    """
    salt, file_key, nonce = b"\1" * 16, b"\2" * 16, b"\3" * 16
    scrypt = b"age-encryption.org/v1/scrypt" + salt
    wrap = hashlib.scrypt(password.encode(), salt=scrypt, n=1 << work, r=8, p=1, maxmem=1 << 30, dklen=32)
    body = _unpadded(ChaCha20Poly1305(wrap).encrypt(bytes(12), file_key, None))
    head = b"age-encryption.org/v1\n-> scrypt %s %d\n%s\n---" % (_unpadded(salt), work, body)
    mac = hmac.digest(_expand(file_key, b"", b"header"), head, "sha256")
    payload = ChaCha20Poly1305(_expand(file_key, nonce, b"payload")).encrypt(
        bytes(11) + b"\1", plaintext, None
    )
    return head + b" " + _unpadded(mac) + b"\n" + nonce + payload


def _expand(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt or None, info).derive(key)


def _unpadded(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _lines(texts: Sequence[str]) -> bytes:
    return "\n".join(texts).encode()


TARGETS = [
    Target(
        "canonical", _canonical, lambda: [canonical.encode({"a": [1, -2, None, True, "é"], "b": {}}), b"0"]
    ),
    Target("base64", _base64, lambda: [b"", b"YQ==", base64.b64encode(bytes(range(40)))]),
    Target("upload", _upload, lambda: [SIGNER.header(UPLOADED[0], BODY).encode()]),
    Target("record", _record, _record_seeds),
    Target("relay", _relay, _relay_seeds),
    Target("settings", _settings, _settings_seeds),
    Target(
        "flags",
        _flags,
        lambda: [
            _lines(["127.0.0.1:8100=", "leg.steps=3", "relay.braid_rounds=1,4", "seed=7"][1:]),
            _lines(["experiment.deviation=lie", "experiment.deviants=(1,)", "rules.slash=0"]),
        ],
    ),
    Target("public", _public, lambda: [_lines(["log", KEYS.public.signing, KEYS.public.receiving])]),
    Target("keys", _keys, lambda: [KEYS.encode()]),
    Target("carried", _carried, _carried_seeds),
    Target("locked", _locked, lambda: [locked(KEYS.encode(), 2)]),
]
