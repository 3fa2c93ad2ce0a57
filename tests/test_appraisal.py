"""Values measured after the fact: they are those of an independent calculation, and of the ledger."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.stats import spearmanr

from relayjax import appraisal, backend, codec, lineage
from relayjax.agreement import spearman
from relayjax.appraisal import Appraisal, Measure
from relayjax.archive import Archive
from relayjax.config import Config
from relayjax.errors import AccessError, ConfigError, WorkdirError
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.layout import Layout
from relayjax.learning.task import Task
from relayjax.measured import NATS, legs, valuations
from relayjax.mechanism.state import Topology
from relayjax.relay import relay
from relayjax.workdir import Workdir


@pytest.fixture(scope="module", autouse=True)
def compiled_here(compiled_once: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appraisal, "Evaluator", relay.Evaluator)
        yield


@pytest.fixture(scope="module")
def past(tiny_run: Path) -> History:
    return backend.read_history(tiny_run)


@pytest.fixture(scope="module")
def task(tiny_config: Callable[..., Config]) -> Task:
    config = tiny_config()
    return config.task.build(config.relay.participants, config.seed)


@pytest.fixture(scope="module")
def exact(tiny_run: Path) -> Appraisal:
    return backend.value(tiny_run, Measure("exact", examples="validation"))


def test_values_are_mean_contributions_over_all_orders(
    tiny_run: Path, past: History, task: Task, exact: Appraisal
):
    evaluator = Evaluator(task, Layout.of(jax.eval_shape(task.init, jax.random.key(0))))
    archive, keys = Archive(Workdir(tiny_run)), Keys.load(tiny_run / "keys", "v1")
    delta_codec, everything = codec.get("mxint8"), np.arange(len(task.validation["y"]))

    def open_delta(submission):
        return archive.open_delta(past.state, submission, keys)

    thetas = {v.number: t for v, t in lineage.walk(past, archive.genesis(past), open_delta, delta_codec)}
    expected = dict.fromkeys(exact.participants, 0.0)
    for number in (1, 4):
        facts = past.rounds[number - 1].facts
        accepted = past.rounds[number - 1].settle.accepted
        base = thetas[next(iter(facts.pairs.values()))]
        moves = {
            name: delta_codec.decode(open_delta(facts.submissions[name]), base) / len(facts.pairs)
            for name in accepted
        }

        def loss(members: tuple[str, ...], base: np.ndarray = base, moves: dict = moves) -> float:
            theta = np.sum([base, *(moves[name] for name in members)], axis=0, dtype=np.float32)
            return evaluator.mean_loss(theta, task.validation, everything)

        orders = list(itertools.permutations(accepted))
        for order in orders:
            for place, name in enumerate(order):
                gain = loss(order[:place]) - loss(order[: place + 1])
                expected[name] += gain / len(orders)
    assert len(exact.rounds) == 2
    np.testing.assert_allclose(exact.values, list(expected.values()), atol=2e-6)
    np.testing.assert_allclose(exact.values.sum(), exact.together, atol=1e-9)


def test_on_the_draws_of_the_run_they_are_those_of_the_ledger(tiny_run: Path, past: History):
    found = backend.value(tiny_run, Measure("exact"))
    recorded = {(v.round, v.trainer): v.shapley for v in valuations(past)}
    ours = {
        (valued.number, name): value
        for valued in found.rounds
        for name, value in zip(valued.trainers, valued.estimate.values, strict=True)
    }
    assert ours.keys() == recorded.keys() and len(ours) >= 4
    assert all(abs(1e6 * value - recorded[key]) <= 1 for key, value in ours.items())

    by_gradient = backend.value(tiny_run)
    assert {valued.estimate.method for valued in by_gradient.rounds} == {"aumann-shapley"}
    np.testing.assert_allclose(by_gradient.values.sum(), by_gradient.together, atol=2e-4)


def test_errors_of_rounds_on_the_same_examples_add_up_example_by_example(exact: Appraisal):
    own = np.zeros((len(exact.participants), len(exact.rounds[0].examples)))
    for valued in exact.rounds:
        estimate = valued.estimate
        assert estimate.per_example is not None and estimate.table is not None
        for name, row in zip(valued.trainers, estimate.per_example, strict=True):
            own[exact.participants.index(name)] += row
    expected = own.std(axis=1, ddof=1) / math.sqrt(own.shape[1])
    np.testing.assert_allclose(exact.stderr, expected, rtol=1e-9)


def test_errors_of_rounds_that_share_no_example_add_in_quadrature(exact: Appraisal):
    first, second = exact.rounds
    apart = dataclasses.replace(second, examples=second.examples + len(first.examples))
    found = dataclasses.replace(exact, rounds=(first, apart))
    squares = [exact.of_round(valued, valued.estimate.stderr) ** 2 for valued in exact.rounds]
    np.testing.assert_allclose(found.stderr, np.sqrt(sum(squares)), rtol=1e-9)


def test_another_metric_is_shared_out_in_its_own_units(tiny_run: Path, past: History, task: Task):
    found = backend.value(tiny_run, Measure(metric="accuracy", examples="validation"))
    evaluator = Evaluator(task, Layout.of(jax.eval_shape(task.init, jax.random.key(0))))
    archive, keys = Archive(Workdir(tiny_run)), Keys.load(tiny_run / "keys", "v0")
    thetas = {}
    for version, theta in lineage.walk(
        past, archive.genesis(past), lambda s: archive.open_delta(past.state, s, keys), codec.get("mxint8")
    ):
        thetas[version.number] = evaluator.metrics(theta, task.validation)["accuracy"]
    gained = sum(
        thetas[version.number] - thetas[version.parent]
        for version in past.state.versions
        if version.round in (1, 4)
    )
    assert found.together == pytest.approx(gained, abs=1e-6)
    assert found.values.sum() == pytest.approx(gained, abs=1e-6)


@pytest.mark.parametrize("method", appraisal.METHODS)
def test_every_method_values_a_run(method: str, tiny_run: Path, exact: Appraisal):
    found = backend.value(tiny_run, Measure(method, examples="validation", target_stderr=1e-9))
    assert found.values.shape == (3,) and np.isfinite(found.stderr).all()
    assert np.sign(found.values).tolist() == np.sign(exact.values).tolist()


def test_a_running_relay_is_valued_as_far_as_it_has_come(
    tiny_snapshots: list[Path], tiny_config: Callable[..., Config], tiny_run: Path
):
    told: list[tuple[int, int, float]] = []
    with backend.open_run(tiny_config(), tiny_snapshots[2]) as run:
        assert not run.finished and Workdir(tiny_snapshots[2]).busy
        found = backend.value(tiny_snapshots[2], progress=lambda *state: told.append(state))
    whole = backend.value(tiny_run)
    assert [valued.number for valued in found.rounds] == [1]
    np.testing.assert_array_equal(found.values, whole.of_round(whole.rounds[0], found.values))
    assert told[0][:2] == (0, 1) and told[-1] == (1, 1, pytest.approx(found.stderr.max()))


def test_path_values_come_from_the_scores_of_accepted_chain_legs(played_run: History):
    found = Appraisal(Measure(), ("p0", "p1", "p2", "p3"), (), legs(played_run))
    expected = dict.fromkeys(found.participants, 0.0)
    for settled in played_run.rounds:
        if settled.topology is Topology.CHAIN and settled.settle.versions:
            (trainer,) = settled.settle.accepted
            score = settled.facts.scores["v0"]
            expected[trainer] += (score.parents[0][1] - dict(score.children)[trainer]) * NATS
    assert found.path.tolist() == pytest.approx(list(expected.values()))
    assert any(expected.values())


def test_pay_is_what_the_settlements_transferred(tiny_run: Path, past: History, exact: Appraisal):
    for index, name in enumerate(exact.participants):
        moves = [move for settled in past.rounds for move in settled.settle.transfers if move[1] == name]
        for reason in ("value", "royalty"):
            assert exact.paid[reason][index] == pytest.approx(
                1e-6 * sum(m[2] for m in moves if m[3] == reason)
            )
    assert exact.coins.sum() > 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"method": "guess"}, "method=guess: choose one of exact, "),
        ({"metric": "beauty"}, "metric=beauty: task digits has no such metric; choose one of loss, accuracy"),
        ({"method": "aumann-shapley", "metric": "accuracy"}, "follows the gradient"),
        ({"method": "orthogonal", "budget": 3}, "a budget of 3 coalitions does not suffice"),
        (
            {"method": "exact", "budget": 7},
            "a budget of 7 coalitions does not suffice for 3 participants; 8 do",
        ),
        ({"examples": "test"}, "examples=test: choose one of drawn, validation"),
        ({"target_stderr": 0.0}, "target_stderr=0.0: give a positive number"),
    ],
)
def test_what_cannot_be_measured_is_refused(asked: dict, said: str, tiny_run: Path):
    with pytest.raises(ConfigError, match=said):
        backend.value(tiny_run, Measure(**asked))


def test_where_nothing_was_valued_it_says_so(
    tiny_snapshots: list[Path], tiny_config: Callable[..., Config], tiny_copy: Path, tmp_path: Path
):
    with pytest.raises(
        WorkdirError, match="no braid round is settled yet, 0 rounds are; the next is round 1"
    ):
        backend.value(tiny_snapshots[0])
    with backend.open_run(tiny_config({"relay.braid_rounds": ""}), tmp_path / "chain"):
        pass
    with pytest.raises(WorkdirError, match="has no braid rounds"):
        backend.value(tmp_path / "chain")


def test_keys_are_needed_that_open_the_deltas(tiny_copy: Path):
    with pytest.raises(AccessError, match="observer"):
        backend.value(tiny_copy, keys=Keys.load(tiny_copy / "keys", "observer"))
    for kind in ("age", "pem"):
        (tiny_copy / "keys" / f"v0.{kind}").unlink()
    with pytest.raises(AccessError, match="--key"):
        backend.value(tiny_copy)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    for size in (2, 3, 9):
        first, second = rng.integers(0, 5, (2, size)) + 0.0
        first[0], second[-1] = 9, 7
        assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert spearman(np.arange(4.0), -np.arange(4.0)) == -1
    assert math.isnan(spearman(np.ones(3), np.arange(3.0)))
