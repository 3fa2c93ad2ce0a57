"""Digests of artefacts: the same however they are cut, up to 1 MiB those of the `blake3` package."""

from __future__ import annotations

import random

import numpy as np
import pytest
from blake3 import blake3

from relayjax import hashing
from relayjax.hashing import CHUNK
from relayjax.kernels import threads

LENGTHS = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK, 17 * CHUNK + 7)
DATA = random.Random(0).randbytes(max(LENGTHS))


def by_hand(data: bytes) -> str:
    """The definition, word by word."""
    chunks = [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)] or [b""]
    digests = [blake3(chunk).digest() for chunk in chunks]
    if len(digests) == 1:
        return digests[0].hex()
    return blake3(b"".join(digests), derive_key_context="relayjax 2026 chunk tree v1").hexdigest()


@pytest.mark.parametrize("length", LENGTHS)
def test_it_is_what_is_written_down_on_any_number_of_cores(length: int, monkeypatch: pytest.MonkeyPatch):
    data = DATA[:length]
    for cores in (1, 2, 3, 7):
        monkeypatch.setattr(threads, "cores", lambda cores=cores: cores)
        assert hashing.digest(data) == by_hand(data)
    assert (hashing.digest(data) == blake3(data).hexdigest()) == (length <= CHUNK)


def test_pieces_of_whole_chunks_give_the_digest_of_the_whole():
    for step in (1, 2, 16, 20):
        pieces = [DATA[i : i + step * CHUNK] for i in range(0, len(DATA), step * CHUNK)]
        assert hashing.digest_of_pieces(pieces) == by_hand(DATA)


def test_arrays_are_hashed_where_they_lie():
    array = np.frombuffer(DATA[: 4 * CHUNK], np.float32)
    assert hashing.digest(array.data) == by_hand(DATA[: 4 * CHUNK])


def test_any_changed_bit_and_any_other_order_gives_another_digest():
    digests = hashing.chunk_digests(DATA)
    assert len(digests) == len(set(digests)) == 18
    for bit in (0, 8 * CHUNK - 1, 8 * CHUNK, 8 * len(DATA) - 1):
        changed = bytearray(DATA)
        changed[bit // 8] ^= 1 << bit % 8
        assert hashing.digest(changed) != hashing.digest(DATA)
    assert hashing.root(digests[::-1]) != hashing.root(digests)
    assert hashing.digest(b"".join(digests)) != hashing.digest(DATA)


def test_the_next_item_is_made_while_one_is_used_and_errors_come_in_their_place():
    made: list[int] = []

    def items():
        for number in range(3):
            made.append(number)
            yield number
        raise KeyError("the last one")

    found = []
    with pytest.raises(KeyError, match="the last one"):
        for item in threads.ahead(items()):
            found.append(item)
    assert found == made == [0, 1, 2]
    assert list(threads.ahead([])) == []
