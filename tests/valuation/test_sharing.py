"""Siblings that do the same share one pay, strangers keep theirs; how long a delta is changes nothing."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.tree_util import Partial

from relayjax.valuation import Composition
from relayjax.valuation.best_length import best_length_gain, level_factors
from relayjax.valuation.sharing import DEARER, parts, shared_values

EXAMPLES = 400


def effects(count: int, seed: int = 0) -> np.ndarray:
    """Unlike each other: in so many dimensions strangers' cosines are near 0."""
    return np.random.default_rng(seed).normal(size=(count, EXAMPLES))


def test_strangers_keep_all():
    np.testing.assert_array_equal(parts(effects(5), np.ones(5)), 1.0)


@pytest.mark.parametrize("k", range(2, 17))
def test_identities_that_do_the_same_are_paid_less_than_one(k: int):
    """However each is scaled, together they get no more than the best of them alone."""
    own, others = effects(1)[0], effects(4, 1)
    scale = np.random.default_rng(k).uniform(0.1, 1.0, k)
    done = np.concatenate([scale[:, None] * own, others])
    values = np.concatenate([scale, np.ones(4)])
    share = parts(done, values)
    assert (share * values)[:k].sum() <= scale.max() * (1 + 1e-12)
    np.testing.assert_array_equal(share[k:], 1.0)
    equal = parts(np.concatenate([np.tile(own, (k, 1)), others]), np.ones(k + 4))
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
        found.append(parts(np.stack([own, beside]), np.ones(2))[0])
    likeness = np.array([0, 0, 1 / 3, 2 / 3, 1, 1])
    np.testing.assert_allclose(found, 1 / (1 + DEARER * likeness), atol=1e-9)


def test_what_adds_nothing_takes_nothing_from_others():
    """A replay of somebody's old work does to the examples what they do, and is worth nothing new."""
    own = effects(1)[0]
    share = parts(np.stack([own, own, own]), np.array([1.0, 0.0, -3.0]))
    np.testing.assert_array_equal(share, 1.0)


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_part_is_a_part(seed: int, count: int):
    rng = np.random.default_rng(seed)
    done = rng.normal(size=(count, 3)) * rng.integers(0, 2, (count, 1))
    share = parts(done, rng.normal(size=count))
    assert ((share > 0) & (share <= 1)).all()


class Bowl:
    """Siblings that pull a point towards the middles of the examples' own bowls, each by its own way."""

    def __init__(self, count: int = 5, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.middles = (1 + 0.3 * rng.normal(size=(EXAMPLES, 20))).astype(np.float32)
        self.losses = Partial(lambda middles, theta: jnp.square(theta - middles).sum(axis=1), self.middles)
        self.deltas = (1 + 0.8 * rng.normal(size=(count, 20))).astype(np.float32)

    def game(self, deltas: np.ndarray) -> Composition:
        weights = jnp.full(len(deltas), 1 / len(deltas), jnp.float32)
        return Composition(self.losses, jnp.zeros(20), jnp.asarray(deltas), weights)

    def values(self, deltas: np.ndarray) -> np.ndarray:
        return shared_values(self.game(deltas), deltas).values


@pytest.mark.parametrize("times", [0.01, 0.3, 3.0, 40.0])
def test_a_longer_or_shorter_delta_is_worth_the_same(times: float):
    bowl = Bowl()
    lengths = np.linalg.norm(bowl.deltas, axis=1)
    changed = bowl.deltas.copy()
    # Of five the third is the median: the longest may grow, and the shortest shrink, and it stays that.
    who = lengths.argmax() if times > 1 else lengths.argmin()
    changed[who] *= np.float32(times)
    np.testing.assert_allclose(bowl.values(changed), bowl.values(bowl.deltas), rtol=1e-4)


def test_nobody_gains_by_lengthening_even_where_that_moves_the_median():
    bowl = Bowl()
    before = bowl.values(bowl.deltas)
    for who in range(len(bowl.deltas)):
        changed = bowl.deltas.copy()
        changed[who] *= 5
        assert bowl.values(changed)[who] <= 1.02 * before[who]


def test_the_values_are_no_more_than_all_can_do_together():
    for seed in range(5):
        bowl = Bowl(seed=seed)
        values = bowl.values(bowl.deltas)
        factors = level_factors(np.linalg.norm(bowl.deltas, axis=1)).astype(np.float32)
        way = jnp.asarray((bowl.deltas * factors[:, None]).sum(axis=0))
        together = best_length_gain(bowl.game(bowl.deltas), way)
        assert values.clip(0).sum() <= together * (1 + 1e-5)


def test_what_only_harms_is_stated_as_a_loss_and_what_is_empty_as_nothing():
    bowl = Bowl()
    bowl.deltas[1], bowl.deltas[2] = -1.0, 0.0
    values = bowl.values(bowl.deltas)
    assert values[1] < 0 and values[2] == 0 and values[0] > 0


def test_no_figure_jumps_where_a_value_passes_through_nothing():
    """Else validators whose machines round otherwise would convict each other."""
    bowl = Bowl()
    aside = np.random.default_rng(5).normal(size=20).astype(np.float32)

    def figures(turn: float) -> np.ndarray:
        deltas = bowl.deltas.copy()
        deltas[1] = np.cos(turn) * bowl.deltas[0] + np.sin(turn) * aside
        stated = shared_values(bowl.game(deltas), deltas)
        return np.stack([stated.values, stated.stderr, stated.chance])

    low, high = 0.0, np.pi  # from what helps to its opposite, by way of nothing
    assert figures(low)[0, 1] > 0 > figures(high)[0, 1]
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if figures(middle)[0, 1] > 0 else (low, middle)
    np.testing.assert_allclose(figures(low), figures(high), atol=1e-3)
