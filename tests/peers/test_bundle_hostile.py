"""Bundles that somebody has spoilt on their way, and relays that show another history than before."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from peers.lands import Lands, contents, copied, file_of, listed, relist
from peers.town import Tools

from relayjax import hashing
from relayjax.audit import audit
from relayjax.errors import FormatError, IntegrityError, SplitViewError, WorkdirError
from relayjax.identity import Keys, sign
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.entry import chain, digest
from relayjax.ledger.evidence import Evidence, verify_evidence
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import signer_key
from relayjax.mechanism.state import Phase
from relayjax.peers.bundle import Kind
from relayjax.peers.bundle_export import export
from relayjax.peers.bundle_folder import Bundle, write
from relayjax.peers.bundle_import import take
from relayjax.peers.bundle_letters import collect, deliver
from relayjax.peers.bundle_log import LogName, WholeLog
from relayjax.peers.bundle_replica import Replica
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.voice import encode
from relayjax.workdir import Workdir


@pytest.fixture(scope="module")
def lands(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Lands:
    """In the second braid round, when those elsewhere have committed to their deltas."""
    lands = Lands(tmp_path_factory.mktemp("lands"), tools)
    lands.play(4, lambda state: state.round.number == 3 and state.round.phase is Phase.REVEAL)
    return lands


OUTSIDE = (
    "../outside",
    "/etc/passwd",
    "ledger/../../outside",
    "ledger/checkpoint/../../../outside",
    "ledger/tile/0/000/../../../../outside",
    "ledger//checkpoint",
    "ledger/tile/entries/x1/000",
    "store/ab/../../outside",
    "store/AB/" + "0" * 62,
    "seals/1.json",
    "seals/00001.json/x",
    "handover/../lock",
    "handover/00001-..",
    "handover/00001-parent-0.age\n",
    "keys/v0.pem",
    "replica.json",
    "lock",
    "",
)
TO_MEMBERS = (*OUTSIDE, "inbox/" + "0" * 64 + ".json", "handover/00001-delta-p1.age")
TO_ORDERER = (*OUTSIDE, "ledger/tile/0/000", "seals/00001.json", "store/ab/" + "0" * 62)
TO_ORDERER += ("handover/00001-parent-0.age", "handover/00001-candidate-p1.age", "inbox/" + "0" * 64 + ".why")


@pytest.mark.parametrize("path", TO_MEMBERS)
def test_a_path_that_leads_elsewhere_is_refused(lands: Lands, tmp_path: Path, path: str):
    _refused(copied(lands.downs[1], tmp_path / "stick"), path)


@pytest.mark.parametrize("path", TO_ORDERER)
def test_letters_bring_nothing_but_letters_and_deltas(lands: Lands, tmp_path: Path, path: str):
    _refused(copied(lands.ups[1], tmp_path / "stick"), path)


def _refused(stick: Path, path: str) -> None:
    manifest = listed(stick)
    (stick / hashing.digest(b"x")).write_bytes(b"x")
    manifest["files"].append({"path": path, "digest": hashing.digest(b"x"), "size": 1})
    relist(stick, manifest)
    with pytest.raises(FormatError, match="is none that"):
        Bundle(stick)


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "../../../../etc/passwd"},
        {"digest": "0" * 63},
        {"size": -1},
        {"size": 1 << 40},
        {"size": True},
        {"size": "9"},
        {"path": CHECKPOINT, "digest": "0" * 64},
        {"more": 1},
    ],
)
def test_other_lies_in_a_manifest_are_refused(lands: Lands, tmp_path: Path, change: dict[str, Any]):
    stick = copied(lands.downs[1], tmp_path / "stick")
    manifest = listed(stick)
    manifest["files"][-1] |= change
    relist(stick, manifest)
    with pytest.raises(FormatError):
        Bundle(stick)


def test_one_file_does_not_fill_a_disk_under_many_names(lands: Lands, tmp_path: Path):
    stick = copied(lands.downs[1], tmp_path / "stick")
    manifest = listed(stick)
    for version in range(2):
        path = f"handover/00002-parent-{version}.age"
        manifest["files"].append({"path": path, "digest": "0" * 64, "size": 9})
    relist(stick, manifest)
    with pytest.raises(FormatError, match="under two names"):
        Bundle(stick)


@pytest.mark.parametrize(
    "kind", ["link", "link to nothing", "pipe", "directory", "longer", "flipped", "empty"]
)
@pytest.mark.parametrize("start", ["ledger/checkpoint", "ledger/tile/entries", "store", "seals"])
def test_what_is_no_plain_file_of_its_digest_is_not_read(lands: Lands, tmp_path: Path, kind: str, start: str):
    stick = tmp_path / "stick"
    export(lands.here.folder, stick)
    file = file_of(stick, start)
    data = file.read_bytes()
    file.unlink()
    (tmp_path / "elsewhere").write_bytes(data)
    match kind:
        case "link":
            file.symlink_to(tmp_path / "elsewhere")
        case "link to nothing":
            file.symlink_to(tmp_path / "nothing")
        case "pipe":
            os.mkfifo(file)
        case "directory":
            file.mkdir()
        case _:
            file.write_bytes(
                {"longer": data + b"x", "flipped": bytes([data[0] ^ 1]) + data[1:]}.get(kind, b"")
            )
    with pytest.raises(IntegrityError, match=file.name):
        take(Bundle(stick), tmp_path / "folder")
    assert CHECKPOINT not in contents(tmp_path / "folder")


def test_a_copy_without_any_one_file_is_refused_and_gone_on_with(lands: Lands, tmp_path: Path):
    whole, stick = tmp_path / "whole", tmp_path / "stick"
    export(lands.here.folder, whole)
    assert {file["path"].split("/")[0] for file in listed(whole)["files"]} >= {"seals", "store", "handover"}
    for number, file in enumerate(listed(whole)["files"]):
        copied(whole, stick)
        (stick / file["digest"]).unlink()
        folder = tmp_path / f"folder{number}"
        with pytest.raises(IntegrityError, match=f"missing {file['digest']} .{file['path']}"):
            take(Bundle(stick), folder)
        assert "ledger/checkpoint" not in contents(folder)
        shutil.copy(whole / file["digest"], stick)
        stored = [f for f in listed(whole)["files"] if f["path"].startswith("store/")]
        if file["path"].startswith("store/"):
            for other in stored:  # what was taken is not looked at again
                if other != file:
                    (stick / other["digest"]).unlink(missing_ok=True)
            assert take(Bundle(stick), folder).artefacts == 1
        else:
            take(Bundle(stick), folder)
        assert WholeLog.here(folder)[1].root == WholeLog.here(lands.here.folder)[1].root
        audit(Workdir(folder))
        shutil.rmtree(stick)


def test_what_the_log_does_not_ask_for_is_left_on_the_stick(lands: Lands, tmp_path: Path):
    stick, odd = tmp_path / "stick", b"not asked for"
    export(lands.here.folder, stick)
    (stick / "autorun.inf").write_bytes(odd)
    (stick / hashing.digest(odd)).write_bytes(odd)
    manifest, named = listed(stick), hashing.digest(odd)
    round = WholeLog.here(lands.here.folder)[1].history.state.round.number
    for path in (
        f"store/{named[:2]}/{named[2:]}",
        "seals/00099.json",
        f"handover/{round - 1:05d}-parent-0.age",
    ):
        manifest["files"].append({"path": path, "digest": named, "size": len(odd)})
    manifest["files"].append({"path": f"inbox/{'0' * 64}.why", "digest": named, "size": len(odd)})
    relist(stick, manifest)
    take(Bundle(stick), tmp_path / "folder")
    assert odd not in contents(tmp_path / "folder").values()


def test_artefacts_and_seals_of_ones_own_making_are_refused(lands: Lands, tmp_path: Path):
    for start in ("seals", "ledger/tile/0", "ledger/tile/entries"):
        stick, folder = tmp_path / f"stick-{start.replace('/', '-')}", tmp_path / start.replace("/", "-")
        export(lands.here.folder, stick)
        data = bytearray(file_of(stick, start).read_bytes())
        data[-20] ^= 1
        manifest = listed(stick)
        (entry,) = [file for file in manifest["files"] if file["path"].startswith(start)][:1]
        entry["digest"] = hashing.digest(data)
        (stick / entry["digest"]).write_bytes(data)
        relist(stick, manifest)
        if start == "ledger/tile/0":  # tiles follow from the entries
            take(Bundle(stick), folder)
            assert contents(folder)[entry["path"]] == contents(lands.here.folder)[entry["path"]]
            continue
        with pytest.raises(IntegrityError):
            take(Bundle(stick), folder)
        assert CHECKPOINT not in contents(folder)


def test_another_relay_and_another_key_are_refused(lands: Lands, tmp_path: Path):
    stranger = Keys.generate("v0")
    name, log = WholeLog.here(lands.here.folder)
    forged = sign_checkpoint(Checkpoint(name.origin, log.size, log.root), stranger)
    stick = tmp_path / "stick"
    write(stick, Kind.RELAY, name.origin, stranger.public.signing, [(CHECKPOINT, forged), *log.files()])
    folder = copied(lands.there.folder, tmp_path / "there")
    before = contents(folder)
    for given in (None, name.key):
        with pytest.raises(IntegrityError, match=r"log key|signed with"):
            take(Bundle(stick), folder if given is None else tmp_path / "new", given)
    manifest = listed(stick)
    manifest["log_key"] = name.key
    relist(stick, manifest)
    with pytest.raises(IntegrityError, match="no signature by a trusted key"):
        take(Bundle(stick), folder)
    assert contents(folder) == before and not (tmp_path / "new").exists()
    relist(
        stick,
        listed(stick)
        | {"kind": "letters", "files": [f for f in manifest["files"] if CHECKPOINT in f.values()]},
    )
    with pytest.raises(IntegrityError, match="no signature by a trusted key"):
        deliver(Bundle(stick), lands.here.folder)


def forked(lands: Lands, at: int, size: int) -> tuple[LogName, WholeLog]:
    """A history that goes another way from an entry on, signed by the log itself."""
    name, log = WholeLog.here(lands.here.folder)
    keys = lands.here.home("v0").keys()
    more = chain([sign(b'{"n":%d}' % n, keys) for n in range(at, size)], at, digest(log.entries[at - 1]))
    entries = log.entries[:at] + more
    tree = Tree([leaf_hash(entry) for entry in entries])
    note = sign_checkpoint(Checkpoint(name.origin, size, tree.root()), keys)
    return name, WholeLog(note, entries, tree, log.history)


@pytest.mark.parametrize("longer", [-5, 0, 7, 300])
@pytest.mark.parametrize("delta", [False, True])
def test_another_history_is_refused_and_the_evidence_kept(
    lands: Lands, tmp_path: Path, longer: int, delta: bool
):
    folder = copied(lands.there.folder, tmp_path / "there")
    before, size = contents(folder), WholeLog.here(folder)[1].size
    name, fork = forked(lands, size - 9, size + longer)
    stick = tmp_path / "stick"
    since = min(size, fork.size) if delta else 0
    write(stick, Kind.RELAY, name.origin, name.key, [(CHECKPOINT, fork.note), *fork.files(since)])
    with pytest.raises(SplitViewError):
        take(Bundle(stick), folder)
    (evidence,) = [path for path in contents(folder) if path not in before]
    assert evidence.startswith("split-view-")
    proof = Evidence.decode(contents(folder)[evidence])
    assert name.origin in verify_evidence(proof, signer_key(name.origin, name.key))
    assert {path: data for path, data in contents(folder).items() if path != evidence} == before


def test_a_new_folder_does_not_forget_what_its_member_has_seen(lands: Lands, tmp_path: Path):
    home, folder = lands.there.home("p1"), tmp_path / "new"
    assert home.seen.exists()
    with pytest.raises(SplitViewError, match="and now shows"):
        take(Bundle(lands.downs[0]), folder, home=home)
    assert CHECKPOINT not in contents(folder) and list(folder.glob("split-view-*.json"))
    stick = tmp_path / "stick"
    export(lands.here.folder, stick)
    assert take(Bundle(stick), tmp_path / "newer", home=home).log.size


def test_who_orders_from_an_old_copy_is_told_by_letters(lands: Lands, tmp_path: Path):
    old = tmp_path / "old"
    for bundle in lands.downs[:6]:
        take(Bundle(bundle), old)
    (old / "replica.json").unlink()  # as if it were the orderer's own
    letters = tmp_path / "letters"
    collect(Replica(lands.there.folder), letters)
    before = contents(old)
    with pytest.raises(SplitViewError, match="and now shows"):
        deliver(Bundle(letters), old)
    with pytest.raises(SplitViewError, match="and now shows"):
        export(old, tmp_path / "stick", Bundle(letters))
    assert {path for path in contents(old) if path not in before} == {
        path.name for path in old.glob("split-view-*.json")
    }
    assert not (tmp_path / "stick").exists()


def test_letters_touch_neither_ledger_nor_store_nor_seals(lands: Lands, tmp_path: Path):
    folder = copied(lands.here.folder, tmp_path / "here")
    log = WholeLog.here(folder)[1]
    number = log.history.state.round.number
    awaited = f"handover/{number:05d}-delta-p1.age"
    letters = {"handover/00001-delta-p1.age": b"late", f"handover/{number:05d}-delta-p9.age": b"not awaited"}
    letters |= {awaited: b"as little believed as any"}
    letters |= {f"inbox/{hashing.digest(data)}.json": data for data in (b"no envelope", b"{}")}
    replica = Replica(lands.there.folder)
    name, stick = replica.name(), tmp_path / "stick"
    write(stick, Kind.LETTERS, name.origin, name.key, [(CHECKPOINT, log.note), *letters.items()])
    before = contents(folder)
    found = deliver(Bundle(stick), folder)[1]
    assert (found.letters, found.deltas, found.refused) == (0, 1, 4)
    assert contents(folder) == before | {awaited: letters[awaited]}


def test_letters_that_are_damaged_do_not_keep_others_back(lands: Lands, tmp_path: Path):
    folder, stick = copied(lands.here.folder, tmp_path / "here"), tmp_path / "stick"
    name, log = WholeLog.here(folder)
    keys = lands.here.home("p0").keys()
    letters = {
        f"inbox/{hashing.digest(d)}.json": d for d in (encode(sign(b"%d" % n, keys)) for n in range(3))
    }
    write(stick, Kind.LETTERS, name.origin, name.key, [(CHECKPOINT, log.note), *letters.items()])
    lost = sorted(letters)[1]
    (stick / hashing.digest(letters[lost])).write_bytes(b"?")
    with pytest.raises(IntegrityError, match="1 of its 4 files"):
        deliver(Bundle(stick), folder)
    assert set(letters) - set(contents(folder)) == {lost}


def test_a_relay_is_no_letters_and_letters_are_no_relay(lands: Lands, tmp_path: Path):
    with pytest.raises(FormatError, match="no bundle of letters"):
        export(lands.here.folder, tmp_path / "stick", Bundle(lands.downs[0]))
    with pytest.raises(WorkdirError, match="no manifest"):
        Bundle(tmp_path)
