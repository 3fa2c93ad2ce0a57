"""Digests of many small messages against the `blake3` package and the twin written for reading."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax.kernels import digests, digests_reference

BORDERS = (0, 1, 63, 64, 65, 127, 128, 1023, 1024, 1025, 2047, 2048, 2049, 3072, 3073, 4096, 5_000, 8_193)


def of(kernel: ModuleType, messages: Sequence[bytes]) -> list[bytes]:
    data = np.frombuffer(b"".join(messages), np.uint8)
    bounds = np.cumsum([0, *map(len, messages)], dtype=np.int64)
    out = np.full((len(messages), 32), 0xAA, np.uint8)
    kernel.digests(data, bounds, out)
    return [row.tobytes() for row in out]


@pytest.mark.parametrize("kernel", [digests, digests_reference], ids=["kernel", "reference"])
def test_every_border_of_blocks_and_chunks(kernel: ModuleType):
    rng = random.Random(0)
    messages = [rng.randbytes(length) for length in BORDERS]
    expected = [blake3(message).digest() for message in messages]
    assert of(kernel, messages) == expected
    for message, digest in zip(messages, expected, strict=True):
        assert of(kernel, [message]) == [digest]


def test_every_length_to_two_chunks():
    rng = random.Random(1)
    messages = [rng.randbytes(length) for length in range(2_100)]
    assert of(digests, messages) == [blake3(message).digest() for message in messages]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.integers(0, 6_000), st.integers(0, 255)), max_size=40), st.randoms())
def test_any_mixture_of_lengths(shapes: list[tuple[int, int]], rng: random.Random):
    messages = [rng.randbytes(length) if byte % 4 else bytes([byte]) * length for length, byte in shapes]
    found = of(digests, messages)
    assert found == [blake3(message).digest() for message in messages]
    few = [message for message in messages if len(message) < 2_200][:3]
    assert of(digests_reference, few) == of(digests, few)


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_many_over_several_threads(cores: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(digests, "cores", lambda: cores)
    rng = random.Random(2)
    messages = [rng.randbytes(rng.randrange(200, 500)) for _ in range(17_000)]
    messages[17] = rng.randbytes(40_000)
    assert of(digests, messages) == [blake3(message).digest() for message in messages]


def test_a_message_is_read_to_its_end_and_no_farther():
    """What lies around a message in the buffer must not matter."""
    rng = random.Random(3)
    inner = rng.randbytes(333)
    for before, after in ((0, 0), (1, 1), (64, 3), (7, 100), (500, 0)):
        data = np.frombuffer(rng.randbytes(before) + inner + rng.randbytes(after), np.uint8)
        bounds = np.array([0, before, before + 333, data.size], np.int64)
        out = np.empty((3, 32), np.uint8)
        digests.digests(data, bounds, out)
        assert out[1].tobytes() == blake3(inner).digest()
