"""Dot products: the same bits as the reference, and as near to the true sum as float64 can be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relayjax.kernels import products, products_reference, threads

PAIRS = st.integers(0, 1300).flatmap(
    lambda size: st.tuples(
        *(
            hnp.arrays(np.float32, size, elements=st.floats(-(2.0**60), 2.0**60, width=32), fill=st.nothing())
            for _ in range(2)
        )
    )
)


@settings(deadline=None, max_examples=60)  # the first call compiles
@given(pair=PAIRS)
@example(pair=(np.zeros(0, np.float32), np.zeros(0, np.float32)))
@example(pair=(np.full(513, 3.0e38, np.float32), np.full(513, -3.0e38, np.float32)))
@example(pair=(np.full(512, 1e-45, np.float32), np.full(512, 1e-45, np.float32)))
def test_the_kernel_gives_the_bits_of_the_reference(pair):
    a, b = pair
    assert products.dot(a, b) == products_reference.dot(a, b)


@pytest.mark.parametrize("size", [1, 511, 512, 513, 19_210, 1_000_003])
def test_the_sum_is_the_true_one_to_float64(size):
    rng = np.random.default_rng(size)
    a, b = rng.standard_normal((2, size), np.float32)
    exact = math.fsum((a.astype(np.float64) * b.astype(np.float64)).tolist())
    magnitude = float(np.abs(a.astype(np.float64) * b).sum())
    assert abs(products.dot(a, b) - exact) <= 1e-13 * magnitude


def test_other_vectors_are_refused_and_views_are_read_as_they_are():
    x = np.random.default_rng(0).standard_normal(1300, np.float32)
    assert products.dot(x[::2], x[1::2]) == products.dot(x[::2].copy(), x[1::2].copy())
    for other in (x.astype(np.float64), x[:-1], x[None]):
        with pytest.raises(ValueError, match="not two float32 vectors alike"):
            products.dot(x, other)


@pytest.mark.parametrize("parallel", [False, True])
def test_many_rows_are_what_each_is(parallel, monkeypatch):
    monkeypatch.setattr(threads, "PARALLEL_FROM", 1 if parallel else 1 << 62)
    rows = np.random.default_rng(0).standard_normal((7, 1000), np.float32)
    found = products.dots(list(rows), rows[3])
    assert found.dtype == np.float64
    assert found.tolist() == [products.dot(row, rows[3]) for row in rows]
    assert products.dots([], rows[3]).shape == (0,)
