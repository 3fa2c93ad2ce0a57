"""Whatever is changed in a finished run's directory is found, and named."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relayjax import backend, records
from relayjax.archive import Archive
from relayjax.audit import audit, read_ledger
from relayjax.config import Config
from relayjax.errors import IntegrityError
from relayjax.identity import Keys
from relayjax.ledger.log import Log
from relayjax.ledger.tiles import decode_bundle
from relayjax.pack import decode_pack
from relayjax.records import Genesis, Score
from relayjax.relay.testing import Validator
from relayjax.relay.training import Candidate, Trainer
from relayjax.store.manifest import Seal, SealManifest, sign_manifest
from relayjax.store.sealed import Artefact, seal_round
from relayjax.weights import as_bytes
from relayjax.workdir import Workdir

pytestmark = pytest.mark.usefixtures("compiled_once")


def guarded(directory: Path) -> list[Path]:
    """Every file whose bytes are held to something."""
    return sorted(
        p for part in ("ledger", "store", "seals") for p in (directory / part).rglob("*") if p.is_file()
    )


def refused(directory: Path, **arguments: Any) -> IntegrityError:
    with pytest.raises(IntegrityError) as caught:
        audit(Workdir(directory), **arguments)
    return caught.value


def entry_at(bundle: bytes, offset: int) -> int:
    """The entry that a byte of the log's first bundle belongs to."""
    end = 0
    for index, entry in enumerate(decode_bundle(bundle)):
        end += 2 + len(entry)
        if offset < end:
            return index
    raise ValueError(offset)


