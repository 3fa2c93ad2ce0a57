"""Merging a braid round: what holds for every merge, and what each one does."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relayjax.mechanism.rules import Schedule
from relayjax.merging import MERGES, compose, equal, merge_of, share_of, sign_consensus, value_weighted

SIZE = 6
DELTAS = st.lists(
    hnp.arrays(np.float32, SIZE, elements=st.floats(-100, 100, width=32)), min_size=1, max_size=6
)
WHOLE = st.lists(hnp.arrays(np.float32, SIZE, elements=st.integers(-50, 50)), min_size=1, max_size=6)
"""Deltas whose sums are exact in any order."""
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
RISES = st.integers(-5_000_000, 10**15)
EMPTY_PLACES = st.integers(0, 3)


@st.composite
def rounds(draw, deltas=DELTAS):
    """What a merge is given: deltas, a rise of the loss for each, and the number of places."""
    found = draw(deltas)
    rises = draw(st.lists(RISES, min_size=len(found), max_size=len(found)))
    return found, rises, len(found) + draw(EMPTY_PLACES)


@pytest.mark.parametrize("merge", MERGES.values(), ids=MERGES)
@given(given_round=rounds())
def test_weights_add_up_to_the_share_of_places_that_are_taken(merge, given_round):
    deltas, rises, places = given_round
    kept = [delta.copy() for delta in deltas]
    weights, merged = merge(deltas, rises, places)
    assert weights.dtype == np.float32 and weights.shape == (len(deltas),) == (len(merged),)
    assert (weights >= 0).all() and np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(dtype=np.float64), len(deltas) / places, rtol=1e-5)
    for before, after in zip(kept, deltas, strict=True):
        np.testing.assert_array_equal(before, after, err_msg="a merge must not write to its deltas")


@pytest.mark.parametrize("merge", MERGES.values(), ids=MERGES)
@given(given_round=rounds())
def test_a_merge_goes_no_further_than_its_deltas(merge, given_round):
    deltas, rises, places = given_round
    weights, merged = merge(deltas, rises, places)
    step = sum(w * d.astype(np.float64) for w, d in zip(weights, merged, strict=True))
    lowest, highest = np.minimum(0, np.min(deltas, 0)), np.maximum(0, np.max(deltas, 0))
    assert (lowest - 1e-3 <= step).all() and (step <= highest + 1e-3).all()


@pytest.mark.parametrize("merge", MERGES.values(), ids=MERGES)
@given(given_round=rounds(WHOLE), chance=st.randoms(use_true_random=False))
def test_who_stands_where_changes_nothing(merge, given_round, chance):
    deltas, rises, places = given_round
    order = list(range(len(deltas)))
    chance.shuffle(order)
    weights, merged = merge(deltas, rises, places)
    theirs, shuffled = merge([deltas[i] for i in order], [rises[i] for i in order], places)
    for place, index in enumerate(order):
        assert theirs[place] == weights[index]
        np.testing.assert_array_equal(shuffled[place], merged[index])


@pytest.mark.parametrize("merge", MERGES.values(), ids=MERGES)
@given(delta=hnp.arrays(np.float32, SIZE, elements=FINITE))
def test_one_delta_alone_goes_in_whole(merge, delta):
    """Be its numbers as small or as large as they may."""
    weights, (merged,) = merge([delta], [123], 1)
    assert weights.tolist() == [1.0]
    np.testing.assert_array_equal(merged, delta)


@given(st.lists(RISES, min_size=2, max_size=6), EMPTY_PLACES)
def test_value_weighs_by_the_rise_of_the_loss(rises, empty):
    deltas = [np.zeros(1, np.float32)] * len(rises)
    weights, _ = value_weighted(deltas, rises, len(rises) + empty)
    best = np.max(weights)
    for rise, weight in zip(rises, weights, strict=True):
        np.testing.assert_allclose(weight / best, 1 / (1 + (rise - min(rises)) / 1e6), rtol=1e-5)


@given(st.lists(RISES, min_size=1, max_size=6), EMPTY_PLACES)
def test_value_weights_are_the_same_bits_everywhere(rises, empty):
    """The sum of the shares is the exact one, rounded once."""
    deltas, places = [np.zeros(1, np.float32)] * len(rises), len(rises) + empty
    shares = [1 / (1 + (rise - min(rises)) / 1e6) for rise in rises]
    scale = len(rises) / places / float(sum(map(Fraction, shares)))
    weights, _ = value_weighted(deltas, rises, places)
    assert weights.tolist() == [float(np.float32(share * scale)) for share in shares]


@given(rounds(WHOLE))
def test_signs_that_lose_the_vote_are_left_out(given_round):
    deltas, rises, places = given_round
    weights, merged = sign_consensus(deltas, rises, places)
    assert weights.tolist() == equal(deltas, rises, places)[0].tolist()
    sums = np.sum(deltas, 0)
    for delta, found in zip(deltas, merged, strict=True):
        for number, total, kept in zip(delta, sums, found, strict=True):
            assert kept == (number if number * total > 0 else 0)


def test_tiny_numbers_have_signs_too():
    """Their product with the sum is no float32 any more."""
    tiny = np.array([1e-30, -1e-40], np.float32)
    _, merged = sign_consensus([tiny, 2 * tiny, -tiny], [0, 0, 0], 3)
    assert [delta.tolist() for delta in merged] == [tiny.tolist(), (2 * tiny).tolist(), [0.0, 0.0]]


def test_merges_do_what_they_say():
    deltas = [np.array([1.0, -1.0], np.float32), np.array([3.0, 0.5], np.float32)]
    weights, merged = sign_consensus(deltas, [0, 0], 2)
    assert merged[1].tolist() == [3.0, 0.0]
    assert compose(np.zeros(2, np.float32), weights, merged).tolist() == [2.0, -0.5]
    weights, merged = value_weighted(deltas, [1_000_000, 0], 4)
    np.testing.assert_allclose(weights, [1 / 6, 2 / 6])
    np.testing.assert_allclose(compose(np.ones(2, np.float32), weights, merged), [1 + 7 / 6, 1])
    assert equal(deltas, [0, 0], 4)[0].tolist() == [0.25, 0.25]


@given(
    hnp.arrays(np.float32, SIZE, elements=st.floats(-100, 100, width=32)),
    DELTAS,
    st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6),
)
def test_composition_is_one_rounded_product_and_sum_at_a_time(parent, deltas, shares):
    weights, kept = np.array(shares[: len(deltas)], np.float32), parent.copy()
    child = compose(parent, weights, deltas)
    assert (parent == kept).all() and child.dtype == np.float32
    for index in range(SIZE):
        total = parent[index]
        for weight, delta in zip(weights, deltas, strict=True):
            total = np.float32(total + np.float32(weight * delta[index]))
        assert total.tobytes() == child[index].tobytes()


def test_the_order_of_composition_is_that_of_the_names():
    """Another order gives other bits, so it has to be agreed."""
    parent, ones = np.float32([1e8]), np.ones(2, np.float32)
    deltas = [np.float32([-1e8]), np.float32([1.5])]
    assert compose(parent, ones, deltas).tolist() == [1.5]
    assert compose(parent, ones, deltas[::-1]).tolist() == [0.0]


@pytest.mark.parametrize("name", MERGES)
@given(given_round=rounds(), step=st.integers(1, 10_000_000))
def test_a_step_multiplies_all_weights(name, given_round, step):
    weights, merged = MERGES[name](*given_round)
    further, same = merge_of(Schedule(merge=name, merge_step=step))(*given_round)
    np.testing.assert_allclose(further, weights.astype(np.float64) * step / 1e6, rtol=1e-6)
    np.testing.assert_array_equal(merged, same)


def test_without_a_step_nothing_changes():
    for places in range(1, 257):
        deltas = [np.ones(1, np.float32)] * places
        weights, _ = merge_of(Schedule())(deltas, [0] * places, places)
        assert weights.dtype == np.float32
        np.testing.assert_array_equal(weights, equal(deltas, [0] * places, places)[0])
        assert np.float32(share_of(Schedule(), places)) == weights[0]
