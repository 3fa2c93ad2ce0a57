"""Texts drawn from Markov chains: every run of bytes stands in the texts, and as often as there."""

from __future__ import annotations

from collections import Counter

import jax
import numpy as np
import pytest

from relayjax.errors import DataError
from relayjax.learning.markov import Rehearsal, tell
from relayjax.learning.models import TransformerSettings
from relayjax.learning.tasks.text import Text


def texts(count: int, alphabet: bytes, seed: int = 0, length: int = 12) -> np.ndarray:
    """Walks on a ring of letters, two steps forward or one back."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([2, -1], (count, length), p=[0.7, 0.3]).cumsum(axis=1)
    return np.frombuffer(alphabet, np.uint8)[steps % len(alphabet)]


def runs(sequences: np.ndarray, length: int) -> Counter[bytes]:
    return Counter(row[i : i + length].tobytes() for row in sequences for i in range(len(row) - length + 1))


@pytest.mark.parametrize("order", [1, 2, 3, 7])
def test_every_run_of_bytes_stands_in_the_texts(order):
    own = texts(400, b"abcdefgh")
    told = tell(own, order, 300, seed=1)
    assert told.shape == (300, 12) and told.dtype == np.uint8
    there = runs(own, order + 1)
    found = runs(told, order + 1)
    # Only where the last bytes end every text that they stand in does another byte come next.
    assert sum(count for run, count in found.items() if run not in there) <= 0.02 * sum(found.values())


def test_bytes_follow_as_often_as_in_the_texts():
    own = texts(3000, b"abcdefgh")
    there, found = runs(own, 2), runs(tell(own, 1, 3000, seed=0), 2)
    for run, count in there.items():
        if count > 500:
            assert abs(found[run] / count - 1) < 0.15


def test_the_seed_decides():
    own = texts(50, b"abcd")
    np.testing.assert_array_equal(tell(own, 2, 20, seed=3), tell(own, 2, 20, seed=3))
    assert (tell(own, 2, 20, seed=3) != tell(own, 2, 20, seed=4)).any()


def test_where_no_text_goes_on_any_byte_comes_next():
    own = np.frombuffer(b"abcd", np.uint8).reshape(1, 4)
    told = {row.tobytes() for row in tell(np.tile(own, (5, 1)), 3, 50, seed=0)}
    assert told == {b"abcd"}
    told = tell(np.frombuffer(b"abxyxyab", np.uint8).reshape(2, 4), 2, 200, seed=0)
    assert set(told.reshape(-1).tolist()) <= set(b"abxy")


@pytest.mark.parametrize(("count", "order"), [(3, 0), (3, 8), (3, 12), (0, 2)])
def test_what_is_no_chain_is_refused(count, order):
    with pytest.raises(DataError, match="an order of 1 to 7"):
        tell(texts(3, b"ab")[:count], order, 2, seed=0)


def test_participants_are_drawn_alike_with_their_kinds():
    told = [tell(texts(40, letters), 1, 10, seed=0) for letters in (b"abcd", b"wxyz")]
    rehearsal = Rehearsal(told, [4, 7])
    assert rehearsal.nbytes == 2 * 10 * 12
    batch = jax.jit(rehearsal, static_argnums=1)(jax.random.key(0), 4000)
    kind = np.asarray(batch["kind"])
    assert set(kind.tolist()) == {4, 7} and abs((kind == 4).mean() - 0.5) < 0.05
    assert np.isin(np.asarray(batch["tokens"])[kind == 7], list(b"wxyz")).all()
    with pytest.raises(DataError, match="equally many"):
        Rehearsal([told[0], told[1][:5]], [4, 7])


def test_a_text_task_tells_on_request():
    small = TransformerSettings(layers=1, width=16, heads=2, context=15)
    settings = Text(kinds=("python", "stubs"), kind_bytes=20_000, validation=10, test=10, model=small)
    assert settings.build(3, seed=0).rehearsal is None
    changed = Text(
        kinds=("python", "stubs"), kind_bytes=20_000, validation=10, test=10, model=small, told_order=2,
        told_sequences=30,
    )  # fmt: skip
    task = changed.build(3, seed=0)
    assert task.rehearsal is not None
    batch = task.rehearsal(jax.random.key(0), 9)
    assert batch["tokens"].shape == (9, 16) and batch["tokens"].dtype == np.uint8
    losses = task.losses(task.init(jax.random.key(0)), batch)
    assert losses.shape == (9,) and np.isfinite(np.asarray(losses)).all()
