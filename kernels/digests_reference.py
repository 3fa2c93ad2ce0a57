"""BLAKE3 of many messages, one word at a time: the twin of `digests`, written for reading."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np

from relayjax.kernels.digests import IV, PERMUTATION

_CHUNK, _BLOCK = 1024, 64
_CHUNK_START, _CHUNK_END, _PARENT, _ROOT = 1, 2, 4, 8
_WORD = 0xFFFFFFFF


def digests(data: np.ndarray, bounds: np.ndarray, out: np.ndarray) -> None:
    """Computes the digest of each of N messages; see `digests.digests`."""
    for number, (start, end) in enumerate(pairwise(bounds)):
        message = data[start:end].tobytes()
        words = _node(message, first=0, flags=_ROOT)
        out[number] = np.frombuffer(struct.pack("<8I", *words), np.uint8)


def _node(message: bytes, first: int, flags: int) -> tuple[int, ...]:
    """Chaining value of a part of a message that starts with chunk `first`."""
    chunks = -(-len(message) // _CHUNK)
    if chunks <= 1:
        return _chunk(message, first, flags)
    left = 1 << (chunks - 1).bit_length() - 1  # the largest power of two below
    children = (
        *_node(message[: left * _CHUNK], first, 0),
        *_node(message[left * _CHUNK :], first + left, 0),
    )
    return _compress(IV, children, 0, _BLOCK, _PARENT | flags)


def _chunk(message: bytes, counter: int, flags: int) -> tuple[int, ...]:
    blocks = [message[i : i + _BLOCK] for i in range(0, len(message), _BLOCK)] or [b""]
    value: tuple[int, ...] = IV
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        kind = (_CHUNK_START if number == 0 else 0) | ((_CHUNK_END | flags) if last else 0)
        words = struct.unpack("<16I", block.ljust(_BLOCK, b"\0"))
        value = _compress(value, words, counter, len(block), kind)
    return value


def _compress(
    value: tuple[int, ...], words: tuple[int, ...], counter: int, length: int, flags: int
) -> tuple[int, ...]:
    v = [*value, *IV[:4], counter & _WORD, counter >> 32, length, flags]
    for _ in range(7):
        _mix(v, 0, 4, 8, 12, words[0], words[1])
        _mix(v, 1, 5, 9, 13, words[2], words[3])
        _mix(v, 2, 6, 10, 14, words[4], words[5])
        _mix(v, 3, 7, 11, 15, words[6], words[7])
        _mix(v, 0, 5, 10, 15, words[8], words[9])
        _mix(v, 1, 6, 11, 12, words[10], words[11])
        _mix(v, 2, 7, 8, 13, words[12], words[13])
        _mix(v, 3, 4, 9, 14, words[14], words[15])
        words = tuple(words[place] for place in PERMUTATION)
    return tuple(low ^ high for low, high in zip(v[:8], v[8:], strict=True))


def _mix(v: list[int], a: int, b: int, c: int, d: int, x: int, y: int) -> None:
    v[a] = (v[a] + v[b] + x) & _WORD
    v[d] = _rotated(v[d] ^ v[a], 16)
    v[c] = (v[c] + v[d]) & _WORD
    v[b] = _rotated(v[b] ^ v[c], 12)
    v[a] = (v[a] + v[b] + y) & _WORD
    v[d] = _rotated(v[d] ^ v[a], 8)
    v[c] = (v[c] + v[d]) & _WORD
    v[b] = _rotated(v[b] ^ v[c], 7)


def _rotated(word: int, bits: int) -> int:
    return (word >> bits | word << 32 - bits) & _WORD
