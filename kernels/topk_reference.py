"""Top-k in plain NumPy: what `topk` must compute, written for reading. Same names, signatures and results."""

from __future__ import annotations

import numpy as np

_MAGNITUDE = 0x7FFFFFFF


def select(x: np.ndarray, k: int, indices: np.ndarray, values: np.ndarray) -> int:
    """Finds the k values of largest magnitude; see `topk.select`."""
    magnitudes = x.view(np.int32) & _MAGNITUDE
    order = np.argsort(-magnitudes, kind="stable")[:k]  # stable: between equal ones the lower index first
    chosen = np.sort(order[magnitudes[order] > 0])
    indices[: chosen.size], values[: chosen.size] = chosen, x[chosen]
    return chosen.size


def write_gaps(indices: np.ndarray, out: np.ndarray) -> int:
    """Writes ascending indices as varints of their gaps; see `topk.write_gaps`."""
    written = bytearray()
    for gap in np.diff(indices, prepend=-1).tolist():
        rest = gap - 1
        while rest > 127:
            written.append(rest % 128 + 128)
            rest //= 128
        written.append(rest)
    out[: len(written)] = np.frombuffer(bytes(written), np.uint8)
    return len(written)


def gaps_bound(count: int, size: int) -> int:
    """Returns the most bytes that gaps can take; see `topk.gaps_bound`."""
    room, spare, unit = count, size, 128
    while unit <= spare:  # one gap of at least `unit` costs a byte more; there is room for so many of them
        room += min(count, spare // unit)
        unit *= 128
    return room


def first_malformed(gaps: np.ndarray, count: int, size: int) -> int:
    """Finds the first index that is not as it should be written; see `topk.first_malformed`."""
    rest, index = gaps.tobytes(), -1
    for number in range(count):
        length = next((i + 1 for i, byte in enumerate(rest[:9]) if byte < 128), None)
        if length is None or (length > 1 and rest[length - 1] == 0):
            return number
        index += 1 + sum((byte & 127) << 7 * i for i, byte in enumerate(rest[:length]))
        if index >= size:
            return number
        rest = rest[length:]
    return count if rest else -1


def scatter_add(gaps: np.ndarray, values: np.ndarray, out: np.ndarray) -> int:
    """Adds values at the places that gaps give; see `topk.scatter_add`."""
    places, index, gap, shift = [], -1, 0, 0
    for byte in gaps.tolist():
        gap, shift = gap + ((byte & 127) << shift), shift + 7
        if byte < 128:
            index += gap + 1
            places.append(index)
            gap, shift = 0, 0
    with np.errstate(over="ignore", invalid="ignore"):
        out[places] += values
    wrong = np.flatnonzero(~np.isfinite(out[places]))
    return places[wrong[0]] if wrong.size else -1
