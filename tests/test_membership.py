"""Keys change and members leave in a run on disk: it goes on, and everything still verifies."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from relayjax import backend
from relayjax.archive import Archive
from relayjax.audit import audit
from relayjax.config import Config
from relayjax.errors import AccessError, IntegrityError, ProtocolError, WorkdirError
from relayjax.identity import Keys, find_keys
from relayjax.ledger.audit import verify_log
from relayjax.store.manifest import sign_manifest
from relayjax.workdir import Workdir

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture
def begun(tiny_snapshots: list[Path], tmp_path: Path) -> Path:
    """A run of three rounds, to be gone on with."""
    return Path(shutil.copytree(tiny_snapshots[3], tmp_path / "run"))


def held(directory: Path, name: str) -> Keys:
    """A member's present keys."""
    signing = backend.read_history(directory).state.members[name].signing
    found = find_keys(directory / "keys", name, signing)
    assert found
    return found


def finish(directory: Path, config: Config, rounds: int | None = None) -> None:
    with backend.open_run(config, directory) as run:
        while not run.finished and (rounds is None or run.state.round.number <= rounds):
            run.step()


def test_everybody_changes_keys_and_the_run_goes_on(begun: Path, tiny_config: Callable[..., Config]):
    before = backend.read_history(begun).state
    with backend.open_membership(begun) as members:
        for name in ("p0", "p1", "v1", "v0"):
            old = Keys.load(begun / "keys", name)
            said = members.rotate(old)
            assert said.keys and said.keys.opens(old.public.receiving)
            with pytest.raises(AccessError, match="nobody's"):
                members.rotate(old)
    after = backend.read_history(begun).state
    assert (after.balances, after.licences) == (before.balances, before.licences)
    finish(begun, tiny_config())
    found = audit(Workdir(begun))
    assert found.weights == len(found.history.state.versions) and found.opened == found.artefacts
    assert found.log_key == Keys.load(begun / "keys", "v0").public.signing, "the log's key is what it was"
    origin, log = found.origin, Keys.load(begun / "keys", "v0").public
    for workers in (0, 2):
        assert verify_log(begun / "ledger", origin, log, workers=workers).size == len(found.history.records)
    holder = next(name for name in ("p0", "p1") if name in found.history.state.licences)
    assert backend.open_head(begun, held(begun, holder))
    with pytest.raises(AccessError):
        backend.open_head(begun, Keys.load(begun / "keys", holder))
    old, new = Keys.load(begun / "keys", "v1"), held(begun, "v1")
    assert 0 < audit(Workdir(begun), old).opened < audit(Workdir(begun), new).opened
    assert audit(Workdir(begun), new).weights == found.weights
    assert audit(Workdir(begun), old).weights == 0, "what came later does not open with the old key"
    assert audit(Workdir(begun), dataclasses.replace(new, former=())).weights == 0


def test_the_root_is_what_it_was_where_no_keys_change(
    tiny_snapshots: list[Path], tiny_run: Path, begun: Path, tiny_config: Callable[..., Config]
):
    finish(begun, tiny_config())
    assert audit(Workdir(begun)).root == audit(Workdir(tiny_run)).root


def test_stolen_keys_are_taken_back(begun: Path, tiny_config: Callable[..., Config]):
    recovery, thief = Keys.generate("p1-safe"), Keys.generate("p1")
    first = Keys.load(begun / "keys", "p1")
    with backend.open_membership(begun) as members:
        with pytest.raises(AccessError):
            members.recover(recovery, void=4)
        members.register(first, recovery)
        members.rotate(first, thief)
        with pytest.raises(ProtocolError, match="may not sign"):
            members.register(thief, Keys.generate("mine"))
        with pytest.raises(ProtocolError, match="may not sign"):
            members.revoke(thief, "p1")
        said = members.recover(recovery, void=4)
        with pytest.raises(AccessError, match="nobody's"):
            members.rotate(thief)
    assert said.keys and said.state.members["p1"].signing == said.keys.public.signing
    finish(begun, tiny_config())
    assert audit(Workdir(begun)).weights
    assert audit(Workdir(begun), thief).opened == 0


