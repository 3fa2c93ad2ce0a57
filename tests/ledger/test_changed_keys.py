"""A log is checked entry by entry with the keys of that moment, whichever process looks at which tile."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayjax import records
from relayjax.errors import IntegrityError
from relayjax.identity import Keys, sign
from relayjax.ledger import Log, chain
from relayjax.ledger.audit import verify_log
from relayjax.records import Join, Record, Recover, RecoveryKey, Revoke, Rotate

LOG = Keys.derive("log", b"changed")
FIRST, SECOND, THIRD, SAFE, SAFER = (Keys.derive("ada", label) for label in (b"1", b"2", b"3", b"r", b"s"))
BOB = Keys.derive("bob", b"1")
ORIGIN, RUN = "relay.example/changed", "00" * 32
ROTATED, REGISTERED, REPLACED, RECOVERED, SIZE = 300, 950, 1100, 1300, 1500
"""Entries that change keys: in other tiles, and beyond what one process looks at in one go."""


def _joined(keys: Keys) -> Join:
    return Join(keys.name, "participant", keys.public.signing, keys.public.receiving)


CHANGES: dict[int, tuple[Keys, Record]] = {
    0: (FIRST, _joined(FIRST)),
    1: (BOB, _joined(BOB)),
    ROTATED: (FIRST, Rotate("ada", RUN, SECOND.public.signing, SECOND.public.receiving, "")),
    REGISTERED: (SECOND, RecoveryKey("ada", RUN, SAFE.public.signing, "")),
    REPLACED: (SAFE, RecoveryKey("ada", RUN, SAFER.public.signing, "")),
    RECOVERED: (SAFER, Recover("ada", RUN, 1, THIRD.public.signing, THIRD.public.receiving, "")),
}


def _log(path: Path, other: dict[int, tuple[Keys, Record | bytes]] | None = None) -> Path:
    """A log of what ada and bob say in turn, with some entries replaced."""
    said = []
    for index in range(SIZE):
        ada = FIRST if index <= ROTATED else SECOND if index <= RECOVERED else THIRD
        keys, record = {**CHANGES, **(other or {})}.get(index, (ada if index % 2 else BOB, b"%d" % index))
        said.append(sign(record if isinstance(record, bytes) else records.encode(record), keys))
    Log.create(path, ORIGIN, LOG).append(chain(said), LOG)
    return path


@pytest.mark.parametrize("workers", [0, 2])
def test_every_entry_is_held_to_the_keys_of_its_moment(tmp_path: Path, workers: int):
    assert verify_log(_log(tmp_path / "log"), ORIGIN, LOG.public, workers=workers).size == SIZE


@pytest.mark.parametrize(
    ("index", "keys", "record"),
    [
        (ROTATED - 1, SECOND, b"too early"),
        (ROTATED + 1, FIRST, b"too late"),
        (ROTATED, SECOND, CHANGES[ROTATED][1]),
        (REPLACED, SECOND, CHANGES[REPLACED][1]),
        (RECOVERED, SECOND, CHANGES[RECOVERED][1]),
        (RECOVERED, SAFE, CHANGES[RECOVERED][1]),
        (RECOVERED - 2, SECOND, Revoke("ada", RUN, "ada")),
        (RECOVERED + 1, SECOND, b"too late"),
        (SIZE - 1, FIRST, b"long since"),
        (700, SAFER, CHANGES[RECOVERED][1]),
    ],
)
def test_any_other_signature_is_named(tmp_path: Path, index: int, keys: Keys, record: Record | bytes):
    path = _log(tmp_path / "log", {index: (keys, record)})
    with pytest.raises(IntegrityError) as caught:
        verify_log(path, ORIGIN, LOG.public, workers=0)
    assert caught.value.where.endswith(f"entry {index}"), caught.value


def test_nobody_changes_the_keys_of_another(tmp_path: Path):
    """What bob says in ada's name is for the replay to refuse; here it leaves her keys as they are."""
    stolen = Rotate("ada", RUN, BOB.public.signing, BOB.public.receiving, "")
    path = _log(tmp_path / "log", {400: (BOB, stolen)})
    assert verify_log(path, ORIGIN, LOG.public, workers=0).size == SIZE


def test_a_recovery_key_may_revoke_and_the_signing_key_another(tmp_path: Path):
    told: dict[int, tuple[Keys, Record | bytes]] = {
        SIZE - 4: (THIRD, Revoke("ada", RUN, "bob")),
        SIZE - 2: (SAFER, Revoke("ada", RUN, "ada")),
    }
    assert verify_log(_log(tmp_path / "log", told), ORIGIN, LOG.public, workers=0).size == SIZE
