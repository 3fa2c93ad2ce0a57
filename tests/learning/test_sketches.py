"""What participants tell of their data: what it says, how it is read, and what rehearsing it does."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from relayjax.errors import ConfigError, DataError, FormatError, RelayError
from relayjax.learning.classification import classification
from relayjax.learning.interchange import save_weights
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.models import MLP
from relayjax.learning.placement import place_shards
from relayjax.learning.sketches import Rehearsal, Sketch, joined, load, save, sketch

KEY = jax.random.key(0)
SHAPE = (2, 3)


def data(count: int, labels: list[int], seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs whose mean is their label, and which spread along two directions of six."""
    rng = np.random.default_rng(seed)
    y = rng.choice(labels, count).astype(np.int32)
    along = np.array([[2, 0, 0, 1, 0, 0], [0, 0, -1, 0, 0, 1]], np.float32)
    x = y[:, None] + rng.standard_normal((count, 2), np.float32) @ along
    return {"x": x.reshape(-1, *SHAPE).astype(np.float32), "y": y}


def told(shard: dict[str, np.ndarray], rank: int = 2) -> Sketch:
    return sketch(shard["x"], shard["y"], rank)


def test_what_is_drawn_has_the_means_and_covariances_of_the_data():
    shard = data(20_000, [0, 3])
    one = told(shard)
    assert one.labels.tolist() == [0, 3] and one.counts.sum() == 20_000
    batch = Rehearsal(one, SHAPE)(KEY, 40_000)
    assert batch["x"].shape == (40_000, *SHAPE) and batch["x"].dtype == np.float32
    for label in (0, 3):
        own = shard["x"][shard["y"] == label].reshape(-1, 6)
        drawn = np.asarray(batch["x"])[np.asarray(batch["y"]) == label].reshape(-1, 6)
        assert abs(len(drawn) / 40_000 - 0.5) < 0.03
        np.testing.assert_allclose(drawn.mean(axis=0), own.mean(axis=0), atol=0.06)
        np.testing.assert_allclose(np.cov(drawn.T), np.cov(own.T), atol=0.15)


def test_labels_come_equally_often_and_participants_by_their_counts():
    many, few, other = data(900, [0]), data(100, [0], seed=1), data(50, [1])
    few["x"] += 100
    rehearsal = Rehearsal(joined([told(shard) for shard in (many, few, other)]), SHAPE)
    batch = rehearsal(KEY, 40_000)
    zeros = np.asarray(batch["y"]) == 0
    assert abs(zeros.mean() - 0.5) < 0.03
    assert abs((np.asarray(batch["x"])[zeros].mean(axis=(1, 2)) > 50).mean() - 0.1) < 0.02
    assert rehearsal.nbytes == 4 * (3 * 6 + 3 * 2 * 6)


def test_little_is_told_of_few():
    shard = data(20, [0])
    shard["y"][:1] = 1
    assert told(shard).labels.size == 0
    shard = data(25, [2])
    one = told(shard, rank=5)
    assert one.labels.tolist() == [2] and one.spreads.shape == (1, 5, 6)
    assert one.spreads[0, :2].any(axis=1).all() and not one.spreads[0, 2:].any()


@pytest.mark.parametrize("count", [1, 3, 4, 10])
def test_a_draw_has_its_size_stays_in_bounds_and_is_the_same_compiled(count):
    shard = data(100, [0, 1])
    shard["x"] = (shard["x"] / 4).clip(0, 1)
    rehearsal = Rehearsal(told(shard), SHAPE, bounds=(0.0, 1.0))
    plain, compiled = rehearsal(KEY, count), jax.jit(rehearsal, static_argnums=1)(KEY, count)
    assert plain["x"].shape == (count, *SHAPE) and plain["y"].shape == (count,)
    assert plain["x"].min() >= 0 and plain["x"].max() <= 1
    np.testing.assert_allclose(plain["x"], compiled["x"], rtol=1e-6)
    np.testing.assert_array_equal(plain["y"], compiled["y"])