def check_flips(directory: Path, count: int, seed: int) -> None:
    """Flips single bits, half of them in the ledger; each must be found, and named by file and entry."""
    rng, paths = random.Random(seed), guarded(directory)
    ledger = [path for path in paths if path.is_relative_to(directory / "ledger")]
    for i in range(count):
        path = rng.choice(ledger if i % 2 else paths)
        good = path.read_bytes()
        bit = rng.randrange(8 * len(good))
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        error = refused(directory)
        assert str(path) in error.where, f"bit {bit} of {path}: {error}"
        if "tile/entries/000" in str(path):
            named = re.search(r"entry (\d+)$", error.where)
            assert named and int(named[1]) == entry_at(good, bit // 8), f"bit {bit} of {path}: {error}"
        path.write_bytes(good)
    audit(Workdir(directory))


def orderer(directory: Path) -> Keys:
    return Keys.load(directory / "keys", "v0")


def manifest_of(directory: Path, round: int) -> SealManifest:
    return Archive(Workdir(directory)).manifest(backend.read_history(directory).state, round)


def reseal(directory: Path, manifest: SealManifest) -> Path:
    """Signs and keeps a manifest as the orderer; returns its file."""
    seals = Archive(Workdir(directory)).seals
    seals.write(manifest.round, sign_manifest(manifest, orderer(directory)))
    return seals.path(manifest.round)


def test_a_whole_run_passes(tiny_run: Path):
    found = audit(Workdir(tiny_run))
    assert found.weights == 9 and found.opened == found.artefacts == 12 + 4
    assert found.log_key == orderer(tiny_run).public.signing
    assert audit(Workdir(tiny_run), log_key=found.log_key).root == found.root


def test_every_stage_of_a_run_passes(tiny_snapshots: list[Path]):
    roots = {audit(Workdir(snapshot)).root for snapshot in tiny_snapshots}
    assert len(roots) == len(tiny_snapshots)


def test_each_key_checks_what_it_opens(tiny_run: Path, tmp_path: Path):
    """Without any key the seals still hold; a licence holder's opens some, an observer's none."""
    outside = Path(shutil.copytree(tiny_run, tmp_path / "outside"))
    shutil.rmtree(outside / "keys")
    found = audit(Workdir(outside))
    assert (found.artefacts, found.opened, found.weights) == (16, 0, 0)
    assert audit(Workdir(outside), Keys.load(tiny_run / "keys", "observer")).opened == 0
    trainer = audit(Workdir(outside), Keys.load(tiny_run / "keys", "p0"))
    assert 0 < trainer.opened <= 16
    maintainer = audit(Workdir(outside), Keys.load(tiny_run / "keys", "v1"))
    assert maintainer.weights == 9


def test_random_bit_flips_are_named(tiny_copy: Path):
    check_flips(tiny_copy, 40, seed=0)


def test_deleted_truncated_and_emptied_files_are_named(tiny_copy: Path):
    for path in guarded(tiny_copy):
        good = path.read_bytes()
        path.unlink()
        assert str(path) in refused(tiny_copy).where
        for data in (good[:-1], b""):
            path.write_bytes(data)
            assert str(path) in refused(tiny_copy).where
        path.write_bytes(good)
    audit(Workdir(tiny_copy))


def test_added_files_are_named(tiny_copy: Path):
    blob = Archive(Workdir(tiny_copy)).store
    stowaway = blob.path(blob.put(b"named rightly, and by no manifest"))
    assert refused(tiny_copy).where == str(stowaway)
    stowaway.unlink()
    for name in (
        "ledger/note.txt",
        "ledger/tile/0/001",
        "store/note.txt",
        "seals/note.txt",
        "seals/00009.json",
    ):
        path = tiny_copy / name
        path.write_bytes(b"{}")
        assert refused(tiny_copy).where == str(path)
        path.unlink()
    audit(Workdir(tiny_copy))


def test_a_swapped_pair_is_named(tiny_copy: Path):
    first, second, *_ = (path for path in guarded(tiny_copy) if path.is_relative_to(tiny_copy / "store"))
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    assert refused(tiny_copy).where == str(first)


def test_the_manifest_of_another_round_is_refused(tiny_copy: Path):
    third = tiny_copy / "seals" / "00003.json"
    shutil.copy(tiny_copy / "seals" / "00002.json", third)
    error = refused(tiny_copy)
    assert error.where == str(third) and "manifest of round 2" in str(error)


def test_a_manifest_that_somebody_else_signed_is_refused(tiny_copy: Path):
    manifest = manifest_of(tiny_copy, 3)
    path = tiny_copy / "seals" / "00003.json"
    path.write_bytes(sign_manifest(manifest, Keys.load(tiny_copy / "keys", "v1")))
    assert "v1" in str(refused(tiny_copy)) and refused(tiny_copy).where == str(path)
    path.write_bytes(sign_manifest(manifest, Keys.generate("v0")))
    assert refused(tiny_copy).where == str(path)


Change = Callable[[SealManifest], SealManifest]


def of_kind(manifest: SealManifest, kind: str) -> Seal:
    return next(seal for seal in manifest.seals if seal.kind == kind)


def without(kind: str) -> Change:
    return lambda m: replace(m, seals=tuple(seal for seal in m.seals if seal is not of_kind(m, kind)))


def changed(kind: str, /, **fields: Any) -> Change:
    def change(m: SealManifest) -> SealManifest:
        seals = (replace(seal, **fields) if seal is of_kind(m, kind) else seal for seal in m.seals)
        return replace(m, seals=tuple(sorted(seals, key=lambda seal: seal.artefact)))

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without("delta"), "not in both"),
        (without("model"), "names 0 model checkpoints"),
        (changed("delta", kind="model"), "names 2 model checkpoints"),
        (changed("delta", size=1), "another size"),
        (changed("delta", recipients=("p0", "v0")), "entitles"),
        (changed("model", recipients=("observer", "p0", "p1", "p2", "v0", "v1")), "entitles"),
        (changed("delta", artefact="0" * 64), "not in both"),
    ],
)
def test_an_orderer_that_signs_a_wrong_manifest_is_found(tiny_copy: Path, change: Change, problem: str):
    """Everything is signed and every digest holds; the ledger says otherwise."""
    path = reseal(tiny_copy, change(manifest_of(tiny_copy, 2)))
    error = refused(tiny_copy)
    assert error.where == str(path) and problem in error.problem


def test_a_manifest_without_a_round_is_refused(tiny_snapshots: list[Path], tmp_path: Path):
    directory = Path(shutil.copytree(tiny_snapshots[3], tmp_path / "run"))
    for round in (0, 4, 5):
        path = reseal(directory, SealManifest(round, ()))
        assert refused(directory).where == str(path)
        path.unlink()
    audit(Workdir(directory))


