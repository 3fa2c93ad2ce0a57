"""Codecs that leave out most of a delta: what is left out survives a restart, and nobody else can read it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from relayjax import backend, codec
from relayjax.audit import audit
from relayjax.config import Config
from relayjax.errors import AccessError, IntegrityError
from relayjax.identity import Keys
from relayjax.ledger.log import Log
from relayjax.relay.residuals import Residuals, last_accepted
from relayjax.store.local import LocalStore
from relayjax.store.sealed import SealDirectory, open_artefact
from relayjax.workdir import Workdir

pytestmark = pytest.mark.usefixtures("compiled_once")

ConfigMaker = Callable[..., Config]
CODECS = [name for name in codec.NAMES if codec.get(name).needs_feedback]
P = 8 * 64 + 8 + 8 * 10 + 10


@pytest.fixture(scope="module")
def sparse(tiny_config: ConfigMaker) -> Config:
    return tiny_config({"relay.codec": "top_percent"})


@pytest.fixture(scope="module")
def whole(sparse: Config, compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under error feedback that nothing happened to."""
    directory = tmp_path_factory.mktemp("sparse") / "run"
    with backend.open_run(sparse, directory) as run:
        run.run()
    return directory


def root_of(directory: Path) -> str:
    return audit(Workdir(directory)).root


def manifests(directory: Path) -> dict[str, list[int]]:
    own = sorted((directory / "residuals").iterdir())
    return {path.name: SealDirectory(path / "seals").rounds() for path in own}


@pytest.mark.parametrize("name", CODECS)
def test_every_such_codec_plays_and_goes_on_after_every_round(
    tiny_config: ConfigMaker, tmp_path: Path, name: str
):
    config = tiny_config({"relay.codec": name})
    roots = []
    for pieces in (1, 8):
        directory = tmp_path / str(pieces)
        for _ in range(pieces):
            with backend.open_run(config, directory) as run:
                run.run() if pieces == 1 else run.step()
        roots.append(root_of(directory))
    assert roots[0] == roots[1]


def test_the_newest_are_those_of_the_last_accepted_deltas_and_matter(
    sparse: Config, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    past = backend.read_history(whole)
    kept = {name: rounds[-1] for name, rounds in manifests(whole).items()}
    assert kept == last_accepted(past) and set(kept) == {"p0", "p1", "p2"}
    monkeypatch.setattr(Residuals, "of", lambda self, name: None)
    with backend.open_run(sparse, tmp_path / "forgetful") as run:
        run.run()
    pairs = list(zip(past.rounds, backend.read_history(tmp_path / "forgetful").rounds, strict=True))
    same = [mine.facts.submissions == theirs.facts.submissions for mine, theirs in pairs]
    assert same[0] and not any(same[1:])


@pytest.mark.parametrize("round", range(1, 9))
def test_a_kill_between_residuals_and_ledger_changes_nothing(
    sparse: Config, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, round: int
):
    directory = tmp_path / "run"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with backend.open_run(sparse, directory) as run:
        for _ in range(round - 1):
            run.step()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Log, "append", killed)
            run.step()
    written = [rounds for rounds in manifests(directory).values() if round in rounds]
    settled = backend.read_history(whole).rounds[round - 1]
    assert len(written) == len(settled.settle.accepted)
    with backend.open_run(sparse, directory) as run:
        assert run.state.round.number == round
        assert all(round not in rounds for rounds in manifests(directory).values())
        run.run()
    assert root_of(directory) == root_of(whole)


def test_only_their_trainer_opens_them_and_no_more_than_two_are_kept(whole: Path):
    for name, rounds in manifests(whole).items():
        assert 1 <= len(rounds) <= 2
        keys = Keys.load(whole / "keys", name)
        store = LocalStore(whole / "residuals" / name / "store")
        seals = SealDirectory(whole / "residuals" / name / "seals")
        (manifest, *_) = seals.verify(store, {name: keys.public})[::-1]
        assert manifest.seals[0].recipients == (name,)
        residual = open_artefact(store, manifest, manifest.seals[0].artefact, keys)
        assert len(residual) == 4 * P and any(residual)
        with pytest.raises(AccessError):
            open_artefact(store, manifest, manifest.seals[0].artefact, Keys.load(whole / "keys", "v0"))
        assert len(store.digests()) == len(rounds)


def test_a_damaged_or_missing_residual_is_named_and_nothing_is_deleted(
    whole: Path, sparse: Config, tmp_path: Path
):
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    seals = SealDirectory(copy / "residuals" / "p1" / "seals")
    path = seals.path(seals.rounds()[-1])
    signed = path.read_bytes()
    before = sorted(copy.rglob("*"))
    for content in (signed[:-3], b"", signed.replace(b"p1", b"p2")):
        path.write_bytes(content)
        with pytest.raises(IntegrityError) as caught:
            backend.open_run(sparse, copy)
        assert caught.value.where == str(path)
    assert sorted(copy.rglob("*")) == before
    path.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        backend.open_run(sparse, copy)
    path.write_bytes(signed)
    backend.open_run(sparse, copy).close()


def test_a_codec_without_feedback_keeps_none(tiny_run: Path):
    assert not (tiny_run / "residuals").exists()
