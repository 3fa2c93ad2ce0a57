"""Error feedback: what a payload leaves out arrives later, and no codec that needs it runs without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relayjax import codec
from relayjax.codec import feedback
from relayjax.errors import ConfigError, FormatError

NEEDY = [name for name in codec.NAMES if codec.get(name).needs_feedback]
FREE = [name for name in codec.NAMES if not codec.get(name).needs_feedback]
LARGEST = np.finfo(np.float32).max


def test_sparse_and_sign_codecs_need_it_and_no_others():
    assert set(NEEDY) == {"sign", "top_percent", "top_permille"}


@pytest.mark.parametrize("name", NEEDY)
def test_a_codec_that_needs_it_refuses_to_encode_without(name):
    zeros = np.zeros(10, np.float32)
    with pytest.raises(ConfigError, match="feedback"):
        codec.get(name).encode(zeros, zeros)
    assert feedback.encode(codec.get(name), zeros, zeros, None).residual is not None


@pytest.mark.parametrize("name", FREE)
def test_others_encode_as_they_do_alone_and_keep_no_residual(name):
    parent, child = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    c = codec.get(name)
    encoded = feedback.encode(c, parent, child, None)
    assert encoded.payload == c.encode(parent, child)
    np.testing.assert_array_equal(encoded.child, c.apply(encoded.payload, parent))
    assert encoded.residual is None


@pytest.mark.parametrize("name", codec.NAMES)
@settings(deadline=None)  # the first call compiles
@given(
    vectors=hnp.arrays(
        np.float32, st.tuples(st.just(3), st.integers(1, 70)), elements=st.floats(-1e6, 1e6, width=32)
    )
)
def test_the_residual_is_what_the_payload_leaves_out(name, vectors):
    parent, child, residual = vectors
    given_vectors = vectors.copy()
    c = codec.get(name)
    encoded = feedback.encode(c, parent, child, residual)
    assert encoded.payload == c.encode_once(parent, child + residual)
    np.testing.assert_array_equal(encoded.child, c.apply(encoded.payload, parent))
    np.testing.assert_array_equal(encoded.residual, (child + residual) - encoded.child)
    np.testing.assert_array_equal(vectors, given_vectors)


@pytest.mark.parametrize("name", NEEDY)
def test_steady_steps_arrive_in_the_end(name):
    rng = np.random.default_rng(0)
    step = rng.standard_normal(1000).astype(np.float32)
    theta, residual, legs = np.zeros_like(step), None, 300
    for _ in range(legs):
        encoded = feedback.encode(codec.get(name), theta, theta + step, residual)
        theta, residual = encoded.child, encoded.residual
    assert residual is not None
    np.testing.assert_allclose(theta + residual, legs * step, rtol=1e-3, atol=1e-3)
    # Without feedback the relative error would stay that of the first leg: at least 0.4 for every such codec.
    if name != "top_permille":  # one value a leg: 300 legs do not reach every one of the thousand
        assert np.linalg.norm(residual) < 0.3 * np.linalg.norm(legs * step)


def test_residuals_of_another_size_or_that_overflow_are_refused():
    c = codec.get("sign")
    large = np.full(10, LARGEST)
    with pytest.raises(FormatError):
        feedback.encode(c, large, large, np.zeros(9, np.float32))
    with pytest.raises(codec.NonFiniteError, match=r"child \+ residual"):
        feedback.encode(c, large, large, large)
