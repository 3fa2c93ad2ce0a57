"""A run trained again: with everybody it is the run itself, without somebody what one would train by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from relayjax import backend, config, retraining
from relayjax.archive import Archive
from relayjax.config import Config
from relayjax.errors import ConfigError, WorkdirError
from relayjax.history import History, SettledRound
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.placement import place_shards
from relayjax.relay import relay
from relayjax.retraining import MOST, Retraining
from relayjax.weights import digest
from relayjax.workdir import Workdir


@pytest.fixture(scope="module", autouse=True)
def compiled_here(compiled_once: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retraining, "Leg", relay.Leg)
        patch.setattr(retraining, "Evaluator", relay.Evaluator)
        yield


def play(chosen: Config, directory: Path) -> History:
    with backend.open_run(chosen, directory) as run:
        run.run()
    return backend.read_history(directory)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("smoke") / "run"
    play(config.load("digits:smoke"), directory)
    return directory


@pytest.fixture(scope="module")
def tiny(tiny_run: Path) -> Retraining:
    return backend.retraining(tiny_run)


def test_with_everybody_the_smoke_run_comes_out_again(smoke: Path):
    past, again = backend.read_history(smoke), backend.retraining(smoke)
    told: list[int] = []
    found = again.without(turn=lambda: told.append(1))
    assert digest(found.head) == past.state.head.digest
    assert len(told) == again.legs() == sum(len(settled.facts.pairs) for settled in past.rounds)


@pytest.mark.parametrize(
    "changed",
    [
        {"rules.tolerance": "5000"},
        {"rules.tolerance": "0", "leg.relay_momentum": "0.5"},
        {
            "relay.merge": "value_weighted",
            "experiment.deviation": "free_rider",
            "experiment.deviants": "1",
            "relay.codec": "lossless",
        },
        {"leg.optimizer_state": "carried", "relay.merge": "sign_consensus"},
    ],
    ids=["refusals", "momentum", "value-weighted", "carried"],
)
def test_whatever_the_settings_it_is_the_run_itself(
    changed: dict[str, str], tiny_config: Callable[..., Config], tmp_path: Path
):
    past = play(tiny_config({"rules.tolerance": "300000", **changed}), tmp_path / "run")
    found = backend.retraining(tmp_path / "run").without()
    assert digest(found.head) == past.state.head.digest
    refused = any(settled.settle.refused for settled in past.rounds)
    assert refused or changed.get("rules.tolerance") is None, "the trust region was to refuse something"


def test_without_somebody_it_is_what_one_trains_by_hand(tiny_config: Callable[..., Config], tmp_path: Path):
    chosen = tiny_config(
        {
            "relay.codec": "lossless",
            "relay.rounds": "4",
            "relay.braid_rounds": "1",
            "rules.tolerance": "1000000000000",
            "rules.echo_limit": "1000000",
        }
    )
    past = play(chosen, tmp_path / "run")
    task = chosen.task.build(3, chosen.seed)
    leg, shards = relay.Leg(task, chosen.leg), place_shards(task)

    def trained(theta: np.ndarray, who: int, round: int, before: int) -> np.ndarray:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(chosen.seed), round), who)
        return np.asarray(leg(theta, shards[who], key, before, 6)[0])

    again = Retraining(Archive(Workdir(tmp_path / "run")), past)
    turns = [next(iter(settled.facts.pairs)) for settled in past.rounds[1:]]
    out = turns[1]  # whoever trained in round 3
    left = [who for who in range(3) if f"p{who}" != out]
    genesis = Archive(Workdir(tmp_path / "run")).genesis(past)
    head = genesis + np.mean([trained(genesis, who, 1, 0) for who in left], axis=0, dtype=np.float32)
    for round, name in enumerate(turns, 2):
        if name != out:
            head = head + trained(head, int(name[1]), round, 3 + round - 2)
    found = again.without((out,))
    np.testing.assert_allclose(found.head, head, atol=2e-6)
    assert np.abs(head - again.without().head).max() > 1e-3

    evaluator, everything = Evaluator(task, leg.baton.params), np.arange(len(task.validation["y"]))
    assert found.final == pytest.approx(evaluator.mean_loss(head, task.validation, everything), abs=1e-5)


def test_who_was_revoked_before_it_handed_anything_in_hands_nothing_in(tiny_run: Path):
    past, archive = backend.read_history(tiny_run), Archive(Workdir(tiny_run))
    braid, chain = past.rounds[:2]
    late = dataclasses.replace(chain, revoked=frozenset(chain.facts.pairs))
    amid = dataclasses.replace(late, facts=dataclasses.replace(chain.facts, submissions={}))

    def head(second: SettledRound) -> str:
        told = dataclasses.replace(past, rounds=(braid, second))
        return digest(Retraining(archive, told).without().head)

    made = {version.round: version.digest for version in past.state.versions}
    assert head(late) == made[chain.number] and head(amid) == made[braid.number]


def test_losses_are_taken_after_braids_and_laps(tiny: Retraining, tiny_run: Path):
    # Braids 1 and 4; three chain legs are a lap: rounds 2, 3 | 5, 6, 7 | 8 begin after 3, and 8 legs.
    ends = [settled.number for settled in tiny._past.rounds if tiny._ends_lap(settled)]
    assert ends == [1, 4, 5, 8]
    heads = backend.read_history(tiny_run).rounds
    assert heads[-1].number == 8
    found = tiny.without()
    assert found.final != found.mean


def test_leaving_one_out_is_the_difference_to_everybody(tiny: Retraining):
    told: list[int] = []
    found = tiny.leave_one_out(2, lambda: told.append(1))
    assert found.reproduced and found.repeats == 2 and found.participants == ("p0", "p1", "p2")
    full, without = tiny.without(), tiny.without(("p1",))
    assert found.final[0, 1] == without.final - full.final
    assert found.mean[0, 1] == without.mean - full.mean
    assert (found.final[0] != found.final[1]).all(), "other repetitions draw other batches"
    assert len(told) == 2 * sum(tiny.legs(out) for out in ((), ("p0",), ("p1",), ("p2",)))
    assert tiny.seconds_a_leg() > 0


def test_what_cannot_be_retrained_is_refused(
    tiny: Retraining,
    tiny_config: Callable[..., Config],
    tiny_snapshots: list[Path],
    played_derelayl: History,
    tmp_path: Path,
):
    with pytest.raises(ConfigError, match="relayjax rules"):
        Retraining(Archive(Workdir(tmp_path)), played_derelayl)
    with pytest.raises(WorkdirError, match="no round is settled yet"):
        backend.retraining(tiny_snapshots[0])
    with pytest.raises(ConfigError, match="repeats=0"):
        tiny.leave_one_out(0)
    for count in (1, MOST + 1):
        with backend.open_run(tiny_config({"relay.participants": str(count)}), tmp_path / str(count)):
            pass
        with pytest.raises(ConfigError, match=f"each of {count} participants: it is for 2 to {MOST}"):
            backend.retraining(tmp_path / str(count))
