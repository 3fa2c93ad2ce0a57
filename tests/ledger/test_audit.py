"""The audit finds any damage to a log and names the very file and entry."""

from __future__ import annotations

import dataclasses
import random
import re
import shutil
from itertools import accumulate
from pathlib import Path

import pytest

from relayjax import records
from relayjax.errors import IntegrityError
from relayjax.identity import Envelope, Keys, sign
from relayjax.ledger import Entry, Log, audit_log, chain, verify_chain
from relayjax.ledger.audit import verify_log
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.note import sign_note
from relayjax.ledger.tiles import decode_bundle, encode_bundle
from relayjax.records import Join

KEYS = Keys.derive("log", b"test")
ADA = Keys.derive("ada", b"test")
ORIGIN = "relay.example/audit"
SIZE = 600
ENTRIES = chain(sign(b"%d" % i * random.Random(i).randrange(300), ADA) for i in range(SIZE))
BUNDLES = {"tile/entries/000": 0, "tile/entries/001": 256, "tile/entries/002.p/88": 512}
LEAVES = {"tile/0/000": 0, "tile/0/001": 256, "tile/0/002.p/88": 512}
FILES = ["checkpoint", "tile/1/000.p/2", *LEAVES, *BUNDLES]


def _make(path: Path, entries: list[bytes]) -> Path:
    Log.create(path, ORIGIN, KEYS).append(entries, KEYS)
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make(tmp_path_factory.mktemp("sound"), ENTRIES)


@pytest.fixture
def log(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "log"))


def _flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def _blamed(path: Path) -> str:
    """Returns where the audit sees the fault, relative to the log."""
    with pytest.raises(IntegrityError) as caught:
        audit_log(path, ORIGIN, KEYS.public)
    return caught.value.where.removeprefix(f"{path}/")


def _expected(file: Path, name: str, bit: int) -> str:
    if name in LEAVES:
        return f"{name}, entry {LEAVES[name] + bit // 256}"
    if name in BUNDLES:
        ends = accumulate(len(entry) + 2 for entry in decode_bundle(file.read_bytes()))
        return f"{name}, entry {BUNDLES[name] + sum(end <= bit // 8 for end in ends)}"
    return name


def test_a_sound_log_passes(sound: Path) -> None:
    assert sorted(str(p.relative_to(sound)) for p in sound.rglob("*") if p.is_file()) == sorted(FILES)
    assert audit_log(sound, ORIGIN, KEYS.public) == ENTRIES


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_traced_to_its_file_and_entry(log: Path, name: str) -> None:
    file = log / name
    bits = random.Random(name).sample(range(file.stat().st_size * 8), 12)
    for bit in bits:
        expected = _expected(file, name, bit)
        _flip(file, bit)
        assert _blamed(log) == expected
        _flip(file, bit)


@pytest.mark.parametrize("bit", range(16))
def test_a_flipped_length_is_traced_to_its_entry(log: Path, bit: int) -> None:
    name = "tile/entries/001"
    file = log / name
    start = sum(len(entry) + 2 for entry in list(decode_bundle(file.read_bytes()))[:7])
    _flip(file, start * 8 + bit)
    assert _blamed(log) == f"{name}, entry 263"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_truncated_file_is_named(log: Path, name: str) -> None:
    file = log / name
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    assert _blamed(log).startswith(name)
    file.unlink()
    assert _blamed(log) == name


@pytest.mark.parametrize(
    "name", ["notes.txt", "tile/0/002.p/89", "tile/entries/003.p/1", ".checkpoint.x.tmp"]
)
def test_a_superfluous_file_is_named(log: Path, name: str) -> None:
    (log / name).parent.mkdir(exist_ok=True)
    (log / name).write_bytes(b"")
    assert _blamed(log) == name


def test_bytes_behind_the_last_entry_are_refused(log: Path) -> None:
    name = "tile/entries/000"
    (log / name).write_bytes((log / name).read_bytes() + b"\0\0")
    assert _blamed(log) == name


def test_with_two_faults_one_of_them_is_named(log: Path) -> None:
    _flip(log / "tile/0/000", 10 * 256)
    _flip(log / "tile/entries/001", 100)
    assert _blamed(log) in {"tile/0/000, entry 10", "tile/entries/001, entry 256"}
    _flip(log / "tile/0/000", 10 * 256)
    _flip(log / "tile/0/001", 30 * 256)
    assert _blamed(log) in {"tile/0/001, entry 286", "tile/entries/001, entry 256"}


def test_a_checkpoint_over_another_history_is_refused(log: Path) -> None:
    (log / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, SIZE, b"\1" * 32), KEYS))
    assert _blamed(log) == "checkpoint"


def test_a_signature_line_of_somebody_unknown_is_ignored(log: Path) -> None:
    note = (log / "checkpoint").read_bytes()
    text = note.partition(b"\n\n")[0].decode() + "\n"
    (log / "checkpoint").write_bytes(note + sign_note(text, "stranger", ADA).rpartition(b"\n\n")[2])
    assert audit_log(log, ORIGIN, KEYS.public) == ENTRIES