def test_a_file_gives_back_every_bit(tmp_path: Path):
    one = told(data(500, [0, 2, 7]))
    save(tmp_path / "mine.safetensors", one)
    again = load(tmp_path / "mine.safetensors")
    for name in ("labels", "counts", "means", "spreads"):
        left, right = getattr(one, name), getattr(again, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def good() -> dict[str, np.ndarray]:
    one = told(data(200, [0, 1]))
    numbers = {name: getattr(one, name).astype(np.float32) for name in ("labels", "counts")}
    return {**numbers, "means": one.means.copy(), "spreads": one.spreads.copy()}


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("labels", np.float32([0, 0.5]), "whole numbers"),
        ("labels", np.float32([0, -1]), "0 or more"),
        ("labels", np.float32([0, np.nan]), "whole numbers"),
        ("labels", np.float32([0, 1, 2]), "do not fit"),
        ("counts", np.float32([5, 0]), "1 or more"),
        ("counts", np.float32([5, 1e30]), "whole numbers"),
        ("means", np.full((2, 6), np.inf, np.float32), "NaN or numbers beyond"),
        ("means", np.full((2, 6), 2e6, np.float32), "NaN or numbers beyond"),
        ("spreads", np.full((2, 2, 6), 3e38, np.float32), "NaN or numbers beyond"),
        ("means", np.zeros((2, 5), np.float32), "do not fit"),
        ("means", np.zeros(12, np.float32), "of a sketch"),
        ("spreads", np.full((2, 2, 6), np.nan, np.float32), "NaN or numbers beyond"),
        ("more", np.zeros(1, np.float32), "of a sketch"),
    ],
)
def test_a_file_that_is_no_sketch_is_refused(tmp_path: Path, name, wrong, message):
    path = tmp_path / "theirs.safetensors"
    save_weights(path, {**good(), name: wrong}, {})
    with pytest.raises(DataError, match=message):
        load(path)


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path):
    path = tmp_path / "theirs.safetensors"
    with pytest.raises(DataError, match="cannot be read"):
        load(path)
    save_weights(path, good(), {})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FormatError, match="fetch or write it again"):
        load(path)


@pytest.mark.parametrize("shape", [[0, 1 << 62], [1] * 65, [0, (1 << 64) - 1]])
def test_impossible_shapes_are_refused(tmp_path: Path, shape):
    path = tmp_path / "theirs.safetensors"
    length = 4 if shape[0] else 0
    text = json.dumps({"means": {"dtype": "F32", "shape": shape, "data_offsets": [0, length]}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(length))
    with pytest.raises(RelayError):
        load(path)


def test_fewer_examples_than_numbers_are_sketched_alike():
    rng = np.random.default_rng(0)
    own = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 50)) + 1
    few = sketch(own.astype(np.float32), np.zeros(40, np.int32), 3)
    many = sketch(np.tile(own, (2, 1)).astype(np.float32), np.zeros(80, np.int32), 3)
    covariance = np.cov(own.T, bias=True)
    for one in (few, many):
        found = one.spreads[0].T.astype(np.float64) @ one.spreads[0]
        np.testing.assert_allclose(found, covariance, atol=1e-4)
    np.testing.assert_allclose(few.spreads, many.spreads, atol=1e-4)  # signs, too


def test_what_cannot_be_sketched_is_refused():
    shard = data(100, [0])
    with pytest.raises(DataError, match="rank of 1"):
        told(shard, rank=0)
    shard["x"][3] = np.inf
    with pytest.raises(DataError, match="takes inputs within"):
        told(shard)


def test_sketches_beyond_the_bounds_are_refused():
    pictures = data(100, [0])
    with pytest.raises(DataError, match="as the model sees them"):
        Rehearsal(sketch(pictures["x"] + 200, pictures["y"], 2), SHAPE, bounds=(0.0, 1.0))


