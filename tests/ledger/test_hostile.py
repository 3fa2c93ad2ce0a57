"""More bytes than a format has, from anybody: refused before they are looked at.

What else may come is in `tests/fuzz`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys, sign
from relayjax.ledger import Log, audit_log, chain, verify_log
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.entry import Entry
from relayjax.ledger.evidence import Evidence
from relayjax.ledger.note import parse_note
from relayjax.ledger.policy import Policy
from relayjax.ledger.proof import Receipt
from relayjax.ledger.vkey import VerifierKey
from relayjax.ledger.witness import Request

KEYS = Keys.derive("log", b"test")
ORIGIN = "relay.example/hostile"
ENTRIES = chain(sign(b"%d" % i, KEYS) for i in range(9))
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 3, b"\7" * 32), KEYS)
VKEY = VerifierKey(ORIGIN, 1, bytes.fromhex(KEYS.public.signing)).encode()

Parser = Callable[[bytes], Any]
PARSERS: dict[str, tuple[Parser, bytes]] = {
    "entry": (lambda data: Entry.decode(data).encode(), ENTRIES[1]),
    "evidence": (
        lambda data: Evidence.decode(data).encode(),
        Evidence(NOTE, NOTE, b"\1" * 32, (b"",)).encode(),
    ),
    "note": (lambda data: parse_note(data) and data, NOTE),
    "checkpoint": (
        lambda data: (
            Checkpoint.decode(parse_note(data).text).encode().encode() + data[data.rindex(b"\n\n") + 1 :]
        ),
        NOTE,
    ),
    "policy": (lambda data: Policy.decode(data) and data, f"log {VKEY} https://x\nquorum none\n".encode()),
    "receipt": (
        lambda data: Receipt.decode(data).encode(),
        Receipt(3, b"x", (b"\1" * 32,) * 3, NOTE).encode(),
    ),
    "request": (lambda data: Request.decode(data).encode(), Request(3, (b"\1" * 32,) * 2, NOTE).encode()),
    "vkey": (
        lambda data: VerifierKey.decode(data.decode("utf-8", "replace")).encode().encode(),
        VKEY.encode(),
    ),
}


@pytest.mark.parametrize("name", ["entry", "evidence", "receipt", "request", "note", "policy"])
def test_what_is_too_long_is_refused_before_it_is_looked_at(name: str) -> None:
    parse, good = PARSERS[name]
    with pytest.raises(FormatError, match="at most"):
        parse(good + b" " * (1 << 20))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = Log.create(tmp_path / "log", ORIGIN, KEYS)
    log.append(ENTRIES, KEYS)
    return log


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/000.p/9", "tile/entries/000.p/9"])
def test_a_file_of_any_length_takes_no_memory(log: Log, name: str) -> None:
    os.truncate(log.path / name, 1 << 40)  # sparse
    with pytest.raises(IntegrityError, match="more than") as caught:
        audit_log(log.path, ORIGIN, KEYS.public)
    assert caught.value.where == str(log.path / name)


def test_a_checkpoint_of_any_size_takes_no_memory(log: Log) -> None:
    (log.path / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, 10**17, b"\1" * 32), KEYS))
    with pytest.raises(IntegrityError, match="more than its files can hold"):
        verify_log(log.path, ORIGIN, KEYS.public, workers=0)
    with pytest.raises(IntegrityError, match="more than its files can hold"):
        Log.open(log.path, ORIGIN, KEYS.public.signing)
