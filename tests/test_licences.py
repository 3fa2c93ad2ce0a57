"""Who could open what: the answer agrees with the rules, with the seals, and with what keys really open."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from relayjax import backend, cli
from relayjax.archive import Archive
from relayjax.errors import AccessError, IntegrityError
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.licences import EVERYBODY, Access, Right, ownership
from relayjax.mechanism.state import Role
from relayjax.records import Match, Settle, Submit
from relayjax.report.explain import explain
from relayjax.store.manifest import sign_manifest
from relayjax.store.sealed import open_artefact
from relayjax.workdir import Workdir

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def past(tiny_run: Path) -> History:
    return backend.read_history(tiny_run)


@pytest.fixture(scope="module")
def found(tiny_run: Path) -> tuple[Access, ...]:
    return backend.read_ownership(tiny_run).accesses


def test_licences_are_those_of_the_state(past: History, found: tuple[Access, ...]):
    licensed = {(a.name, a.version) for a in found if a.right in (Right.CONTRIBUTOR, Right.MAINTAINER)}
    for name, newest in past.state.licences.items():
        if name != past.state.orderer:
            assert {number for holder, number in licensed if holder == name} >= set(range(1, newest + 1))
    for access in found:
        if access.right in (Right.CONTRIBUTOR, Right.MAINTAINER):
            role = past.state.members[access.name].role
            assert (role is Role.MAINTAINER) == (access.right is Right.MAINTAINER)
    assert "observer" not in {access.name for access in found}


def test_every_right_dates_from_the_entry_that_gives_it(past: History, found: tuple[Access, ...]):
    kinds = {
        Right.MATCH: Match,
        Right.OWN: Submit,
        Right.VALIDATOR: Submit,
        Right.CONTRIBUTOR: Settle,
        Right.MAINTAINER: Settle,
    }
    for access in found:
        if access.right in kinds:
            record = past.records[access.entry]
            assert isinstance(record, kinds[access.right]) and record.round == access.round  # type: ignore[attr-defined]
        if access.right is Right.MATCH:
            assert past.rounds[access.round - 1].facts.pairs[access.name] == access.version
        if access.kind == "weights" and access.right in (Right.CONTRIBUTOR, Right.MAINTAINER):
            granted = dict(past.rounds[access.round - 1].settle.licences)[access.name]
            assert access.version is not None and granted >= access.version
            for settled in past.rounds[: access.round - 1]:
                assert dict(settled.settle.licences).get(access.name, 0) < access.version
    assert {access.right for access in found} == set(Right) - {Right.NONE, Right.DELTAS}


def test_what_is_said_to_open_opens_and_nothing_else(
    tiny_run: Path, past: History, found: tuple[Access, ...]
):
    archive = Archive(Workdir(tiny_run))
    said = {(a.digest, a.name): a.opens for a in found if a.kind == "delta"}
    for settled in past.rounds:
        manifest = archive.manifest(past.state, settled.number)
        for submission in settled.facts.submissions.values():
            for name in past.state.members:
                keys = Keys.load(tiny_run / "keys", name)
                try:
                    open_artefact(archive.store, manifest, submission.delta, keys)
                    opens = True
                except AccessError:
                    opens = False
                assert said.get((submission.delta, name), False) == opens
    head = past.state.head.number
    for name in past.state.members:
        said_open = any(a.opens for a in found if (a.kind, a.version, a.name) == ("weights", head, name))
        try:
            backend.open_head(tiny_run, Keys.load(tiny_run / "keys", name))
            assert said_open
        except AccessError:
            assert not said_open or name not in past.state.licences


def test_without_manifests_the_rights_are_the_same(tiny_copy: Path, found: tuple[Access, ...]):
    shutil.rmtree(tiny_copy / "seals")
    shutil.rmtree(tiny_copy / "store")
    bare = backend.read_ownership(tiny_copy)
    assert bare.manifests == 0
    rights = [dataclasses.replace(access, opens=None) for access in bare.accesses]
    assert rights == [dataclasses.replace(access, opens=None) for access in found]
    assert {access.opens for access in bare.accesses if access.name != EVERYBODY} == {None}


def test_a_seal_beyond_the_ledger_shows(tiny_copy: Path, past: History):
    archive = Archive(Workdir(tiny_copy))
    manifest = archive.manifest(past.state, 1)
    more = [
        dataclasses.replace(seal, recipients=tuple(sorted({*seal.recipients, "observer"})))
        for seal in manifest.seals
    ]
    changed = dataclasses.replace(manifest, seals=tuple(more))
    archive.seals.write(1, sign_manifest(changed, Keys.load(tiny_copy / "keys", "v0")))
    odd = [a for a in ownership(past, archive).accesses if a.right is Right.NONE]
    assert {access.name for access in odd} == {"observer"} and all(access.opens for access in odd)
    assert {(access.kind, access.version) for access in odd} >= {("weights", 1), ("delta", 1)}
    archive.seals.path(1).write_bytes(b"{}")
    with pytest.raises(IntegrityError):
        ownership(past, archive)


def test_who_validates_without_a_licence_has_what_the_deltas_give(played_run: History):
    """v1 lies in round 2 and gets no licence for its version; it opens every delta all the same."""
    (lied,) = [version.number for version in played_run.state.versions if version.round == 2]
    (second,) = [
        access
        for access in ownership(played_run).accesses
        if (access.kind, access.version, access.name) == ("weights", lied, "v1") and access.round == 2
    ]
    assert second.right is Right.DELTAS and second.opens is None
    truthful = next(v for v in played_run.state.versions if v.round == 1).number
    rights = {a.right for a in ownership(played_run).of("v1", truthful).accesses if a.kind == "weights"}
    assert rights == {Right.MAINTAINER}


def test_under_the_papers_rules_too(played_derelayl: History):
    found = ownership(played_derelayl).accesses
    rights = {access.right for access in found}
    assert {Right.CONTRIBUTOR, Right.MAINTAINER, Right.MATCH, Right.VALIDATOR} <= rights
    assert len({access.version for access in found if access.kind == "weights"}) == len(
        played_derelayl.state.versions
    )


def test_changes_of_keys_are_told(tiny_snapshots: list[Path], tmp_path: Path):
    run = Path(shutil.copytree(tiny_snapshots[2], tmp_path / "run"))
    safe = Keys.generate("p0")
    with backend.open_membership(run) as members:
        first = members.register(Keys.load(run / "keys", "p0"), safe).entry
        members.recover(safe, void=2)
        members.revoke(Keys.load(run / "keys", "v0"), "p1")
    changes = backend.read_ownership(run).changes
    assert [(c.entry, c.round, c.kind, c.author, c.name, c.void) for c in changes] == [
        (first, 3, "recovery_key", "p0", "p0", None),
        (first + 1, 3, "recover", "p0", "p0", 2),
        (first + 2, 3, "revoke", "v0", "p1", None),
    ]
    assert [c.kind for c in backend.read_ownership(run).of("p1").changes] == ["revoke"]
    past = backend.read_history(run)
    assert f"Entry {first}, in round 3: recovery key." in explain(past, "p0")
    assert f"Entry {first + 2}, in round 3: revoke by v0." in explain(past, "p1")


def test_the_verb(
    tiny_run: Path, past: History, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")
    written = tmp_path / "rights.json"
    assert cli.main(["licences", str(tiny_run), f"--json={written}"]) == 0
    shown = capsys.readouterr().out
    holder = next(name for name in past.state.licences if name.startswith("p"))
    assert all(name in shown for name in past.state.members) and "contributor" in shown
    everything = json.loads(written.read_text())
    assert len(everything["accesses"]) == len(backend.read_ownership(tiny_run).accesses)
    assert cli.main(["licences", str(tiny_run), f"--of={holder}", "--version=2", f"--json={written}"]) == 0
    shown = capsys.readouterr().out
    assert holder in shown and "v1" not in shown.replace(str(written), "")
    part = json.loads(written.read_text())["accesses"]
    assert part and all(a["version"] == 2 and a["name"] == holder for a in part)
    for flags, said in (
        (["--of=nobody"], "the members are"),
        (["--version=99"], "the versions are 0 to"),
        (["--version=-1"], "the versions are 0 to"),
    ):
        assert cli.main(["licences", str(tiny_run), *flags]) == 1
        assert said in capsys.readouterr().err
    assert cli.main(["licences", str(tmp_path)]) == 1
    assert "no run here" in capsys.readouterr().err
