from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax.errors import ConfigError, DataError
from relayjax.learning.data import dirichlet_shards


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    participants=st.integers(1, 20),
    alpha=st.sampled_from([0.001, 0.1, 1.0, 100.0]),
    minimum=st.integers(0, 10),
)
def test_shards_partition_the_examples_and_none_is_poor(seed, participants, alpha, minimum):
    labels = np.random.default_rng(0).integers(0, 5, 200)
    shards = dirichlet_shards(labels, participants, alpha, np.random.default_rng(seed), minimum)
    assert len(shards) == participants
    assert min(len(shard) for shard in shards) >= minimum
    np.testing.assert_array_equal(np.sort(np.concatenate(shards)), np.arange(200))


def test_small_alpha_skews_and_large_alpha_does_not():
    labels = np.repeat(np.arange(10), 100)

    def largest_share(alpha):
        shards = dirichlet_shards(labels, 10, alpha, np.random.default_rng(0), 8)
        return np.mean([np.bincount(labels[s]).max() / len(s) for s in shards])

    assert largest_share(0.1) > 0.5
    assert largest_share(1000.0) < 0.15


def test_same_generator_same_shards():
    labels = np.arange(300) % 7
    first, second = (dirichlet_shards(labels, 5, 0.1, np.random.default_rng(3), 4) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_be_split_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="10 examples cannot give 3 participants 4 each"):
        dirichlet_shards(np.zeros(10, int), 3, 0.1, rng, 4)
    with pytest.raises(ConfigError, match="participants=0"):
        dirichlet_shards(np.zeros(10, int), 0, 0.1, rng, 1)
    with pytest.raises(ConfigError, match="alpha=0"):
        dirichlet_shards(np.zeros(10, int), 3, 0.0, rng, 1)