def replaced(directory: Path, round: int, kind: str, data: bytes) -> Seal:
    """Seals other bytes in the place of an artefact, to the same readers, and signs; returns the seal."""
    archive, past = Archive(Workdir(directory)), backend.read_history(directory)
    manifest = manifest_of(directory, round)
    old = of_kind(manifest, kind)
    readers = [Keys.load(directory / "keys", name).public for name in old.recipients]
    archive.seals.write(
        99, seal_round(archive.store, 99, [Artefact(kind, data, readers)], orderer(directory))
    )
    (new,) = archive.manifest(past.state, 99).seals
    archive.seals.path(99).unlink()
    archive.store.path(old.sealed[0]).unlink()
    kept = [seal for seal in manifest.seals if seal is not old]
    reseal(directory, SealManifest(round, tuple(sorted([*kept, new], key=lambda seal: seal.artefact))))
    return new


def test_a_model_checkpoint_of_another_version_is_found(tiny_copy: Path):
    archive, past = Archive(Workdir(tiny_copy)), backend.read_history(tiny_copy)
    newest = archive.newest_model(past)
    assert newest and newest.version.number == 8
    pack = b"".join(archive.open_model(newest, orderer(tiny_copy)))
    new = replaced(tiny_copy, 6, "model", pack)
    error = refused(tiny_copy)
    assert str(archive.store.path(new.sealed[0])) in error.where and "round 6" in error.where


def test_a_model_checkpoint_with_other_weights_is_refused(tiny_copy: Path):
    """Sealed and signed as it should be, it still is not what the ledger names."""
    archive, past = Archive(Workdir(tiny_copy)), backend.read_history(tiny_copy)
    newest = archive.newest_model(past)
    assert newest
    pack = bytearray(b"".join(archive.open_model(newest, orderer(tiny_copy))))
    pack[-1] ^= 1
    new = replaced(tiny_copy, 8, "model", bytes(pack))
    assert str(archive.store.path(new.sealed[0])) in refused(tiny_copy).where
    with pytest.raises(IntegrityError, match="model checkpoint of version 8"):
        backend.open_head(tiny_copy, orderer(tiny_copy))


def test_weights_are_nowhere_in_the_clear(tiny_snapshots: list[Path]):
    """But for the genesis, which shares with later versions what never moves."""
    looked = 0
    for snapshot in tiny_snapshots:
        archive, past = Archive(Workdir(snapshot)), backend.read_history(snapshot)
        if (newest := archive.newest_model(past)) is None:
            continue
        opened = archive.open_model(newest, orderer(snapshot))
        weights = as_bytes(decode_pack(opened, newest.version)).tobytes()
        parts = [weights[at : at + 32] for at in range(0, len(weights) - 32, 256)]
        genesis = archive.store.path(past.genesis.weights)
        for path in sorted(path for path in snapshot.rglob("*") if path.is_file() and path != genesis):
            content = path.read_bytes()
            assert not any(part in content for part in parts if any(part)), path
            looked += 1
    assert looked > 50


def test_the_log_key_says_whose_log_it_is(tiny_run: Path, tiny_config: Callable[..., Config], tmp_path: Path):
    """A forger can make a whole run that holds together, under its own key only."""
    known = orderer(tiny_run).public.signing
    with backend.open_run(tiny_config(seed=8), tmp_path / "forged"):
        pass
    assert audit(Workdir(tmp_path / "forged")).log_key != known
    assert "not with " + known in str(refused(tmp_path / "forged", log_key=known))
    assert "not with" in str(refused(tiny_run, log_key="0" * 64))


def test_a_log_resigned_by_another_member_is_refused(tiny_copy: Path):
    ledger, forger = read_ledger(Workdir(tiny_copy)), Keys.load(tiny_copy / "keys", "v1")
    shutil.rmtree(tiny_copy / "ledger")
    Log.create(tiny_copy / "ledger", ledger.origin, forger).append(ledger.entries, forger)
    for known in (None, ledger.signer.signing):
        assert refused(tiny_copy, log_key=known).where == str(tiny_copy / "ledger" / "checkpoint")


def test_a_log_whose_records_another_signed_is_refused(tiny_copy: Path):
    """The orderer signs a log in which one of its own records stands in another's name."""
    from relayjax.identity import sign
    from relayjax.ledger.entry import Entry, chain

    ledger, keys = read_ledger(Workdir(tiny_copy)), orderer(tiny_copy)
    envelopes = [Entry.decode(entry).envelope for entry in ledger.entries]
    victim = next(i for i, envelope in enumerate(envelopes) if envelope.signer == "v1" and i > 20)
    envelopes[victim] = replace(sign(envelopes[victim].payload, keys), signer="v1")
    shutil.rmtree(tiny_copy / "ledger")
    Log.create(tiny_copy / "ledger", ledger.origin, keys).append(chain(envelopes), keys)
    assert f"entry {victim}" in refused(tiny_copy).where


