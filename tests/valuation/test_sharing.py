"""Siblings that do the same share one pay, strangers keep theirs; overlong deltas count as if shortened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayjax.valuation.sharing import DEARER, LONGEST, parts

EXAMPLES = 400


def effects(count: int, seed: int = 0) -> np.ndarray:
    """Unlike each other: in so many dimensions strangers' cosines are near 0."""
    return np.random.default_rng(seed).normal(size=(count, EXAMPLES))


def test_strangers_of_like_lengths_keep_all():
    np.testing.assert_array_equal(parts(effects(5), np.ones(5), np.linspace(1, 1.4, 5)), 1.0)


@pytest.mark.parametrize("k", range(2, 17))
def test_identities_that_do_the_same_are_paid_less_than_one(k: int):
    """However each is scaled, together they get no more than the best of them alone."""
    own, others = effects(1)[0], effects(4, 1)
    scale = np.random.default_rng(k).uniform(0.1, 1.0, k)
    done = np.concatenate([scale[:, None] * own, others])
    values = np.concatenate([scale, np.ones(4)])
    share = parts(done, values, np.ones(k + 4))
    assert (share * values)[:k].sum() <= scale.max() * (1 + 1e-12)
    np.testing.assert_array_equal(share[k:], 1.0)
    equal = parts(np.concatenate([np.tile(own, (k, 1)), others]), np.ones(k + 4), np.ones(k + 4))
    np.testing.assert_allclose(equal[:k], 1 / (1 + DEARER * (k - 1)))
    assert equal[:k].sum() < 0.9


def test_likeness_counts_by_and_by():
    own, other = effects(2)
    own, other = own / np.linalg.norm(own), other / np.linalg.norm(other)
    other -= other @ own * own
    other /= np.linalg.norm(other)
    found = []
    for cosine in (0.75, 0.8, 0.85, 0.9, 0.95, 1.0):
        beside = cosine * own + np.sqrt(1 - cosine**2) * other
        found.append(parts(np.stack([own, beside]), np.ones(2), np.ones(2))[0])
    likeness = np.array([0, 0, 1 / 3, 2 / 3, 1, 1])
    np.testing.assert_allclose(found, 1 / (1 + DEARER * likeness), atol=1e-9)


def test_what_adds_nothing_takes_nothing_from_others():
    """A replay of somebody's old work does to the examples what they do, and is worth nothing new."""
    own = effects(1)[0]
    share = parts(np.stack([own, own, own]), np.array([1.0, 0.0, -3.0]), np.ones(3))
    np.testing.assert_array_equal(share, 1.0)


def test_a_long_delta_is_paid_as_if_it_were_shorter():
    lengths = np.array([0.0, 1.0, 1.0, 1.0, 6.0])
    np.testing.assert_allclose(parts(effects(5), np.ones(5), lengths), [1, 1, 1, 1, LONGEST / 6])


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_part_is_a_part(seed: int, count: int):
    rng = np.random.default_rng(seed)
    done = rng.normal(size=(count, 3)) * rng.integers(0, 2, (count, 1))
    share = parts(done, rng.normal(size=count), np.abs(rng.normal(size=count)) * rng.integers(0, 2, count))
    assert ((share > 0) & (share <= 1)).all()
