from __future__ import annotations

import gzip
import struct

import jax
import numpy as np
import pytest

from relayjax.errors import ConfigError, DataError
from relayjax.learning import sketches
from relayjax.learning.tasks import fashion_mnist
from relayjax.learning.tasks.digits import Digits
from relayjax.learning.tasks.fashion_mnist import FashionMnist


def test_digits_are_split_without_overlap_and_by_the_seed():
    task = Digits().build(10, seed=0)
    assert sum(len(s["y"]) for s in task.shards) == 1197
    assert (len(task.validation["y"]), len(task.test["y"])) == (250, 350)
    assert min(len(s["y"]) for s in task.shards) >= 8
    assert max(s["x"].max() for s in task.shards) == 1.0
    again, other = Digits().build(10, seed=0), Digits().build(10, seed=1)
    np.testing.assert_array_equal(task.shards[3]["x"], again.shards[3]["x"])
    assert not np.array_equal(task.test["x"], other.test["x"])


def test_too_many_participants_are_refused():
    with pytest.raises(DataError, match="1197 examples cannot give 200"):
        Digits().build(200, seed=0)
    with pytest.raises(ConfigError, match="alpha=0"):
        Digits(alpha=0.0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "VALIDATION", 20)
    rng = np.random.default_rng(0)
    for split, count in (("train", 120), ("t10k", 30)):
        pictures = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        header = bytes((0, 0, 8, 3)) + struct.pack(">3I", *pictures.shape)
        name = tmp_path / f"{split}-images-idx3-ubyte.gz"
        name.write_bytes(gzip.compress(header + pictures.tobytes()))
        header = bytes((0, 0, 8, 1)) + struct.pack(">I", count)
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return tmp_path


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_fashion_mnist_reads_plain_and_compressed_files(folder, model):
    task = FashionMnist(directory=str(folder), model=model, minimum=4).build(5, seed=0)
    assert sum(len(s["y"]) for s in task.shards) == 100
    assert (len(task.validation["y"]), len(task.test["y"])) == (20, 30)
    params = task.init(jax.random.key(0))
    assert ("convolutions" in params) == (model == "cnn")
    losses = np.asarray(task.losses(params, task.test))
    assert np.isfinite(losses).all() and losses.mean() < 10  # bytes were scaled to [0, 1]


def test_fashion_mnist_is_told_of_by_its_participants(folder, monkeypatch):
    monkeypatch.setattr(sketches, "LEAST", 2)
    settings = FashionMnist(directory=str(folder), minimum=4, sketch_rank=3)
    draw = settings.build(5, seed=0).rehearsal
    assert draw is not None
    batch = draw(jax.random.key(0), 16)
    assert batch["x"].shape == (16, 28, 28) and batch["x"].min() >= 0 and batch["x"].max() <= 1
    assert FashionMnist(directory=str(folder), minimum=4).build(5, seed=0).rehearsal is None


def test_fashion_mnist_says_how_to_get_it(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"t10k-labels.*Debian package dataset-fashion-mnist.*four IDX files"):
        FashionMnist(directory=str(folder)).build(2, seed=0)


def test_fashion_mnist_refuses_files_that_do_not_belong_together(folder):
    labels = folder / "train-labels-idx1-ubyte"
    labels.write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 119) + labels.read_bytes()[8:-1])
    with pytest.raises(DataError, match="119 labels"):
        FashionMnist(directory=str(folder)).build(2, seed=0)
