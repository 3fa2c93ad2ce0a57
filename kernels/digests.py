"""BLAKE3 of many small messages that lie in one buffer: sixteen are compressed at a time.

A message is cut into chunks of 1024 bytes, a chunk into blocks of 64. Each of the sixteen lanes of a vector
works on a chunk of its own, block after block, and takes the next chunk when it is done, so that lengths may
differ. The nodes above the chunks of a message are compressed in the same way, a level at a time: neighbours
are paired, and a last one without a partner goes up as it is.

A single large message is faster with the `blake3` package, which has the lanes for it. The digests are the
same, and so are those of the twin in `digests_reference`.

References:
  O'Connor et al., *BLAKE3: one function, fast everywhere*, 2020, section 2 (tree, modes, compression).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from relayjax.kernels import vectors
from relayjax.kernels.threads import cores, run_ranges
from relayjax.kernels.vectors import I8, I32, Builder, Value, fill

LANES = 16
_CHUNK, _BLOCK = 1024, 64
_PARALLEL_FROM = 1 << 14  # chunks; fewer are done before a thread has started
_CHUNK_START, _CHUNK_END, _PARENT, _ROOT = 1, 2, 4, 8
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
_DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
_ROUNDS = 7

_KEY = np.array(IV, np.uint32)
_MASKS = np.tril(np.full((_BLOCK + 1, _BLOCK), 0xFF, np.uint8), -1)  # row n keeps n bytes


def digests(data: np.ndarray, bounds: np.ndarray, out: np.ndarray) -> None:
    """Computes the digest of each of N messages.

    Args:
      data: uint8 `[S]`, contiguous: the messages.
      bounds: int64 `[N + 1]`, ascending, from 0 to S: message i is `data[bounds[i]:bounds[i + 1]]`. They are
        not checked.
      out: uint8 `[N, 32]`, overwritten.
    """
    counts = np.maximum(1, -(-np.diff(bounds) // _CHUNK))  # of chunks in each message
    if counts.size and counts.max() == 1:
        _compress(data, _chunks(bounds, counts), out)
        return
    nodes = np.empty((int(counts.sum()), 32), np.uint8)
    _compress(data, _chunks(bounds, counts), nodes)
    while counts.size and counts.max() > 1:
        above = np.empty((int((-(-counts // 2)).sum()), 32), np.uint8)
        rows, *units = _parents(nodes, counts, above)
        parents = np.empty((rows.size, 32), np.uint8)
        _compress(nodes.reshape(-1), tuple(units), parents)
        above[rows] = parents
        nodes, counts = above, -(-counts // 2)
    out[:] = nodes


def _compress(data: np.ndarray, units: tuple[np.ndarray, ...], out: np.ndarray) -> None:
    """Compresses U chunks or parents.

    Args:
      data: uint8 `[S]`: what they lie in.
      units: of each: its offset there, int64 `[U]`; its length in bytes, at most `_CHUNK`, int64 `[U]`; the
        number of the chunk in its message, 0 for a parent, int64 `[U]`; flags of its first and of its last
        block, uint32 `[U, 2]`.
      out: uint8 `[U, 32]`, overwritten.
    """
    offsets, lengths, counters, flags = units
    count = offsets.size

    def part(first: int, last: int) -> None:
        _lanes(data, offsets, lengths, counters, flags, out, _KEY, _MASKS, first, last)

    run_ranges(part, count, cores() if count >= _PARALLEL_FROM else 1)


@njit(cache=True, nogil=True)
def _chunks(bounds: np.ndarray, counts: np.ndarray) -> Any:
    """Lists the chunks of all messages as `_compress` takes them."""
    size = counts.sum()
    offsets, lengths, counters = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    flags = np.empty((size, 2), np.uint32)
    unit = 0
    for message in range(counts.size):
        start, end, count = bounds[message], bounds[message + 1], counts[message]
        root = np.uint32(_ROOT if count == 1 else 0)
        for number in range(count):
            offsets[unit] = start + number * _CHUNK
            lengths[unit] = min(_CHUNK, end - offsets[unit])
            counters[unit] = number
            flags[unit, 0] = _CHUNK_START
            flags[unit, 1] = _CHUNK_END | root
            unit += 1
    return offsets, lengths, counters, flags


@njit(cache=True, nogil=True)
def _parents(nodes: np.ndarray, counts: np.ndarray, above: np.ndarray) -> Any:
    """Lists the pairs of a level as `_compress` takes them, behind their rows in the level above.

    A node without a partner is copied there.
    """
    size = (counts // 2).sum()
    rows, offsets = np.empty(size, np.int64), np.empty(size, np.int64)
    flags = np.zeros((size, 2), np.uint32)
    unit = node = row = 0
    for count in counts:
        for _ in range(count // 2):
            rows[unit], offsets[unit] = row, 32 * node
            flags[unit, 0] = _PARENT | (_ROOT if count == 2 else 0)
            unit, node, row = unit + 1, node + 2, row + 1
        if count % 2:
            above[row] = nodes[node]
            node, row = node + 1, row + 1
    return rows, offsets, np.full(size, _BLOCK), np.zeros(size, np.int64), flags


@njit(cache=True, nogil=True)
def _lanes(data, offsets, lengths, counters, flags, out, key, masks, first, last):
    """Compresses units `first` to `last`, each lane one after the other."""
    blocks = np.zeros((LANES, _BLOCK), np.uint8)
    chain = np.zeros((8, LANES), np.uint32)
    inputs = np.zeros((4, LANES), np.uint32)  # counter (two words), bytes of the block, flags
    unit = np.full(LANES, -1, np.int64)
    position, left = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    coming, busy = first, 0
    for lane in range(LANES):
        if coming < last:
            _load(lane, coming, offsets, lengths, counters, key, chain, inputs, unit, position, left)
            coming, busy = coming + 1, busy + 1
    while busy:
        for lane in range(LANES):
            one = unit[lane]
            if one < 0:
                continue
            place, rest = position[lane], left[lane]
            size = min(rest, _BLOCK)
            inputs[2, lane] = size
            flag = np.uint32(0)
            if place == offsets[one]:
                flag |= flags[one, 0]
            if rest <= _BLOCK:
                flag |= flags[one, 1]
            inputs[3, lane] = flag
            if place + _BLOCK <= data.size:
                _take_block(data, place, masks, size, blocks, lane)
            else:
                for i in range(_BLOCK):
                    blocks[lane, i] = data[place + i] if i < size else np.uint8(0)
        _compress_lanes(blocks, chain, inputs)
        for lane in range(LANES):
            one = unit[lane]
            if one < 0:
                continue
            position[lane] += _BLOCK
            left[lane] -= _BLOCK
            if left[lane] > 0:
                continue
            for word in range(8):
                value = chain[word, lane]
                for byte in range(4):
                    out[one, 4 * word + byte] = np.uint8(value >> np.uint32(8 * byte))
            if coming < last:
                _load(lane, coming, offsets, lengths, counters, key, chain, inputs, unit, position, left)
                coming += 1
            else:
                unit[lane] = -1
                busy -= 1


@njit(cache=True, nogil=True)
def _load(lane, one, offsets, lengths, counters, key, chain, inputs, unit, position, left):
    """Gives a lane its next unit."""
    unit[lane], position[lane], left[lane] = one, offsets[one], lengths[one]
    for word in range(8):
        chain[word, lane] = key[word]
    inputs[0, lane] = np.uint32(counters[one] & 0xFFFFFFFF)
    inputs[1, lane] = np.uint32(counters[one] >> 32)


def _define_take_block(
    typing: Any, data: Any, place: Any, masks: Any, size: Any, blocks: Any, lane: Any
) -> Any:
    """Copies 64 bytes from `place` on to a lane's block; those from `size` on become zeros."""

    def generate(context: Any, builder: Builder, signature: Any, values: Any) -> Value:
        source, mask, target = (
            vectors.Array(context, builder, signature.args[i], values[i], builder.mul(index, scale))
            for i, index, scale in (
                (0, values[1], ir.Constant(values[1].type, 1)),
                (2, values[3], ir.Constant(values[3].type, _BLOCK)),
                (4, values[5], ir.Constant(values[5].type, _BLOCK)),
            )
        )
        kept = builder.and_(source.load(0, I8, _BLOCK), mask.load(0, I8, _BLOCK))
        target.store(0, kept)
        return context.get_dummy_value()

    return types.void(data, place, masks, size, blocks, lane), generate