@pytest.mark.parametrize("index", [0, 299])
def test_a_log_signed_over_a_broken_chain_is_refused(tmp_path: Path, index: int) -> None:
    stranger = Entry(index, "f" * 64, sign(b"not next", ADA)).encode()
    path = _make(tmp_path / "log", [*ENTRIES[:index], stranger, *ENTRIES[index + 1 :]])
    assert re.fullmatch(rf"tile/entries/00\d(\.p/\d+)?, entry {index}", _blamed(path))


def test_swapped_entries_are_traced(log: Path) -> None:
    swapped = [*ENTRIES[:5], ENTRIES[6], ENTRIES[5], *ENTRIES[7:256]]
    (log / "tile/entries/000").write_bytes(encode_bundle(swapped))
    assert _blamed(log) == "tile/entries/000, entry 5"


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """A log with partial tiles of earlier checkpoints."""
    log = Log.create(tmp_path / "grown", ORIGIN, KEYS)
    for size in (100, 520, 590, 600):
        log.append(ENTRIES[log.size : size], KEYS)
    return log.path


def test_parts_of_earlier_checkpoints_are_held_against_what_followed(grown: Path) -> None:
    assert audit_log(grown, ORIGIN, KEYS.public) == ENTRIES
    names = ["tile/0/002.p/8", "tile/entries/002.p/8", "tile/0/002.p/78", "tile/entries/002.p/78"]
    assert not (grown / "tile/0/000.p").exists()
    for name in names:
        for bit in random.Random(name).sample(range((grown / name).stat().st_size * 8), 8):
            expected = _blamed_part(grown / name, name, bit)
            _flip(grown / name, bit)
            assert _blamed(grown) == expected
            _flip(grown / name, bit)
        data = (grown / name).read_bytes()
        (grown / name).write_bytes(data[:-1])
        assert _blamed(grown).startswith(name)
        (grown / name).write_bytes(data)
    (grown / "tile/0/002.p/7").write_bytes((grown / "tile/0/002.p/8").read_bytes()[:-32])
    assert _blamed(grown) == "tile/entries/002.p/7"
    (grown / "tile/entries/002.p/7").write_bytes((grown / "tile/entries/002.p/8").read_bytes())
    assert _blamed(grown) == "tile/entries/002.p/7"


def _blamed_part(file: Path, name: str, bit: int) -> str:
    if "entries" not in name:
        return f"{name}, entry {512 + bit // 256}"
    ends = accumulate(len(entry) + 2 for entry in decode_bundle(file.read_bytes()))
    return f"{name}, entry {512 + sum(end <= bit // 8 for end in ends)}"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_log_of_records_verifies_with_every_signature(
    played_entries: list[bytes], tmp_path: Path, workers: int
) -> None:
    log = Log.create(tmp_path, ORIGIN, KEYS)
    log.append(played_entries, KEYS)
    checkpoint = verify_log(tmp_path, ORIGIN, KEYS.public, workers=workers)
    assert (checkpoint.size, checkpoint.root) == (len(played_entries), log.root)


def test_a_record_signed_by_another_or_by_nobody_known_is_named(
    played_entries: list[bytes], tmp_path: Path
) -> None:
    envelopes = [entry.envelope for entry in verify_chain(played_entries)]
    at = len(envelopes) // 2
    forged = dataclasses.replace(envelopes[at], signature=envelopes[0].signature)
    for number, envelope in enumerate((forged, sign(envelopes[at].payload, ADA))):
        path = tmp_path / str(number)
        _make(path, chain([*envelopes[:at], envelope, *envelopes[at + 1 :]]))
        assert len(audit_log(path, ORIGIN, KEYS.public)) == len(envelopes)
        with pytest.raises(IntegrityError, match=f"entry {at}: ") as caught:
            verify_log(path, ORIGIN, KEYS.public, workers=0)
        assert caught.value.where.endswith(f"entry {at}")


@pytest.mark.parametrize("workers", [0, 1])
def test_who_joins_under_a_name_that_is_taken_signs_nothing(tmp_path: Path, workers: int) -> None:
    def join(keys: Keys) -> Envelope:
        public = keys.public
        return sign(records.encode(Join(keys.name, "trainer", public.signing, public.receiving)), keys)

    honest, impostor, late = ADA, Keys.derive("ada", b"impostor"), Keys.derive("late", b"test")
    envelopes = [join(honest), *(sign(b"%d" % i, honest) for i in range(1, 1100)), join(late)]
    envelopes += [sign(b"late", late)] * 300
    path = _make(tmp_path / "sound", chain(envelopes))
    assert verify_log(path, ORIGIN, KEYS.public, workers=workers).size == len(envelopes)
    taken = [join(impostor), *(sign(b"x", impostor) for _ in range(600))]  # fills a tile that has no other
    for at, rest in ((1030, taken), (1024, taken), (1310, taken[1:])):
        path = _make(tmp_path / str(at), chain([*envelopes[:at], *rest]))
        with pytest.raises(IntegrityError) as caught:
            verify_log(path, ORIGIN, KEYS.public, workers=workers)
        assert caught.value.where.endswith(f", entry {at}")
    path = _make(tmp_path / "early", chain([*envelopes[:900], envelopes[-1], *envelopes[900:]]))
    with pytest.raises(IntegrityError, match="has not joined") as caught:
        verify_log(path, ORIGIN, KEYS.public, workers=workers)
    assert caught.value.where.endswith(", entry 900")
