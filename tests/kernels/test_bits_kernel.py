"""Bit-pattern kernels against their NumPy twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relayjax.kernels import bits, bits_reference

PAIRS = hnp.arrays(np.uint32, st.tuples(st.just(2), st.integers(0, 70)), elements=st.integers(0, 2**32 - 1))


@settings(deadline=None)  # the first call compiles
@given(PAIRS)
def test_difference_of_any_patterns_is_undone(patterns):
    old, new = patterns.view(np.float32)
    planes, expected = np.empty((2, 4, old.size), np.uint8)
    bits.split_difference(old, new, planes)
    bits_reference.split_difference(old, new, expected)
    np.testing.assert_array_equal(planes, expected)
    for kernel in (bits, bits_reference):
        again = np.empty_like(old)
        kernel.join_difference(planes, old, again)
        np.testing.assert_array_equal(again.view(np.uint32), new.view(np.uint32))
    in_place = old.copy()
    bits.join_difference(planes, in_place, in_place)
    np.testing.assert_array_equal(in_place.view(np.uint32), new.view(np.uint32))


def test_small_differences_leave_the_upper_planes_zero():
    old = np.linspace(-2, 2, 100, dtype=np.float32)
    new = (old.view(np.int32) + np.resize([-3, 0, 5], old.size).astype(np.int32)).view(np.float32)
    planes = np.empty((4, old.size), np.uint8)
    bits.split_difference(old, new, planes)
    assert planes[0].tolist() == np.resize([5, 0, 10], old.size).tolist()
    assert not planes[1:].any()


@pytest.mark.parametrize("wrong", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", [0, 4095, 4096, 9999])
def test_first_value_that_is_not_finite_is_found(wrong, index):
    x = np.full(10_000, np.finfo(np.float32).max, np.float32)
    assert bits.first_nonfinite(x) == bits_reference.first_nonfinite(x) == -1
    x[index:] = wrong
    assert bits.first_nonfinite(x) == bits_reference.first_nonfinite(x) == index


def test_an_empty_vector_is_finite():
    assert bits.first_nonfinite(np.empty(0, np.float32)) == -1