def test_a_revoked_member_is_sealed_to_no_more(begun: Path, tiny_config: Callable[..., Config]):
    stolen = Keys.load(begun / "keys", "p0")
    held_before = backend.read_history(begun).state
    with backend.open_membership(begun) as members:
        members.revoke(Keys.load(begun / "keys", "v0"), "p0")
        assert not members.state.members["p0"].revoked, "one of two is no majority"
        members.revoke(Keys.load(begun / "keys", "v1"), "p0")
        with pytest.raises(ProtocolError, match="revoked"):
            members.rotate(stolen)
    finish(begun, tiny_config())
    past = audit(Workdir(begun)).history
    state, archive = past.state, Archive(Workdir(begun))
    assert state.licences.get("p0") == held_before.licences.get("p0")
    assert state.balances["p0"] >= held_before.balances["p0"]
    for settled in past.rounds:
        sealed_to = {
            name for seal in archive.manifest(state, settled.number).seals for name in seal.recipients
        }
        assert "p0" not in sealed_to or settled.number <= 3
        assert "p0" not in settled.facts.pairs or settled.number <= 3
    last = past.rounds[-1].number
    manifest = archive.manifest(state, last)
    (first, *others) = manifest.seals
    more = dataclasses.replace(first, recipients=tuple(sorted({*first.recipients, "p0"})))
    signed = sign_manifest(dataclasses.replace(manifest, seals=(more, *others)), held(begun, "v0"))
    archive.seals.write(last, signed)
    with pytest.raises(IntegrityError, match="not sealed to those"):
        audit(Workdir(begun))


def test_manifests_are_held_to_the_key_of_their_round(begun: Path, tiny_config: Callable[..., Config]):
    old = Keys.load(begun / "keys", "v0")
    with backend.open_membership(begun) as members:
        new = members.rotate(old).keys
    assert new
    finish(begun, tiny_config(), rounds=5)
    archive, state = Archive(Workdir(begun)), backend.read_history(begun).state
    for round, wrong in ((3, new), (4, old)):
        good = archive.seals.path(round).read_bytes()
        archive.seals.write(round, sign_manifest(archive.manifest(state, round), wrong))
        with pytest.raises(IntegrityError, match="does not hold"):
            audit(Workdir(begun))
        archive.seals.write(round, good)
    audit(Workdir(begun))


def test_a_run_whose_new_keys_are_elsewhere_says_so(
    begun: Path, tmp_path: Path, tiny_config: Callable[..., Config]
):
    new = Keys.generate("p1")
    with backend.open_membership(begun) as members:
        members.rotate(Keys.load(begun / "keys", "p1"), new)
    with pytest.raises(WorkdirError, match=r"p1 signs with .* put its p1\.pem"):
        finish(begun, tiny_config())
    new.save(begun / "keys" / "mine")
    finish(begun, tiny_config(), rounds=4)
    audit(Workdir(begun))


def test_who_has_not_the_logs_key_appends_nothing(begun: Path, tmp_path: Path):
    shutil.move(begun / "keys", tmp_path / "keys")
    with pytest.raises(AccessError, match="signed with"):
        backend.open_membership(begun)
    with pytest.raises(AccessError, match="signed with"):
        backend.open_membership(begun, Keys.load(tmp_path / "keys", "v1"))
    with backend.open_membership(begun, Keys.load(tmp_path / "keys", "v0")) as members:
        assert (
            members.rotate(Keys.load(tmp_path / "keys", "p0")).entry
            == len(backend.read_history(begun).records) - 1
        )
    with pytest.raises(WorkdirError, match="no run here"):
        backend.open_membership(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_run_that_is_being_played_is_left_alone(begun: Path, tiny_config: Callable[..., Config]):
    with backend.open_run(tiny_config(), begun), pytest.raises(WorkdirError, match="another process"):
        backend.open_membership(begun)


def test_leftovers_of_a_change_that_was_cut_short_are_replaced(begun: Path):
    keys, entry = Keys.load(begun / "keys", "p0"), len(backend.read_history(begun).records)
    leftover = keys.successor()
    leftover.save(begun / "keys" / f"{entry:07}")
    (begun / "keys" / f"{entry:07}" / "p0.age").unlink()
    with backend.open_membership(begun) as members:
        said = members.rotate(keys)
    assert said.entry == entry and said.keys and said.keys.public != leftover.public
    found = find_keys(begun / "keys", "p0", said.keys.public.signing)
    assert found and found.public == said.keys.public