def test_small_draws_ask_many_gaussians():
    rehearsal = Rehearsal(told(data(400, [0, 1, 2, 3])), SHAPE)
    assert max(len(set(np.asarray(rehearsal(jax.random.key(i), 8)["y"]).tolist())) for i in range(9)) > 2


def test_sketches_that_do_not_fit_are_refused():
    one = told(data(100, [0, 1]))
    with pytest.raises(DataError, match="agree on both"):
        joined([one, told(data(100, [0]), rank=3)])
    with pytest.raises(DataError, match="inputs of 6 numbers"):
        Rehearsal(one, (7,))
    with pytest.raises(DataError, match="0 labels"):
        Rehearsal(told(data(5, [0])), SHAPE)
    with pytest.raises(DataError, match="label 1; expected 0 to 0"):
        shard = data(10, [0])
        _task((shard,), one, classes=1)


def _task(shards, sketches, classes=4):
    held_out = data(400, list(range(classes)), seed=9)
    return classification(
        "told", lambda rngs: MLP(6, (16,), classes, rngs=rngs), classes=classes, shards=shards,
        validation=held_out, test=held_out, told=sketches,
    )  # fmt: skip


def test_a_leg_learns_labels_that_it_does_not_hold():
    shards = data(300, [0, 1]), data(300, [2, 3], seed=1)
    task = _task(shards, joined([told(shard) for shard in shards]))
    found = {}
    for weight in (0.0, 1.0):
        settings = LegSettings(steps=150, batch_size=32, learning_rate=0.05, rehearsal=weight, anchor=0.0)
        leg = Leg(task, settings)
        theta = leg.genesis(task.init(KEY))
        delta, _ = leg(theta, place_shards(task)[0], KEY, 0, 1)
        params, _ = leg.baton.unflatten(theta + np.asarray(delta))
        right = np.asarray(task.metrics(params, task.test)["accuracy"])
        found[weight] = right[task.test["y"] >= 2].mean()
    assert found[0.0] < 0.2 and found[1.0] > 0.6, found


def test_a_leg_that_does_not_rehearse_is_what_it_was_without_sketches():
    shards = data(300, [0, 1]), data(300, [2, 3], seed=1)
    settings = LegSettings(steps=5, batch_size=8)
    deltas = []
    for sketches in (None, joined([told(shard) for shard in shards])):
        task = _task(shards, sketches)
        leg = Leg(task, settings)
        deltas.append(np.asarray(leg(leg.genesis(task.init(KEY)), place_shards(task)[0], KEY, 0, 1)[0]))
    np.testing.assert_array_equal(*deltas)


def test_parts_of_a_batch_rehearse_parts():
    """Each other ones, and together no more than a step without parts does."""
    counts, keys = [], []
    shards = data(300, [0, 1]), data(300, [2, 3], seed=1)
    task = _task(shards, joined([told(shard) for shard in shards]))
    rehearsal = task.rehearsal
    assert rehearsal is not None

    def draw(key, count):
        counts.append(count)
        jax.debug.callback(
            lambda seen: keys.append(tuple(np.asarray(seen).tolist())), jax.random.key_data(key)
        )
        return rehearsal(key, count)

    settings = LegSettings(steps=3, batch_size=32, accumulate=4, rehearsal=1.0)
    leg = Leg(dataclasses.replace(task, rehearsal=draw), settings)
    delta, _ = leg(leg.genesis(task.init(KEY)), place_shards(task)[0], KEY, 0, 1)
    jax.effects_barrier()
    assert np.isfinite(np.asarray(delta)).all()
    assert set(counts) == {4}
    assert len(keys) == len(set(keys)) == 12


def test_rehearsing_nothing_is_refused():
    shard = data(100, [0, 1])
    with pytest.raises(ConfigError, match="has no sketches"):
        Leg(_task((shard,), None), LegSettings(rehearsal=0.5))
