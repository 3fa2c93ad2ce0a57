"""Encoding in XLA gives the bytes of the kernels and of their NumPy references."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relayjax import codec, on_device
from relayjax.codec import NonFiniteError
from relayjax.errors import FormatError
from relayjax.kernels import (
    mxfp4,
    mxfp4_reference,
    mxint8,
    mxint8_reference,
    sign,
    sign_reference,
)

TWINS = {
    "mxint8": (mxint8, mxint8_reference),
    "mxfp4": (mxfp4, mxfp4_reference),
    "sign": (sign, sign_reference),
}
every_encoder = pytest.mark.parametrize("name", on_device.ENCODERS)
SIZES = st.sampled_from([1, 33, 255, 256, 601])  # each is compiled once
SUBNORMAL = np.float32(2.0**-149)
LARGEST = np.finfo(np.float32).max


def from_bits(patterns: np.ndarray) -> np.ndarray:
    """Reads patterns as float32 and makes every NaN or infinity finite by clearing an exponent bit."""
    return np.where(patterns & 0x7F800000 == 0x7F800000, patterns ^ 0x40000000, patterns).view(np.float32)


WORDS = st.integers(0, 2**32 - 1)
PATTERNS = SIZES.flatmap(lambda n: hnp.arrays(np.uint32, n, elements=WORDS)).map(from_bits)
NARROW = st.builds(
    lambda fractions, exponent: np.ldexp(fractions, exponent).astype(np.float32),
    SIZES.flatmap(lambda n: hnp.arrays(np.float64, n, elements=st.floats(-1, 1))),
    st.integers(-150, 127),
)
TIED = st.builds(
    lambda numbers, exponent: np.ldexp(numbers, exponent).astype(np.float32),
    SIZES.flatmap(lambda n: hnp.arrays(np.int64, n, elements=st.integers(-256, 256))),
    st.integers(-149, 119),
)


def body(name: str, x: np.ndarray, module) -> np.ndarray:
    kernel, _ = TWINS[name]
    count = kernel.block_count(x.size)
    filled = np.full(count + kernel.element_count(x.size), 77, np.uint8)
    module.encode(x, filled[:count], filled[count:].view(kernel.ELEMENT))
    return filled


@every_encoder
@settings(deadline=None)  # the first call compiles
@given(x=PATTERNS | NARROW | TIED)
@example(x=np.float32([LARGEST] * 33))
@example(x=np.float32([SUBNORMAL]))
@example(x=np.float32([-SUBNORMAL] * 32 + [2.0**-133]))
@example(x=np.float32([2.0**-126, -(2.0**-127), SUBNORMAL] * 11))
@example(x=-np.zeros(255, np.float32))
def test_xla_kernel_and_reference_give_the_same_bytes(name, x):
    on_accelerator = np.asarray(on_device.ENCODERS[name](jnp.asarray(x)))
    for module in TWINS[name]:
        np.testing.assert_array_equal(on_accelerator, body(name, x, module))


@every_encoder
@pytest.mark.parametrize("wrong", [np.nan, -np.nan, np.inf, -np.inf])
def test_blocks_that_are_not_finite_are_marked_alike_and_refused(name, wrong):
    x = np.ones(601, np.float32)
    x[[300, 600]] = wrong
    encoded = np.asarray(on_device.ENCODERS[name](jnp.asarray(x)))
    np.testing.assert_array_equal(encoded, body(name, x, TWINS[name][0]))
    with pytest.raises(NonFiniteError) as caught:
        codec.get(name).wrap(encoded, x.size)
    assert caught.value.index == 300 // TWINS[name][0].BLOCK * TWINS[name][0].BLOCK


@every_encoder
def test_a_body_from_the_device_makes_the_payload_that_the_host_makes(name):
    delta = np.random.default_rng(0).standard_normal(601).astype(np.float32)
    encoded = np.asarray(on_device.ENCODERS[name](jnp.asarray(delta)))
    c = codec.get(name)
    assert c.wrap(encoded, delta.size) == c.encode_once(np.zeros_like(delta), delta)
    with pytest.raises(FormatError, match="cannot hold"):
        c.wrap(encoded[:-1], delta.size)
