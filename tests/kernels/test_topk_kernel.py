"""The top-k kernels against their NumPy references: exact, ties by index, however the result was found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relayjax.kernels import threads, topk, topk_reference

PATTERNS = hnp.arrays(np.uint32, st.integers(1, 300), elements=st.integers(0, 2**32 - 1)).map(
    lambda patterns: patterns.view(np.float32)
)
FEW = hnp.arrays(np.float32, st.integers(1, 300), elements=st.sampled_from([0, -0.0, 1, -1, 2, 2.0**-149]))
VECTORS = PATTERNS | FEW


def selected(x: np.ndarray, k: int, kernel=topk) -> tuple[np.ndarray, np.ndarray]:
    indices, values = np.full(k, -7, np.int64), np.full(k, 7, np.float32)
    count = kernel.select(x, k, indices, values)
    assert np.all(indices[count:] == -7) and np.all(values[count:] == 7)
    return indices[:count], values[:count]


def assert_selects_as_the_reference(x: np.ndarray, k: int) -> None:
    indices, values = selected(x, k)
    expected_indices, expected_values = selected(x, k, topk_reference)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(values.view(np.uint32), expected_values.view(np.uint32))


@settings(deadline=None)  # the first call compiles
@given(x=VECTORS, data=st.data())
def test_selection_of_any_patterns_agrees_with_the_reference(x, data):
    assert_selects_as_the_reference(x, data.draw(st.integers(1, x.size)))


def heavy(size: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal(size) ** 5).astype(np.float32)


LARGE = {
    "normal": lambda n: np.random.default_rng(0).standard_normal(n).astype(np.float32),
    "heavy tails": heavy,
    "ties": lambda n: np.round(heavy(n) * 4).astype(np.float32),
    "one value": lambda n: np.ones(n, np.float32),
    "zeros": lambda n: np.zeros(n, np.float32),
    "few not zero": lambda n: np.where(np.arange(n) % 1000 == 7, heavy(n), 0).astype(np.float32),
    "sorted": lambda n: np.sort(heavy(n)),
    "all in one place": lambda n: np.where(np.arange(n) < n // 50, heavy(n) + 100, heavy(n) / 1000).astype(
        np.float32
    ),
}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("parallel", [False, True])
def test_selection_from_large_vectors_agrees_with_the_reference(kind, parallel, monkeypatch):
    size = (1 << 18) + 77
    monkeypatch.setattr(threads, "PARALLEL_FROM", 1 if parallel else size + 1)
    x = LARGE[kind](size)
    for k in (1, 100, size // 100, size // 3, size - 5, size):
        assert_selects_as_the_reference(x, k)


def test_a_sample_that_misleads_is_found_out(monkeypatch):
    x = LARGE["normal"](topk.SAMPLE_FROM)
    ways = []

    def spy(bits, sample, mislead):
        ways.append(mislead)
        sample[:] = np.float32(mislead).view(np.int32)

    for mislead in (1e30, 1e-30):  # nothing reaches the first, everything the second
        monkeypatch.setattr(topk, "_sample", lambda bits, sample, mislead=mislead: spy(bits, sample, mislead))
        assert_selects_as_the_reference(x, 1000)
    assert ways == [1e30, 1e-30]


@settings(deadline=None)  # the first call compiles
@given(x=VECTORS, wrong=st.sampled_from([np.nan, -np.nan, np.inf, -np.inf]), data=st.data())
def test_what_is_not_finite_is_always_selected(x, wrong, data):
    x[data.draw(st.integers(0, x.size - 1))] = wrong
    assert not np.isfinite(selected(x, 1)[1]).all()


INDICES = st.sets(st.integers(0, 1 << 40) | st.integers(0, 300), max_size=50).map(
    lambda places: np.array(sorted(places), np.int64)
)


@settings(deadline=None)  # the first call compiles
@given(INDICES, st.integers(0, 1000))
def test_gaps_agree_with_the_reference_and_are_well_formed(indices, beyond):
    size = int(indices.max(initial=-1)) + 1 + beyond
    bound = topk.gaps_bound(indices.size, size)
    assert bound == topk_reference.gaps_bound(indices.size, size)
    out, expected = np.zeros((2, bound), np.uint8)
    length = topk.write_gaps(indices, out)
    assert length == topk_reference.write_gaps(indices, expected)
    np.testing.assert_array_equal(out, expected)
    for kernel in (topk, topk_reference):
        assert kernel.first_malformed(out[:length], indices.size, size) == -1
        assert kernel.first_malformed(out[:length], indices.size + 1, size) == indices.size
        if indices.size:
            last = indices.size - 1
            assert kernel.first_malformed(out[:length], last, size) == last
            assert kernel.first_malformed(out[: length - 1], indices.size, size) == last
            assert kernel.first_malformed(out[:length], indices.size, int(indices[-1])) == last


@settings(deadline=None)  # the first call compiles
@given(
    hnp.arrays(np.uint8, st.integers(0, 20), elements=st.sampled_from([0, 1, 127, 128, 129, 255])),
    st.integers(0, 12),
    st.sampled_from([0, 1, 5, 200, 1 << 40, 1 << 62]),
)
def test_bytes_are_well_formed_only_if_writing_gives_them_back(gaps, count, size):
    wrong = topk.first_malformed(gaps, count, size)
    assert wrong == topk_reference.first_malformed(gaps, count, size)
    if wrong == -1 and size <= 200:
        out, expected = np.zeros((2, size), np.float32)
        ones = np.ones(count, np.float32)
        assert topk.scatter_add(gaps, ones, out) == topk_reference.scatter_add(gaps, ones, expected) == -1
        np.testing.assert_array_equal(out, expected)
        again = np.zeros(topk.gaps_bound(count, size), np.uint8)
        length = topk.write_gaps(np.flatnonzero(out), again)
        np.testing.assert_array_equal(again[:length], gaps)


@settings(deadline=None)  # the first call compiles
@given(
    hnp.arrays(np.float32, st.tuples(st.just(2), st.integers(1, 300)), elements=st.floats(width=32)),
    st.data(),
)
def test_scattered_sums_agree_with_the_reference(vectors, data):
    base, steps = vectors
    k = data.draw(st.integers(1, base.size))
    indices, values = selected(steps, k)
    gaps = np.zeros(topk.gaps_bound(k, base.size), np.uint8)
    gaps = gaps[: topk.write_gaps(indices, gaps)]
    expected = base.copy()
    wrong = topk_reference.scatter_add(gaps, values, expected)
    assert topk.scatter_add(gaps, values, base) == wrong
    assert np.array_equal(base, expected, equal_nan=True)
