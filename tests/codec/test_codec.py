"""The contract of every codec, and what each promises beyond it."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relayjax import codec
from relayjax.codec.base import HEADER
from relayjax.errors import ConfigError, FormatError

SIZE = 100
# The largest error of a value in units of the largest one anywhere. Signs: s is at most 4/3 of a mean.
ERRORS = {"mxint8": 1 / 64, "mxfp4": 1 / 4, "sign": 4 / 3, "top_percent": 1, "top_permille": 1}
LARGEST = np.finfo(np.float32).max

LOSSY = [name for name in codec.NAMES if name != "lossless"]
every_codec = pytest.mark.parametrize("c", [codec.get(name) for name in codec.NAMES], ids=codec.NAMES)
# Below half the largest float32, so that no difference overflows.
VECTORS = hnp.arrays(
    np.float32,
    st.tuples(st.just(2), st.integers(1, 70)),
    elements=st.floats(-(2.0**126), 2.0**126, width=32),
)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    parent = rng.standard_normal(SIZE).astype(np.float32)
    return parent, parent + (0.01 * rng.standard_normal(SIZE)).astype(np.float32)


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return bool(np.array_equal(left.view(np.uint32), right.view(np.uint32)))


@every_codec
@settings(deadline=None)  # the first call compiles
@given(vectors=VECTORS)
def test_contract(c, vectors):
    parent, child = vectors
    payload = c.encode_once(parent, child)
    assert payload == c.encode_once(parent.copy(), child.copy())
    assert len(payload) <= c.max_size(parent.size)
    seen = c.apply(payload, parent)
    assert seen.dtype == np.float32
    delta = c.decode(payload, parent)
    if c.name == "lossless":
        assert same_bits(seen, child)
        assert np.array_equal(delta, child - parent)
    else:
        assert same_bits(seen, np.where(delta == 0, parent, parent + delta))
        largest = np.abs(child - parent).max()
        error = np.abs(delta.astype(np.float64) - (child - parent)).max()
        assert error <= max(largest * ERRORS[c.name], 2.0**-126)
        zero = np.zeros_like(parent)
        assert c.encode_once(zero, delta) == payload  # one payload for each delta that the format can express
    in_place = parent.copy()
    assert c.apply(payload, in_place, out=in_place) is in_place
    assert same_bits(in_place, seen)


@every_codec
def test_an_unchanged_parent_stays_the_same_bits_and_its_delta_is_zero(c):
    parent = np.float32([0.0, -0.0, 1.5, -(2.0**-149), LARGEST, -LARGEST] * 7)
    payload = c.encode_once(parent, parent.copy())
    assert same_bits(c.apply(payload, parent), parent)
    assert not c.decode(payload, parent).any()


@every_codec
@pytest.mark.parametrize("size", [32, 40_000, (1 << 18) + 33])
def test_sizes_beyond_one_chunk(c, size):
    parent, child = np.random.default_rng(1).standard_normal((2, size)).astype(np.float32)
    payload = c.encode_once(parent, child)
    assert len(payload) <= c.max_size(size)
    out = np.empty_like(parent)
    assert c.apply(payload, parent, out=out) is out
    np.testing.assert_allclose(out, child, atol=8 * ERRORS.get(c.name, 0))
    assert same_bits(c.decode(payload, parent, out=out), c.decode(payload, parent))


@every_codec
def test_every_flipped_bit_of_the_header_is_refused(c, pair):
    payload = bytearray(c.encode_once(*pair))
    for bit in range(8 * HEADER.size):
        payload[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            c.apply(bytes(payload), pair[0])
        payload[bit // 8] ^= 1 << bit % 8
    c.apply(bytes(payload), pair[0])


@every_codec
def test_missing_and_trailing_bytes_are_refused(c, pair):
    payload = c.encode_once(*pair)
    for wrong in (b"", payload[:10], payload[:-1], payload + b"\0", payload + payload):
        for call in (c.apply, c.decode):
            with pytest.raises(FormatError):
                call(wrong, pair[0])


@every_codec
def test_a_parent_of_another_size_and_another_codec_are_refused(c, pair):
    payload = c.encode_once(*pair)
    with pytest.raises(FormatError, match="another model"):
        c.apply(payload, pair[0][:-1])
    for other in (codec.get(name) for name in codec.NAMES):
        if other.code != c.code:
            with pytest.raises(FormatError, match="codec number"):
                other.apply(payload, pair[0])


@every_codec
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_values_that_are_not_finite_are_refused_with_their_index(c, wrong, which):
    vectors = np.zeros((2, (1 << 18) + 50), np.float32)
    vectors[which, [-3, -1]] = wrong
    with pytest.raises(codec.NonFiniteError) as caught:
        c.encode_once(*vectors)
    assert caught.value.index == vectors.shape[1] - 3


@pytest.mark.parametrize("name", LOSSY)
def test_a_difference_that_overflows_is_refused(name):
    parent, child = np.zeros((2, 40), np.float32)
    parent[35], child[35] = -LARGEST, LARGEST
    with pytest.raises(codec.NonFiniteError) as caught:
        codec.get(name).encode_once(parent, child)
    assert caught.value.index == 35


def test_a_difference_that_overflows_is_no_matter_to_lossless():
    parent, child = np.zeros((2, 40), np.float32)
    parent[35], child[35] = -LARGEST, LARGEST
    lossless = codec.get("lossless")
    payload = lossless.encode(parent, child)
    assert same_bits(lossless.apply(payload, parent), child)
    with pytest.raises(codec.NonFiniteError):
        lossless.decode(payload, parent)


@pytest.mark.parametrize(
    ("name", "step", "start"), [*((name, LARGEST, LARGEST) for name in LOSSY), ("lossless", 1.0, 2.0)]
)
def test_a_payload_that_makes_the_child_overflow_is_refused(name, step, start):
    zero, target, other = np.zeros((3, 40), np.float32)
    target[35], other[35] = step, start
    if name == "sign":
        target[:], other[:35] = step, -start  # every value moves
    # Well-formed, but applied to a parent it was not made from.
    payload = codec.get(name).encode_once(zero, target)
    with pytest.raises(codec.NonFiniteError) as caught:
        codec.get(name).apply(payload, other)
    assert caught.value.index == 35


@every_codec
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(SIZE),
        np.zeros((2, SIZE // 2), np.float32),
        np.zeros(2 * SIZE, np.float32)[::2],
        np.zeros(0, np.float32),
    ],
    ids=["float64", "matrix", "strided", "empty"],
)
def test_other_than_flat_float32_is_refused(c, wrong):
    with pytest.raises(FormatError, match="flatten"):
        c.encode_once(wrong, wrong)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="mxint8, lossless"):
        codec.get("mxint9")


@pytest.mark.parametrize("announced", [4 * SIZE - 1, 4 * SIZE + 1, 1 << 28])
def test_lossless_refuses_a_frame_of_another_size_before_it_is_decompressed(announced, monkeypatch):
    def forbidden(*_args, **_kwargs):
        raise AssertionError("decompressed")

    monkeypatch.setattr(zstandard, "ZstdDecompressor", forbidden)
    c = codec.get("lossless")
    body = zstandard.ZstdCompressor().compress(bytes(announced))
    with pytest.raises(FormatError, match="announces"):
        c.apply(c._header(SIZE, len(body)) + body, np.zeros(SIZE, np.float32))


def test_lossless_refuses_a_frame_that_holds_more_or_less_than_it_announces():
    c = codec.get("lossless")
    for held in (4 * SIZE - 4, 1 << 20):
        body = bytearray(
            zstandard.ZstdCompressor().compress(bytes(1 << 20) if held > 4 * SIZE else bytes(held))
        )
        honest = zstandard.ZstdCompressor().compress(bytes(4 * SIZE))
        # A frame's header ends where its first block begins: put the honest one before the other's blocks.
        forged = honest[: zstandard.frame_header_size(honest)] + body[zstandard.frame_header_size(body) :]
        with pytest.raises(FormatError, match="Zstandard"):
            c.apply(c._header(SIZE, len(forged)) + forged, np.zeros(SIZE, np.float32))


def test_lossless_refuses_a_second_frame():
    c = codec.get("lossless")
    frame = zstandard.ZstdCompressor().compress(bytes(4 * SIZE))
    with pytest.raises(FormatError, match="Zstandard"):
        c.apply(c._header(SIZE, 2 * len(frame)) + frame + frame, np.zeros(SIZE, np.float32))
