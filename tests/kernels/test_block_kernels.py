"""MXFP4 and sign kernels against their NumPy references and against what the formats promise."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relayjax.kernels import (
    buffers,
    mxfp4,
    mxfp4_reference,
    sign,
    sign_reference,
    threads,
)

TWINS = {"mxfp4": (mxfp4, mxfp4_reference), "sign": (sign, sign_reference)}
every_format = pytest.mark.parametrize(("kernel", "reference"), TWINS.values(), ids=TWINS)

SIZES = st.integers(0, 130) | st.integers(250, 1100)  # a tile of MXFP4 has 512, a block of signs 256
SUBNORMAL = np.float32(2.0**-149)
LARGEST = np.finfo(np.float32).max


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
# Halves, quarters and eighths: every second one is a tie of MXFP4.
TIED = st.builds(
    lambda numbers, exponent: np.ldexp(numbers, exponent).astype(np.float32),
    hnp.arrays(np.int64, SIZES, elements=st.integers(-64, 64)),
    st.integers(-149, 120),
)
FINITE = PATTERNS | NARROW | TIED


def encoded(x: np.ndarray, kernel: ModuleType) -> tuple[np.ndarray, np.ndarray]:
    scales = np.full(kernel_of(kernel).block_count(x.size), 77, np.uint8)
    elements = np.full(kernel_of(kernel).element_count(x.size), 77, np.uint8)
    kernel.encode(x, scales, elements)
    return scales, elements


def kernel_of(module: ModuleType) -> ModuleType:
    return next(kernel for kernel, reference in TWINS.values() if module in (kernel, reference))


def decoded(scales: np.ndarray, elements: np.ndarray, size: int, kernel: ModuleType) -> np.ndarray:
    out = np.full(size, np.nan, np.float32)
    kernel.decode(scales, elements, out)
    return out


def summed(scales: np.ndarray, elements: np.ndarray, base: np.ndarray, kernel: ModuleType) -> np.ndarray:
    out = np.full(base.size, np.nan, np.float32)
    kernel.add(scales, elements, base, out)
    return out


def assert_same_bits(left: np.ndarray, right: np.ndarray) -> None:
    np.testing.assert_array_equal(left.view(np.uint8), right.view(np.uint8))


@every_format
@settings(deadline=None)  # the first call compiles
@given(x=FINITE)
@example(x=np.float32([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, -0.25, -5, 6.9, 7.9, 4]))
@example(x=np.float32([LARGEST, -LARGEST, 1.0]))
@example(x=np.full(256, LARGEST))
@example(x=np.float32([SUBNORMAL, -SUBNORMAL, 0.0, -0.0]))
@example(x=np.float32([2.0**-125, 2.0**-126, 2.0**-127, -(2.0**-129)]))
@example(x=np.zeros(257, np.float32))
@example(x=-np.zeros(33, np.float32))
def test_kernel_and_reference_agree_bit_for_bit(kernel, reference, x):
    scales, elements = encoded(x, kernel)
    expected_scales, expected_elements = encoded(x, reference)
    assert_same_bits(scales, expected_scales)
    assert_same_bits(elements, expected_elements)
    values = decoded(scales, elements, x.size, kernel)
    assert_same_bits(values, decoded(scales, elements, x.size, reference))
    base = x[::-1].copy()
    expected = summed(scales, elements, base, reference)
    assert_same_bits(summed(scales, elements, base, kernel), expected)
    kernel.add(scales, elements, base, base)
    assert_same_bits(base, expected)


@every_format
@settings(deadline=None)  # the first call compiles
@given(x=FINITE)
def test_encoding_is_canonical_and_a_decoded_vector_encodes_to_itself(kernel, reference, x):
    scales, elements = encoded(x, kernel)
    assert kernel.first_noncanonical(scales, elements, x.size) == -1
    again_scales, again_elements = encoded(decoded(scales, elements, x.size, reference), kernel)
    assert_same_bits(again_scales, scales)
    assert_same_bits(again_elements, elements)


@every_format
@settings(deadline=None)  # the first call compiles
@given(size=st.sampled_from([1, 31, 70, 255, 300]), data=st.data())
def test_canonical_means_that_encoding_gives_it_back(kernel, reference, size, data):
    codes = st.sampled_from([0, 0, 1, 127, 252, 253, 254, 255])
    scales = data.draw(hnp.arrays(np.uint8, kernel.block_count(size), elements=codes))
    packed = st.sampled_from([0, 0, 0x01, 0x08, 0x60, 0x06, 0xF0, 0x55, 0x80])
    elements = data.draw(hnp.arrays(np.uint8, kernel.element_count(size), elements=packed))
    wrong = kernel.first_noncanonical(scales, elements, size)
    assert wrong == reference.first_noncanonical(scales, elements, size)
    if np.any(scales == kernel.NAN_CODE):
        assert wrong >= 0
        return
    with np.errstate(over="ignore"):
        again = encoded(decoded(scales, elements, size, reference), kernel)
    assert (wrong == -1) == all(map(np.array_equal, again, (scales, elements)))


@settings(deadline=None)  # the first call compiles
@given(FINITE)
def test_mxfp4_finds_the_nearest_value_and_clamps_above_six(x):
    scales, elements = encoded(x, mxfp4)
    unit = np.repeat(np.ldexp(1.0, scales.astype(int) - 127), mxfp4.BLOCK)[: x.size]
    exact = x.astype(np.float64) / unit
    error = np.abs(decoded(scales, elements, x.size, mxfp4) / unit - exact)
    grid = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    nearest = np.abs(np.abs(exact)[:, None] - grid).min(axis=1, initial=np.inf)
    np.testing.assert_array_equal(error, nearest)
    assert not np.any(np.abs(exact) >= 8)


@pytest.mark.parametrize(
    ("value", "code"),
    [(0.25, 0), (0.75, 2), (1.25, 2), (1.75, 4), (2.5, 4), (3.5, 6), (5.0, 6), (5.5, 7), (7.9, 7), (-0.5, 9)],
)
def test_mxfp4_rounds_ties_to_even_codes(value, code):
    scales, elements = encoded(np.float32([value, 4.0]), mxfp4)
    assert (scales.tolist(), elements.tolist()) == ([127], [code | 6 << 4])


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([1.0], 127),
        ([-1.49], 127),
        ([1.5], 128),
        ([0.75], 127),
        ([0.74], 126),
        ([1.0, 0.0], 126),
        ([2.0, 0.9, -0.1], 127),
        ([2.0**-126], 1),
        ([2.0**-127], 0),
        ([2.0**-149], 0),
        ([LARGEST], 254),
        ([0.0, -0.0], 0),
    ],
)
def test_the_scale_of_signs_is_the_power_of_two_that_serves_best(values, code):
    scales, elements = encoded(np.float32(values), sign)
    assert scales.tolist() == [code]
    assert elements.tolist() == [sum((value < 0) << i for i, value in enumerate(values)) if code else 0]


@settings(deadline=None)  # the first call compiles
@given(NARROW.filter(lambda x: 0 < x.size <= sign.BLOCK))
def test_no_other_power_of_two_is_much_closer_to_the_magnitudes(x):
    scales, _ = encoded(x, sign)
    magnitudes = np.abs(x.astype(np.float64))
    if 0 < scales[0] < 254:
        scale = np.ldexp(1.0, int(scales[0]) - 127)
        error, *others = (((magnitudes - s) ** 2).sum() for s in (scale, scale / 2, scale * 2))
        # Rounded down, magnitudes lose less than 2^-21 of the largest one each.
        assert error <= min(others) + 2.0**-19 * scale * magnitudes.max() * x.size


@every_format
@pytest.mark.parametrize("wrong", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [600, 512])
def test_a_block_with_a_value_that_is_not_finite_is_marked(kernel, reference, wrong, size):
    x = np.ones(size, np.float32)
    x[40] = wrong
    x[-1] = wrong
    for encoder in (kernel, reference):
        scales, elements = encoded(x, encoder)
        marked = {40 // kernel.BLOCK, (size - 1) // kernel.BLOCK}
        assert set(np.flatnonzero(scales == kernel.NAN_CODE)) == marked
        values = decoded(np.where(scales == kernel.NAN_CODE, 1, scales), elements, size, reference)
        assert np.all(values > -1)
        assert kernel.first_noncanonical(scales, elements, size) == min(marked)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tile_of_mxfp4_rounds_every_tie(stream, monkeypatch):
    """Sixteenths of a unit below 8 and their neighbours, so all ties, in whole tiles."""
    monkeypatch.setattr(threads, "STREAM_FROM", 1 if stream else 1 << 62)
    sixteenths = np.arange(-127, 128).astype(np.float32) / 16
    around = [np.nextafter(sixteenths, np.float32(bound)) for bound in (-9, 9)]
    values = np.concatenate([sixteenths, *around, np.float32([0.0, -0.0])])
    rows = np.resize(values, 16 * 31 * 8).reshape(-1, 31)
    x = np.concatenate([np.resize(np.float32([4, 5, 6.9, 7.99]), len(rows))[:, None], rows], axis=1).reshape(
        -1
    )
    x *= np.repeat(np.float32(2.0) ** np.resize([0, -60, 60, 3], len(rows)), 32)
    scales, elements = buffers.empty(mxfp4.block_count(x.size)), buffers.empty(mxfp4.element_count(x.size))
    assert x.size % 512 == 0
    assert threads.streams(elements, x.size, buffers.LINE) == stream
    mxfp4.encode(x, scales, elements)
    for left, right in zip((scales, elements), encoded(x, mxfp4_reference), strict=True):
        assert_same_bits(left, right)


@every_format
def test_threads_and_streaming_change_nothing(kernel, reference, monkeypatch):
    x = np.random.default_rng(0).standard_normal(1024 * 33 + 5).astype(np.float32)
    alone = encoded(x, kernel)
    monkeypatch.setattr(threads, "PARALLEL_FROM", 1)
    monkeypatch.setattr(threads, "STREAM_FROM", 1)
    threaded = encoded(x, kernel)
    for left, right in zip(alone, threaded, strict=True):
        assert_same_bits(left, right)
    assert_same_bits(decoded(*threaded, x.size, kernel), decoded(*alone, x.size, reference))
    assert_same_bits(summed(*threaded, x, kernel), summed(*alone, x, reference))
