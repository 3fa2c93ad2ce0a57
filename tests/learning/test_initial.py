"""Weights from a file as a task's initial ones: alone, and as the start of a relay."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from relayjax import backend, cli, settings
from relayjax.config import Config
from relayjax.errors import ConfigError, DataError, FormatError, WorkdirError
from relayjax.learning.initial import Initial
from relayjax.learning.interchange import save_weights
from relayjax.learning.layout import Layout
from relayjax.learning.leg import LegSettings
from relayjax.learning.lora import LoRA
from relayjax.learning.schemes import Setup
from relayjax.weights import digest

FROM = {"relay.rounds": "4", "relay.braid_rounds": "1", "relay.checkpoint_every": "10"}


def written(path: Path, params) -> Initial:
    """A file of a model's parameters, and the settings that start from it."""
    layout = Layout.of(params)
    save_weights(path, dict(zip(layout.names, map(np.asarray, jax.tree.leaves(params)), strict=True)), {})
    return Initial(str(path), digest(np.asarray(layout.flatten(params))))


def test_the_task_starts_from_the_file_whatever_the_key(toy, tmp_path: Path):
    params = toy.task.init(jax.random.key(5))
    task = written(tmp_path / "w.safetensors", params).task(toy.task)
    for key in (0, 1):
        jax.tree.map(np.testing.assert_array_equal, task.init(jax.random.key(key)), params)
    assert Layout.of(jax.eval_shape(task.init, jax.random.key(0))) == Layout.of(params)
    start = Setup(task, LegSettings(), legs=1, seed=3).genesis()
    np.testing.assert_array_equal(start, Layout.of(params).flatten(params), err_msg="baselines, too")
    assert task.losses is toy.task.losses and task.shards is toy.task.shards
    assert Initial().task(toy.task) is toy.task


def test_other_weights_than_the_digest_says_are_refused(toy, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    right = written(path, toy.task.init(jax.random.key(5)))
    with pytest.raises(DataError, match=f"have the digest {right.digest}, where the config says nothing"):
        Initial(str(path)).task(toy.task)
    other = written(path, toy.task.init(jax.random.key(6)))
    with pytest.raises(
        DataError, match=f"digest {other.digest}, where the config says {right.digest}; .* set"
    ):
        right.task(toy.task)


def test_what_is_no_file_of_this_model_is_refused(toy, probe, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(DataError, match=r"w\.safetensors: cannot be read"):
        Initial(str(path), "ab").task(toy.task)
    path.write_bytes(b"not weights")
    with pytest.raises(FormatError, match=r"w\.safetensors: "):
        Initial(str(path), "ab").task(toy.task)
    chosen = written(path, probe.task.init(jax.random.key(0)))
    with pytest.raises(DataError, match=r"w\.safetensors: lacks embedding/embedding"):
        chosen.task(toy.task)


@pytest.mark.parametrize("make", [Initial, LoRA])
def test_a_digest_without_weights_is_refused(make):
    with pytest.raises(ConfigError, match="digest=ab: is that of no weights; give their file"):
        make(digest="ab")


@pytest.fixture(scope="module")
def opened(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Initial, dict[str, np.ndarray]]:
    """The head of the tiny run, as `relayjax open` writes and names it."""
    keys, path = tiny_run / "keys" / "v0", tmp_path_factory.mktemp("opened") / "first.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("rich.console.Console.print", lambda self, text, **_: said.append(str(text)))
        assert cli.main(["open", str(tiny_run), f"--key={keys}", f"--out={path}"]) == 0
    (named,) = re.findall("digest ([0-9a-f]{64})", "\n".join(said))
    return Initial(str(path), named), backend.open_head(tiny_run, backend.Keys.load(keys.parent, "v0"))


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("carried", [False, True], ids=["parameters", "moments beside them"])
def test_a_relay_goes_on_from_what_another_one_handed_out(
    tiny_config: Callable[..., Config], opened, tmp_path: Path, carried: bool
):
    initial, head = opened
    start = np.concatenate([array.ravel() for array in head.values()])
    state = {"leg.optimizer_state": "carried"} if carried else {}
    overrides = {"initial.weights": initial.weights, "initial.digest": initial.digest}
    config = tiny_config({**FROM, **state, **overrides})
    with backend.open_run(config, tmp_path / "run") as run:
        np.testing.assert_array_equal(run.head[: start.size], start)
        assert run.head.size == (2 * start.size if carried else start.size)
        assert not run.head[start.size :].any()
        if not carried:
            assert run.state.head.digest == initial.digest
        run.step()
    with backend.open_run(config, tmp_path / "run") as run:
        run.run()
        assert len(run.state.versions) > 1
    verified = backend.verify(tmp_path / "run", rescored=True)
    assert verified.rescore is not None
    written_down = settings.decode(verified.audit.history.genesis.config, Config)
    assert written_down.initial == initial
    first = verified.audit.history.rounds[0].facts.scores["v0"].parents[0][1]
    with backend.open_run(tiny_config(FROM), tmp_path / "fresh") as run:
        run.step()
        scores = run.history().rounds[0].facts.scores["v0"]
    assert first < scores.parents[0][1], "it has learnt something already"


@pytest.mark.usefixtures("compiled_once")
def test_a_run_with_other_weights_is_another_run(tiny_config: Callable[..., Config], opened, tmp_path: Path):
    initial, _ = opened
    given = {"initial.weights": initial.weights, "initial.digest": initial.digest}
    backend.open_run(tiny_config(given), tmp_path / "run").close()
    with pytest.raises(WorkdirError, match=r"holds another run \(initial.digest is"):
        backend.open_run(tiny_config(), tmp_path / "run")


@pytest.mark.usefixtures("compiled_once")
def test_weights_that_do_not_fit_are_refused_before_anything_is_written(
    tiny_config: Callable[..., Config], opened, tmp_path: Path
):
    initial, _ = opened
    given = {"initial.weights": initial.weights, "initial.digest": initial.digest}
    with pytest.raises(DataError, match="has the shape"):
        backend.open_run(tiny_config({**given, "task.hidden": "9"}), tmp_path / "run")
    with pytest.raises(DataError, match=f"digest {initial.digest}, where the config says nothing"):
        backend.open_run(tiny_config({"initial.weights": initial.weights}), tmp_path / "run")
    assert not list(tmp_path.rglob("ledger"))
