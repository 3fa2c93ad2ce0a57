"""The Numba kernels against the NumPy reference and against the properties MXINT8 promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relayjax.kernels import buffers, mxint8, mxint8_reference, threads

SIZES = st.integers(0, 130) | st.integers(500, 1100)  # a tile of whole blocks has 512


def from_bits(patterns: np.ndarray) -> np.ndarray:
    """Reads patterns as float32 and makes every NaN or infinity finite by clearing an exponent bit."""
    return np.where(patterns & 0x7F800000 == 0x7F800000, patterns ^ 0x40000000, patterns).view(np.float32)


PATTERNS = hnp.arrays(np.uint32, SIZES, elements=st.integers(0, 2**32 - 1)).map(from_bits)
# Values of like size in a block, or most elements round to zero.
NARROW = st.builds(
    lambda fractions, exponent: np.ldexp(fractions, exponent).astype(np.float32),
    hnp.arrays(np.float64, SIZES, elements=st.floats(-1, 1)),
    st.integers(-150, 127),
)
FINITE = PATTERNS | NARROW
SUBNORMAL = np.float32(2.0**-149)
LARGEST = np.finfo(np.float32).max
TIES = np.ldexp(np.float32([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 127.75, -127.75, 100]), -6).astype(
    np.float32
)


def encoded(x: np.ndarray, kernel=mxint8) -> tuple[np.ndarray, np.ndarray]:
    scales = np.full(mxint8.block_count(x.size), 77, np.uint8)
    elements = np.full(x.size, 77, np.int8)
    kernel.encode(x, scales, elements)
    return scales, elements


def decoded(scales: np.ndarray, elements: np.ndarray, kernel=mxint8) -> np.ndarray:
    out = np.full(elements.size, np.nan, np.float32)
    kernel.decode(scales, elements, out)
    return out


def summed(scales: np.ndarray, elements: np.ndarray, base: np.ndarray, kernel=mxint8) -> np.ndarray:
    out = np.full(base.size, np.nan, np.float32)
    kernel.add(scales, elements, base, out)
    return out


def assert_same_bits(left: np.ndarray, right: np.ndarray) -> None:
    np.testing.assert_array_equal(left.view(np.uint8), right.view(np.uint8))


@settings(deadline=None)  # the first call compiles
@given(FINITE)
@example(TIES)
@example(np.float32([LARGEST, -LARGEST, 1.0]))
@example(np.float32([SUBNORMAL, -SUBNORMAL, 0.0, -0.0]))
@example(np.float32([2.0**-126, 2.0**-127, 2.0**-133]))
@example(np.zeros(33, np.float32))
def test_kernel_and_reference_agree_bit_for_bit(x):
    scales, elements = encoded(x)
    expected_scales, expected_elements = encoded(x, mxint8_reference)
    assert_same_bits(scales, expected_scales)
    assert_same_bits(elements, expected_elements)
    assert_same_bits(decoded(scales, elements), decoded(scales, elements, mxint8_reference))
    base = x[::-1].copy()
    expected = summed(scales, elements, base, mxint8_reference)
    assert_same_bits(summed(scales, elements, base), expected)
    mxint8.add(scales, elements, base, base)
    assert_same_bits(base, expected)


@settings(deadline=None)  # the first call compiles
@given(FINITE)
@example(TIES)
@example(np.float32([LARGEST]))
def test_error_is_at_most_half_a_step_and_below_one_where_clamped(x):
    scales, elements = encoded(x)
    step = np.repeat(np.ldexp(1.0, scales.astype(int) - 133), mxint8.BLOCK)[: x.size]
    error = np.abs(x.astype(np.float64) - decoded(scales, elements))
    clamped = np.abs(x.astype(np.float64)) > 127.5 * step
    assert np.all(error <= np.where(clamped, step, step / 2))
    assert not np.any(clamped & (error == step))


@settings(deadline=None)  # the first call compiles
@given(FINITE)
def test_encoding_is_canonical_and_a_decoded_vector_encodes_to_itself(x):
    scales, elements = encoded(x)
    assert mxint8.first_noncanonical(scales, elements, elements.size) == -1
    again_scales, again_elements = encoded(decoded(scales, elements))
    assert_same_bits(again_scales, scales)
    assert_same_bits(again_elements, elements)


@settings(deadline=None)  # the first call compiles
@given(
    hnp.arrays(np.uint8, 3, elements=st.integers(0, 255)),
    hnp.arrays(np.int8, 70, elements=st.sampled_from([-128, -127, -64, -63, 0, 1, 63, 64, 127])),
)
def test_canonical_means_that_encoding_gives_it_back(scales, elements):
    wrong = mxint8.first_noncanonical(scales, elements, elements.size)
    assert wrong == mxint8_reference.first_noncanonical(scales, elements, elements.size)
    if np.any(scales == mxint8.NAN_CODE):
        assert wrong >= 0
        return
    with np.errstate(over="ignore"):
        again = encoded(decoded(scales, elements, mxint8_reference))
    assert (wrong == -1) == all(map(np.array_equal, again, (scales, elements)))


@pytest.mark.parametrize(
    ("peak", "code", "element"),
    [
        (1.0, 127, 64),
        (1.984375, 127, 127),
        (1.999, 127, 127),
        (2.0**-127, 0, 64),
        (2.0**-149, 0, 0),
        (LARGEST, 254, 127),
    ],
)
def test_scale_is_the_exponent_of_the_largest_magnitude(peak, code, element):
    scales, elements = encoded(np.float32([0.0, -peak]))
    assert (scales.tolist(), elements.tolist()) == ([code], [0, -element])


def test_zero_elements_keep_the_sign_of_a_negative_zero():
    base = np.float32([-0.0, 0.0, -1.0, -0.0])
    scales, elements = encoded(np.float32([0.0, -0.0, 1e-9, 1.0]))
    assert_same_bits(summed(scales, elements, base), np.float32([-0.0, 0.0, -1.0, 1.0]))


@pytest.mark.parametrize("wrong", [np.nan, -np.nan, np.inf, -np.inf])
def test_a_block_with_a_value_that_is_not_finite_is_marked(wrong):
    x = np.ones(96, np.float32)
    x[40] = wrong
    for kernel in (mxint8, mxint8_reference):
        scales, elements = encoded(x, kernel)
        assert scales.tolist() == [127, mxint8.NAN_CODE, 127]
        assert not elements[32:64].any()


@pytest.mark.parametrize("stream", [False, True])
def test_a_tile_rounds_ties_and_bounds_elements_as_a_block_does(stream, monkeypatch):
    """Eighths of a step up to the largest that a block can hold, and their neighbours, in whole tiles."""
    monkeypatch.setattr(threads, "STREAM_FROM", 1 if stream else 1 << 62)
    eighths = np.arange(-1023, 1024).astype(np.float32) / 8
    around = [np.nextafter(eighths, np.float32(bound)) for bound in (-200, 200)]
    values = np.clip(np.concatenate([eighths, *around]), -127.99999, 127.99999).astype(np.float32)
    peaks = np.float32([64, 100, 127.4, 127.5, 127.99999])
    rows = np.resize(values, (-(-values.size // 31) * 5 // 16 + 1) * 16 * 31).reshape(-1, 31)
    x = np.concatenate([np.resize(peaks, len(rows))[:, None], rows], axis=1).reshape(-1)
    x *= np.float32(2.0**-7) * np.repeat(np.float32(2.0) ** np.resize([0, -60, 60, 3], len(rows)), 32)
    kept = buffers.empty(x.size, np.int8), buffers.empty(mxint8.block_count(x.size))
    assert x.size % 512 == 0
    assert threads.streams(kept[0], x.size, buffers.LINE) == stream
    mxint8.encode(x, kept[1], kept[0])
    for left, right in zip(kept[::-1], encoded(x, mxint8_reference), strict=True):
        assert_same_bits(left, right)
    assert np.abs(kept[0]).max() == 127


def test_threads_change_nothing(monkeypatch):
    x = np.random.default_rng(0).standard_normal(32 * 1000 + 5).astype(np.float32)
    alone = encoded(x)
    monkeypatch.setattr(threads, "PARALLEL_FROM", 1)
    threaded = encoded(x)
    for left, right in zip(alone, threaded, strict=True):
        assert_same_bits(left, right)
    assert_same_bits(decoded(*threaded), decoded(*alone, mxint8_reference))
    assert_same_bits(summed(*threaded, x), summed(*alone, x, mxint8_reference))
