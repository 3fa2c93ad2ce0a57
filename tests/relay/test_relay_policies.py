"""Whole relays with what a leg may carry and how a braid may be merged: played, killed, measured again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relayjax import backend, cli, codec
from relayjax.archive import Archive
from relayjax.config import Config
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.mechanism.base import loss_rises
from relayjax.merging import MERGES, compose, merge_of
from relayjax.weights import digest
from relayjax.workdir import Workdir

pytestmark = pytest.mark.usefixtures("compiled_once")

PARAMETERS = 64 * 8 + 8 + 8 * 10 + 10
CARRIED = {
    "leg.optimizer": "adamw",
    "leg.learning_rate": "0.01",
    "leg.optimizer_state": "carried",
    "leg.fisher": "1.0",
}
POLICIES = {
    "carried": (CARRIED, 4 * PARAMETERS),
    "sign consensus": ({"relay.merge": "sign_consensus", "relay.merge_step": "1500000"}, PARAMETERS),
    "value weighted": ({"relay.merge": "value_weighted"} | CARRIED, 4 * PARAMETERS),
    "searched": (
        {"leg.optimizer": "muon", "leg.hand_on": "line_search", "task.development": "50"}
        | {"leg.learning_rate": "0.02", "leg.relay_momentum": "0.5"},
        PARAMETERS,
    ),
}
AFTER = (1, 3, 6)
"""Rounds after which the run is copied as if it had been killed: a braid, and before and after another."""


class Played:
    """One finished run, and its directory at earlier times."""

    def __init__(self, config: Config, size: int, base: Path):
        self.config, self.size, self.path = config, size, base / "run"
        self.copies: list[Path] = []
        with backend.open_run(config, self.path) as run:
            while not run.finished:
                run.step()
                if run.state.round.number - 1 in AFTER:
                    self.copies.append(Path(shutil.copytree(self.path, base / str(len(self.copies)))))
            self.root, self.head = run.root, run.head.copy()
        self.history: History = backend.read_history(self.path)


@pytest.fixture(scope="module", params=POLICIES.values(), ids=POLICIES)
def played(
    request: pytest.FixtureRequest,
    tiny_config: Callable[..., Config],
    compiled_once: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Played:
    overrides, size = request.param
    return Played(tiny_config(overrides), size, tmp_path_factory.mktemp("policies"))


def test_the_run_ends_and_learns(played: Played):
    state = played.history.state
    assert state.finished and len(state.versions) > 4
    assert played.head.shape == (played.size,) and played.head.dtype == np.float32
    assert np.isfinite(played.head).all() and digest(played.head) == state.head.digest
    first, last = (
        min(loss for score in settled.facts.scores.values() for _, loss in score.parents)
        for settled in (played.history.rounds[0], played.history.rounds[-1])
    )
    assert last < first


def test_it_can_be_measured_again(played: Played):
    verified = backend.verify(played.path, rescored=True)
    assert verified.rescore is not None
    assert verified.rescore.scores > 0 and verified.rescore.values > 0


def test_it_goes_on_after_an_interruption(played: Played):
    assert len(played.copies) == len(AFTER)
    for copy in played.copies:
        with backend.open_run(played.config, copy) as run:
            run.run()
            assert run.root == played.root
            np.testing.assert_array_equal(run.head, played.head)


def test_who_opens_the_head_gets_the_parameters_alone(played: Played, tmp_path: Path):
    holder = next(name for name in sorted(played.history.state.licences) if name.startswith("p"))
    opened = backend.open_head(played.path, Keys.load(played.path / "keys", holder))
    assert {name: array.shape for name, array in opened.items()} == {
        "layers/0/bias": (8,),
        "layers/0/kernel": (64, 8),
        "layers/1/bias": (10,),
        "layers/1/kernel": (8, 10),
    }
    flat = np.concatenate([array.ravel() for array in opened.values()])
    np.testing.assert_array_equal(flat, played.head[:PARAMETERS])
    out = tmp_path / "weights.safetensors"
    assert cli.main(["open", str(played.path), f"--key={played.path / 'keys' / holder}", f"--out={out}"]) == 0
    assert b"carried" not in out.read_bytes()


def test_a_braid_is_merged_as_the_schedule_says(played: Played):
    """The first version from the genesis and the deltas, by hand."""
    past, archive = played.history, Archive(Workdir(played.path))
    facts, genesis = past.rounds[0].facts, archive.genesis(past)
    keys, names = Keys.load(played.path / "keys", "v0"), past.state.versions[1].owners
    decode = codec.get("mxint8").decode
    deltas = [
        decode(archive.open_delta(past.state, facts.submissions[name], keys), genesis) for name in names
    ]
    rises = [loss_rises(facts)[name] for name in names]
    merge = merge_of(played.config.relay)
    child = compose(genesis, *merge(deltas, rises, 3))
    assert digest(child) == past.state.versions[1].digest
    plainly = compose(genesis, *MERGES["equal"](deltas, rises, 3))
    assert (digest(plainly) == digest(child)) == (played.config.relay.merge == "equal")
