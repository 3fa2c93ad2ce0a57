"""A relay that is carried ends as any other; only what is missing moves; a cut copy is gone on with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import Player
from peers.lands import Lands, contents, copied, file_of, listed
from peers.processes import without_accelerator
from peers.town import Tools

from relayjax import files
from relayjax.audit import audit
from relayjax.errors import DiskError, IntegrityError, WorkdirError
from relayjax.filesystem import Filesystem
from relayjax.ledger.audit import audit_log
from relayjax.ledger.log import Log
from relayjax.mechanism.rules import RelayJAXRules, Schedule
from relayjax.peers.bundle_export import export
from relayjax.peers.bundle_folder import Bundle
from relayjax.peers.bundle_import import take
from relayjax.peers.bundle_letters import collect, deliver
from relayjax.peers.bundle_log import WholeLog
from relayjax.peers.bundle_replica import Replica
from relayjax.workdir import Workdir


@pytest.fixture(scope="module")
def lands(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Lands:
    lands = Lands(tmp_path_factory.mktemp("lands"), tools)
    lands.play(rounds=2)
    return lands


def paths(bundle: Path) -> list[str]:
    return [file["path"] for file in listed(bundle)["files"]]


def rebuilt(lands: Lands, folder: Path, trips: int) -> Path:
    """The folder of those elsewhere after some of the bundles."""
    for bundle in lands.downs[:trips]:
        take(Bundle(bundle), folder)
    return folder


def test_both_ends_have_the_same_relay_and_verify_it(lands: Lands):
    here, there = (Workdir(town.folder) for town in (lands.here, lands.there))
    log_key = lands.here.home("v0").membership().log_key
    near = audit(here, lands.here.home("v0").keys(), log_key)
    far = audit(there, lands.there.home("v1").keys(), log_key)
    assert near.root == far.root and len(far.history.rounds) == 2
    assert far.opened == far.artefacts == near.artefacts and far.weights == near.weights > 1
    assert all(submission in far.history.rounds[0].facts.submissions for submission in ("p0", "p1", "p2"))


def test_nothing_but_what_is_missing_moves(lands: Lands):
    moved = [tuple(file.items()) for bundle in lands.downs for file in listed(bundle)["files"]]
    assert len(moved) == len(set(moved)), "one file was carried twice"
    whole = lands.base / "whole"
    export(lands.here.folder, whole)
    kept = set(paths(whole)) - {"ledger/checkpoint"}
    carried = {path for bundle in lands.downs for path in paths(bundle)}
    assert {path for path in kept if path.startswith(("store", "seals"))} <= carried
    assert max(len(paths(bundle)) for bundle in lands.downs[1:]) < len(kept)


def test_letters_that_are_answered_are_not_kept(lands: Lands):
    assert not list((lands.there.folder / "inbox").iterdir())
    assert not list((lands.there.folder / "handover").iterdir())
    found = deliver(Bundle(lands.ups[1]), lands.here.folder)[1]
    assert found.known and not found.letters and not found.deltas
    assert not list((lands.here.folder / "inbox").glob("*.json"))


def test_an_older_bundle_changes_nothing(lands: Lands, tmp_path: Path):
    folder = copied(lands.there.folder, tmp_path / "there")
    before = contents(folder)
    for bundle in lands.downs[:-1]:
        imported = take(Bundle(bundle), folder)
        assert imported.older is None or imported.older < imported.log.size
    assert take(Bundle(lands.downs[0]), folder).older == 1
    assert take(Bundle(lands.downs[-1]), folder).new == 0
    assert contents(folder) == before


def test_a_bundle_that_begins_later_is_refused_in_a_new_folder(lands: Lands, tmp_path: Path):
    with pytest.raises(IntegrityError, match="without --since"):
        take(Bundle(lands.downs[-1]), tmp_path / "new")
    assert "ledger/checkpoint" not in contents(tmp_path / "new")


def test_all_files_that_are_missing_or_damaged_are_named(lands: Lands, tmp_path: Path):
    stick = tmp_path / "stick"
    export(lands.here.folder, stick)
    lost, cut, flipped = (file_of(stick, start) for start in ("ledger/tile", "seals", "ledger/checkpoint"))
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    flipped.write_bytes(bytes([flipped.read_bytes()[0] ^ 1]) + flipped.read_bytes()[1:])
    with pytest.raises(IntegrityError) as error:
        take(Bundle(stick), tmp_path / "folder")
    for wrong in (f"missing {lost.name}", f"damaged {cut.name}", f"damaged {flipped.name}"):
        assert wrong in str(error.value)
    assert "3 of its" in str(error.value)


class Refusing(Filesystem):
    """A disk that refuses one rename, and all after it."""

    def __init__(self, renames: int):
        self.left = renames

    def rename(self, source: Path, target: Path) -> None:
        if not self.left:
            raise OSError(5, "Input/output error")
        self.left -= 1
        super().rename(source, target)


def test_an_import_that_is_cut_short_anywhere_is_none_and_is_gone_on_with(lands: Lands, tmp_path: Path):
    start = rebuilt(lands, tmp_path / "start", 4)
    size, target = WholeLog.here(start)[1].size, WholeLog.here(lands.here.folder)[1]
    bundle = tmp_path / "bundle"
    export(lands.here.folder, bundle)
    for renames in range(200):
        folder = copied(start, tmp_path / f"folder{renames}")
        try:
            with files.using(Refusing(renames)):
                take(Bundle(bundle), folder)
        except DiskError:
            log = WholeLog.here(folder)[1]
            assert log.size == size
            take(Bundle(bundle), folder)
        else:
            break
        finally:
            assert WholeLog.here(folder)[1].root == target.root
            audit(Workdir(folder))
            shutil.rmtree(folder)
    assert 5 < renames < 199


def test_tiles_that_the_log_has_outgrown_are_removed(tmp_path: Path):
    schedule = Schedule(rounds=30, participants=3, validators=1)
    player = Player(schedule, RelayJAXRules(), lambda *_: -1_000, lambda *_: (9_000, 1_000))
    entries, keys = player.play(), player.members.orderer
    assert len(entries) > 300
    for size in (200, 300):
        Log.create(tmp_path / f"{size}" / "ledger", "relay.example/long", keys).append(entries[:size], keys)
    folder = Path(shutil.copytree(tmp_path / "200", tmp_path / "folder"))
    shutil.copytree(tmp_path / "300", folder, dirs_exist_ok=True)  # as an import leaves it that is cut here
    log = WholeLog.here(folder)[1]
    with pytest.raises(IntegrityError, match="no file of a log"):
        audit_log(folder / "ledger", "relay.example/long", keys.public)
    Replica(folder).sweep(log, {})
    assert audit_log(folder / "ledger", "relay.example/long", keys.public) == entries[:300]


def test_an_export_that_is_cut_short_is_no_bundle(lands: Lands, tmp_path: Path):
    for renames in (0, 3, 8):
        with pytest.raises(DiskError), files.using(Refusing(renames)):
            export(lands.here.folder, tmp_path / "stick")
        with pytest.raises(WorkdirError, match="not copied to its end"):
            Bundle(tmp_path / "stick")
    export(lands.here.folder, tmp_path / "stick")
    assert take(Bundle(tmp_path / "stick"), tmp_path / "folder").older is None


def test_an_export_replaces_its_own_kind_and_nothing_else(lands: Lands, tmp_path: Path):
    stick = copied(lands.downs[0], tmp_path / "stick")
    export(lands.here.folder, stick)
    assert {file.name for file in stick.iterdir()} == {f["digest"] for f in listed(stick)["files"]} | {
        "manifest.json"
    }
    with pytest.raises(WorkdirError, match="holds a bundle of relay"):
        collect(Replica(lands.there.folder), stick)
    (stick / "thesis.tex").write_text("mine")
    with pytest.raises(WorkdirError, match="holds other files"):
        export(lands.here.folder, stick)
    assert (stick / "thesis.tex").read_text() == "mine" and (stick / "manifest.json").exists()


def test_a_folder_that_holds_something_else_is_not_imported_into(lands: Lands, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    for folder in (tmp_path / "folder", lands.here.folder):
        before = contents(folder)
        with pytest.raises(WorkdirError, match="holds other files"):
            take(Bundle(lands.downs[0]), folder)
        assert contents(folder) == before
    with pytest.raises(WorkdirError, match="letters go to whoever orders"):
        deliver(Bundle(lands.ups[0]), lands.there.folder)


def test_carrying_needs_no_accelerator(lands: Lands, tmp_path: Path):
    key = lands.here.home("v0").membership().log_key
    stick, letters, there = (str(tmp_path / name) for name in ("stick", "letters", "there"))
    verbs = [
        ["bundle", "export", str(lands.here.folder), stick],
        ["bundle", "import", stick, there, f"--log_key={key}"],
        ["bundle", "export", there, letters],
        ["bundle", "import", letters, str(lands.here.folder)],
        ["bundle", "export", str(lands.here.folder), stick, f"--since={letters}"],
        ["bundle", "import", stick, there],
    ]
    told = without_accelerator(verbs)
    assert told.count(f"log key    {key}") == 2 and "believed" not in told
    assert "taken      0 entries, 0 artefacts" in told
