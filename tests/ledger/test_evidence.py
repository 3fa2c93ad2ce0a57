"""Split views, rewritten and shrunken logs: caught, kept, and checkable by others."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayjax import canonical
from relayjax.errors import FormatError, IntegrityError, SplitViewError
from relayjax.identity import Keys
from relayjax.ledger import Log
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.cosignature import cosign, cosigner_key
from relayjax.ledger.evidence import Evidence, check_view, verify_evidence, watch
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import parse_note, signer_key
from relayjax.ledger.tiled import TileReader
from relayjax.ledger.witness_client import with_cosignatures

KEYS, WITNESS = Keys.derive("log", b"test"), Keys.derive("witness", b"test")
ORIGIN = "relay.example/log"
LOG = signer_key(ORIGIN, KEYS.public.signing)
W1 = cosigner_key("witness.example", WITNESS)


def _log(path: Path, word: bytes, *sizes: int) -> list[bytes]:
    """Writes a log; returns its checkpoint at each size."""
    log = Log.create(path, ORIGIN, KEYS)
    notes = []
    for size in sizes:
        log.append([b"%s %d" % (word, i) for i in range(log.size, size)], KEYS)
        notes.append(log.signed_checkpoint)
    return notes


def _reader(path: Path, size: int) -> TileReader:
    return TileReader(lambda name: (path / name).read_bytes(), size)


def test_a_log_that_grows_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "me" / "seen"
    for size, note in zip(
        (0, 3, 3, 300, 700), _log(tmp_path / "log", b"entry", 0, 3, 3, 300, 700), strict=True
    ):
        assert (
            watch(file, note, LOG, _reader(tmp_path / "log", size) if size == 700 else _at(size)).size == size
        )
        assert file.read_bytes() == note
    assert [path.name for path in file.parent.iterdir()] == ["seen"]


def _at(size: int) -> TileReader:
    """Reads tiles of an earlier size, from a tree in memory."""
    tree = Tree([leaf_hash(b"entry %d" % i) for i in range(size)])

    def fetch(name: str) -> bytes:
        level, number = int(name.split("/")[1]), int(name.split("/")[2][:3])
        return b"".join(tree.levels[level * 8][number * 256 : (number + 1) * 256])

    return TileReader(fetch, size)


@pytest.mark.parametrize(("kept", "offered"), [(300, 300), (300, 600), (1, 600), (256, 512)])
def test_another_history_is_caught_and_proved(tmp_path: Path, kept: int, offered: int) -> None:
    (first,) = _log(tmp_path / "one", b"entry", kept)
    (second,) = _log(tmp_path / "two", b"other", offered)
    file = tmp_path / "me" / "seen"
    watch(file, first, LOG)
    with pytest.raises(SplitViewError, match=ORIGIN) as caught:
        watch(file, second, LOG, _reader(tmp_path / "two", offered))
    assert file.read_bytes() == first
    (kept_file,) = file.parent.glob("split-view-*.json")
    assert kept_file.read_bytes() == caught.value.evidence
    evidence = Evidence.decode(kept_file.read_bytes())
    assert verify_evidence(evidence, LOG) == (
        f"{ORIGIN} has signed two roots of size {kept}"
        if kept == offered
        else f"{ORIGIN} has rewritten its first {kept} entries by size {offered}"
    )
    with pytest.raises(IntegrityError):
        verify_evidence(evidence, signer_key(ORIGIN, WITNESS.public.signing))
    with pytest.raises(IntegrityError):
        verify_evidence(evidence, signer_key("other.example", KEYS.public.signing))


def test_a_shrunken_log_is_caught_and_proved_by_its_witness(tmp_path: Path) -> None:
    small, large = _log(tmp_path / "log", b"entry", 300, 400)
    with pytest.raises(SplitViewError, match="had 400 entries and now shows 300") as caught:
        check_view(large, small, LOG)
    evidence = Evidence.decode(caught.value.evidence)
    with pytest.raises(IntegrityError, match="proves nothing"):
        verify_evidence(evidence, LOG)
    for when, proved in ((500, False), (700, True)):
        seen = _cosigned(small, when), _cosigned(large, 600)
        if proved:
            assert "later at 300" in verify_evidence(Evidence(*seen), LOG, [W1])
        else:
            with pytest.raises(IntegrityError, match="proves nothing"):
                verify_evidence(Evidence(*seen), LOG, [W1])


def _cosigned(note: bytes, when: int) -> bytes:
    return with_cosignatures(note, [cosign(parse_note(note).text, W1.name, WITNESS, when)])


def test_an_honest_log_cannot_be_accused(tmp_path: Path) -> None:
    notes = _log(tmp_path / "log", b"entry", 300, 600)
    tree = Tree([leaf_hash(b"entry %d" % i) for i in range(600)])
    proof = tuple(tree.prove_consistency(300))
    for evidence in (
        Evidence(notes[0], notes[0]),
        Evidence(notes[0], notes[1]),
        Evidence(notes[1], notes[0]),
        Evidence(notes[0], notes[1], tree.root(300), proof),
        Evidence(notes[0], notes[1], b"\1" * 32, proof),
        Evidence(notes[0], notes[1], tree.root(299), tuple(tree.prove_consistency(299))),
    ):
        with pytest.raises(IntegrityError):
            verify_evidence(evidence, LOG)


def test_damaged_tiles_are_no_evidence(tmp_path: Path) -> None:
    small, large = _log(tmp_path / "log", b"entry", 300, 600)
    tile = tmp_path / "log/tile/1/000.p/2"
    tile.write_bytes(b"\1" * 32 + tile.read_bytes()[32:])
    with pytest.raises(IntegrityError) as caught:
        check_view(small, large, LOG, _reader(tmp_path / "log", 600))
    assert not isinstance(caught.value, SplitViewError)
    with pytest.raises(IntegrityError, match="tiles must show how"):
        check_view(small, large, LOG)


def test_every_field_of_evidence_counts(tmp_path: Path) -> None:
    (first,) = _log(tmp_path / "one", b"entry", 3)
    (second,) = _log(tmp_path / "two", b"other", 3)
    good = Evidence(first, second)
    assert Evidence.decode(good.encode()) == good
    fields = canonical.decode(good.encode())
    for change in (
        {"kind": "x"},
        {"proof": "x"},
        {"proof": [1]},
        {"proof": ["AA=="]},
        {"root": "AA=="},
        {"a": 1},
    ):
        with pytest.raises(FormatError):
            Evidence.decode(canonical.encode({**fields, **change}))
    for change in ({"first": "x"}, {"second": ""}):
        with pytest.raises(FormatError):
            verify_evidence(Evidence.decode(canonical.encode({**fields, **change})), LOG)
    other = sign_checkpoint(Checkpoint("other.example", 3, b"\1" * 32), KEYS)
    with pytest.raises(IntegrityError):
        verify_evidence(Evidence(first, other), LOG)