def _define_compress_lanes(typing: Any, blocks: Any, chain: Any, inputs: Any) -> Any:
    """Compresses a block in every lane; overwrites the chaining values.

    Args:
      blocks: uint8 `[LANES, 64]`.
      chain: uint32 `[8, LANES]`.
      inputs: uint32 `[4, LANES]`.
    """

    def generate(context: Any, builder: Builder, signature: Any, values: Any) -> Value:
        zero = ir.Constant(vectors.I64, 0)
        block, links, words = (
            vectors.Array(context, builder, kind, value, zero)
            for kind, value in zip(signature.args, values, strict=True)
        )
        message = vectors.transposed(
            builder, [block.load(_BLOCK * lane, I32, LANES) for lane in range(LANES)]
        )
        v = [links.load(LANES * word, I32, LANES) for word in range(8)]
        v += [fill(I32, word, LANES) for word in IV[:4]]
        v += [words.load(LANES * word, I32, LANES) for word in range(4)]
        for _ in range(_ROUNDS):
            pairs = iter(zip(message[::2], message[1::2], strict=True))
            for places in (*_COLUMNS, *_DIAGONALS):
                _mix(builder, v, places, *next(pairs))
            message = [message[place] for place in PERMUTATION]
        for word in range(8):
            links.store(LANES * word, builder.xor(v[word], v[word + 8]))
        return context.get_dummy_value()

    return types.void(blocks, chain, inputs), generate


_take_block: Any = intrinsic(_define_take_block)
_compress_lanes: Any = intrinsic(_define_compress_lanes)


def _mix(builder: Builder, v: list[Value], places: tuple[int, ...], x: Value, y: Value) -> None:
    """The quarter round of the compression function on words a, b, c, d of the state."""
    a, b, c, d = places
    for word, turns in ((x, (16, 12)), (y, (8, 7))):
        v[a] = builder.add(builder.add(v[a], v[b]), word)
        v[d] = vectors.rotated(builder, builder.xor(v[d], v[a]), turns[0])
        v[c] = builder.add(v[c], v[d])
        v[b] = vectors.rotated(builder, builder.xor(v[b], v[c]), turns[1])