def test_a_run_put_back_to_an_earlier_round_shows_only_by_its_root(tiny_snapshots: list[Path]):
    """The limit of checking a directory from itself: pin a root or a checkpoint elsewhere."""
    old, new = (audit(Workdir(tiny_snapshots[done])) for done in (5, 8))
    assert (old.origin, old.log_key) == (new.origin, new.log_key) and old.root != new.root


def test_a_checkpoint_of_a_boundless_log_is_refused_at_once(tiny_copy: Path):
    from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint

    ledger = read_ledger(Workdir(tiny_copy))
    note = sign_checkpoint(Checkpoint(ledger.origin, 10**16, bytes(32)), orderer(tiny_copy))
    (tiny_copy / "ledger" / "checkpoint").write_bytes(note)
    (tiny_copy / "ledger" / "tile" / "entries" / "000").write_bytes(b"")
    assert "more than its files can hold" in str(refused(tiny_copy))


def test_a_genesis_with_a_hostile_layout_is_refused(tiny_snapshots: list[Path], tmp_path: Path):
    from relayjax.identity import sign
    from relayjax.ledger.entry import chain

    directory = Path(shutil.copytree(tiny_snapshots[0], tmp_path / "run"))
    ledger, keys = read_ledger(Workdir(directory)), orderer(directory)
    genesis = backend.read_history(directory).genesis
    assert isinstance(genesis, Genesis)
    for layout in ([1], [{"name": "w", "shape": ["9" * 9]}], [{"name": "w", "shape": [1]}], []):
        envelope = sign(records.encode(replace(genesis, layout=layout)), keys)
        shutil.rmtree(directory / "ledger")
        Log.create(directory / "ledger", ledger.origin, keys).append(chain([envelope]), keys)
        refused(directory)


def test_validators_that_lie_together_are_found_by_rescoring_alone(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    honest = Validator.score

    def shifted(self: Validator, *arguments: Any) -> Score:
        score = honest(self, *arguments)
        return replace(score, children=tuple((name, loss + 5_000) for name, loss in score.children))

    with backend.open_run(tiny_config(), tmp_path / "run") as run:
        run.step()
        monkeypatch.setattr(Validator, "score", shifted)
        run.step()
    monkeypatch.undo()
    backend.verify(tmp_path / "run")
    with pytest.raises(IntegrityError, match="round 2, score of v0") as caught:
        backend.verify(tmp_path / "run", rescored=True)
    assert "the artefacts give" in str(caught.value)


def test_a_candidate_that_is_not_what_its_delta_gives_is_found(
    tiny_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In a braid round no version shows it: the candidates themselves are recomputed."""
    honest = Trainer.encode

    def lying(self: Trainer, name: str, *arguments: Any) -> Any:
        candidate = honest(self, name, *arguments)
        assert isinstance(candidate, Candidate)
        return replace(candidate, child_digest="ab" * 32) if name == "p1" else candidate

    monkeypatch.setattr(Trainer, "encode", lying)
    with backend.open_run(tiny_config(), tmp_path / "run") as run:
        run.step()
    error = refused(tmp_path / "run")
    assert error.where == "round 1, delta of p1" and "other weights" in error.problem


def test_an_honest_run_stands_rescoring(tiny_run: Path):
    again = backend.verify(tiny_run, rescored=True).rescore
    assert again and again.scores == 2 * (2 * 13 + 6 * 4) and again.values == 2 * 2 * (1 + 5 * 3)
    assert again.largest <= 1


def test_checking_needs_no_accelerator_stack(tiny_run: Path):
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('jax', 'flax', 'optax', 'orbax')))\n"
        "from relayjax import backend\n"
        f"found = backend.verify({str(tiny_run)!r}).audit\n"
        "assert found.weights == 9\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_hundred_bit_flips_are_named(tmp_path: Path):
    from relayjax import config

    with backend.open_run(config.resolve("digits:smoke", {}), tmp_path / "run") as run:
        run.run()
    check_flips(tmp_path / "run", 200, seed=1)
