"""What validators measure: which examples are drawn, and how losses become integers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayjax.errors import ConfigError
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.layout import Layout
from relayjax.learning.placement import place
from relayjax.learning.task import Task
from relayjax.mechanism.rules import Schedule
from relayjax.mechanism.state import Topology
from relayjax.relay.testing import (
    WORST,
    Candidates,
    Rotation,
    Validator,
    check_reuse,
    validation_digest,
)
from relayjax.valuation.novelty import Novelties

EYE: Mapping[str, np.ndarray] = {"x": np.eye(4, dtype=np.float32)}


@pytest.fixture(scope="module")
def validator() -> Validator:
    """Its loss of an example is the parameter that the example points at."""
    task = Task(
        "probe",
        init=lambda key: {"w": jnp.ones(4)},
        losses=lambda params, batch: batch["x"] @ params["w"],
        metrics=lambda params, batch: {},
        shards=(EYE,),
        validation=EYE,
        test=EYE,
    )
    layout = Layout.of({"w": jnp.ones(4)})
    return Validator(Evaluator(task, layout), place(EYE), 4, nodes=4, budget=1024)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 200), st.integers(1, 250))
def test_a_draw_is_distinct_sorted_and_repeatable(seed: bytes, count: int, examples: int):
    drawn = Rotation(count).draw(seed.hex(), examples)
    assert drawn.dtype == np.int32 and len(drawn) == min(count, examples)
    assert (np.diff(drawn) > 0).all() and drawn.min() >= 0 and drawn.max() < count
    assert (drawn == Rotation(count).draw(seed.hex(), examples)).all()


def test_a_draw_depends_on_its_seed_and_favours_no_example():
    draws = [Rotation(50).draw(f"{seed:064x}", 10) for seed in range(500)]
    assert len({draw.tobytes() for draw in draws}) == 500
    often = np.bincount(np.concatenate(draws), minlength=50)
    assert often.min() > 60 and often.max() < 145  # 100 expected, five standard deviations are 45


def test_tests_rotate():
    rotation = Rotation(50)
    drawn = [rotation.draw(f"{seed:064x}", 15) for seed in range(10)]
    assert len(np.unique(np.concatenate(drawn[:3]))) == 45
    assert (np.bincount(np.concatenate(drawn), minlength=50) == 3).all()


@pytest.mark.parametrize(("reuse", "fits"), [(13, True), (12, False)])
def test_a_relay_that_asks_too_often_is_refused(reuse: int, fits: bool):
    """Every one of 13 rounds draws all of the 25 examples."""
    schedule = Schedule(rounds=13, braid_rounds=(1,), draw=30, draw_valued=100, reuse=reuse)
    with nullcontext() if fits else pytest.raises(ConfigError, match=r"relay\.reuse=12 allows fewer"):
        check_reuse(schedule, 25)


def test_scores_are_integer_micro_nats(validator: Validator):
    theta = np.array([0.5, 0.25, 1e-6, 0.0], np.float32)
    tested = Candidates(
        3,
        Topology.TREE,
        share=0.5,
        parents={"p1": 12, "p0": 0},
        bases={"p1": theta * 2, "p0": theta},
        children={"p1": theta * 4, "p0": theta},
        deltas={"p1": theta * 2, "p0": theta * 0},
    )
    score = validator.score(tested, jnp.array([0, 1]), Novelties())
    assert score.parents == (("0", 375_000), ("12", 750_000))
    assert score.children == (("p0", 375_000), ("p1", 1_500_000))
    assert all(type(loss) is int for _, loss in (*score.parents, *score.children))


@pytest.mark.parametrize("places", [3, 5])
def test_a_place_that_is_left_empty_changes_no_value(places: int):
    """Participants move one parameter each of a bowl; a refused one's place weighs, but moves nothing."""
    bowl = Task(
        "bowl",
        init=lambda key: {"w": jnp.ones(4)},
        losses=lambda params, batch: jnp.square(batch["x"] @ (params["w"] - 2)),
        metrics=lambda params, batch: {},
        shards=(EYE,),
        validation=EYE,
        test=EYE,
    )
    validator = Validator(Evaluator(bowl, Layout.of({"w": jnp.ones(4)})), place(EYE), 4, nodes=4, budget=64)
    base, deltas = np.ones(4, np.float32), dict(zip("abc", np.eye(4, dtype=np.float32)[:3], strict=True))
    weights = np.full(3, 1 / places, np.float32)
    composed = base + weights[0] * np.float32([1, 1, 1, 0])
    drawn = jnp.arange(4)
    value = validator.value(1, drawn, base, deltas, weights, composed, Novelties(), places)
    gain = (1 - (1 - 1 / places) ** 2) / 4  # of each of three examples, averaged over four
    assert [name for name, _ in value.values] == ["a", "b", "c"]
    assert [figure for _, figure in value.shapley] == pytest.approx([1e6 * gain] * 3, rel=1e-5)
    figures = [figure for _, figure in value.values]
    assert figures == pytest.approx([figures[0]] * 3, abs=2) and figures[0] > 100_000
    assert [len(pairs) for pairs in (value.stderr, value.chance, value.shapley_stderr)] == [3, 3, 3]
    alone = validator.value(1, drawn, base, deltas, weights, composed, Novelties(), 3)
    assert figures == pytest.approx([figure for _, figure in alone.values], abs=2)


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf, 3e38])
def test_a_loss_that_is_not_finite_is_the_worst(validator: Validator, loss: float):
    theta = np.array([loss, 0, 0, 0], np.float32)
    base = np.zeros(4, np.float32)
    tested = Candidates(1, Topology.CHAIN, 1, {"p0": 0}, {"p0": base}, {"p0": theta}, {"p0": theta})
    score = validator.score(tested, jnp.array([0]), Novelties())
    assert score.children == (("p0", WORST),) and score.parents == (("0", 0),)
    assert len(score.slopes) == len(score.chance) == 1


def test_the_digest_of_the_validation_set_covers_every_bit():
    batch = {"x": np.arange(4, dtype=np.float32).reshape(2, 2), "y": np.array([0, 1], np.int32)}
    digests = {validation_digest(batch)}
    for name, array in batch.items():
        for bit in range(8 * array.nbytes):
            content = bytearray(array.tobytes())
            content[bit // 8] ^= 1 << bit % 8
            flipped = np.frombuffer(bytes(content), array.dtype).reshape(array.shape)
            digests.add(validation_digest({**batch, name: flipped}))
    others = [
        {"x": batch["x"].reshape(4, 1), "y": batch["y"]},
        {"x": batch["x"].view(np.int32), "y": batch["y"]},
        {"x": batch["x"], "z": batch["y"]},
    ]
    digests |= {validation_digest(other) for other in others}
    assert len(digests) == 1 + 8 * (16 + 8) + len(others)
    assert validation_digest({"y": batch["y"], "x": batch["x"]}) == validation_digest(batch)
