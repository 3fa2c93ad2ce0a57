"""Weights from and for other programs, in safetensors files.

A file is taken apart with suspicion: it may come from anyone, and whatever a name, a shape or a number in it
means, it must mean to everybody. What fits becomes one float32 vector in the order of the layout.

P: parameters.

References: the safetensors format, https://huggingface.co/docs/safetensors, section "Format".
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from relayjax.errors import DataError, FormatError
from relayjax.files import write_atomic
from relayjax.learning.layout import Layout

HEADER_LIMIT = 1 << 20
"""Most bytes of a header, some ten thousand arrays: it is parsed before anything else is known."""
PIECE = 1 << 20
"""Bytes that are read at once."""
METADATA = "__metadata__"


def save_weights(
    path: Path, weights: Mapping[str, np.ndarray], metadata: Mapping[str, str], *, mode: int = 0o644
) -> None:
    """Writes arrays as a safetensors file, whole or not at all; the same arrays give the same bytes.

    0      8 bytes  length of the header, unsigned, little-endian
    8      …        header: JSON, name → {"dtype": "F32", "shape": […], "data_offsets": [from, to]}, and
                    "__metadata__" → {text: text}; spaces at its end up to a multiple of 8
    8 + …  …        the arrays behind one another, little-endian, in C order; offsets count from here

    The package's own writer puts metadata in random order, which is why this is not its call.

    Args:
      path: the file.
      weights: float32 arrays by name.
      metadata: what to say about them.
      mode: permission bits of the file.

    Raises:
      DataError: an array that is not float32, or named like the metadata.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)}
    parts, end = [], 0
    for name, array in weights.items():
        if array.dtype != np.float32 or name == METADATA:
            raise DataError(f"{path}: {name} is {array.dtype}; weights are float32, not named {METADATA}")
        parts.append(np.ascontiguousarray(array, "<f4").tobytes())
        start, end = end, end + len(parts[-1])
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write_atomic(path, b"".join([len(text).to_bytes(8, "little"), text, *parts]), mode=mode)


def load_weights(path: Path, layout: Layout, names: Mapping[str, str] | None = None) -> np.ndarray:
    """Reads the weights of a model from a safetensors file that anybody may have written.

    Args:
      path: the file.
      layout: of the model: names and shapes that must all be there, and no others.
      names: the file's name of a parameter, for parameters that are named otherwise in it.

    Returns:
      Parameters, float32 [P]; float16 and bfloat16 are widened, which is exact.

    Raises:
      FormatError: not a safetensors file, to the last byte.
      DataError: it cannot be read, or holds other arrays than the model has, or NaN or infinity.
    """
    limit = 8 + HEADER_LIMIT + 4 * layout.size
    found = _arrays(path, _read(path, limit, f"the {layout.size} parameters it is for"))
    theirs = {name: (names or {}).get(name, name) for name in layout.names}
    if odd := set(names or {}) - set(layout.names):
        raise DataError(f"{path}: names are given for {_list(odd)}, which the model does not have")
    if absent := [name for name in theirs.values() if name not in found]:
        raise DataError(
            f"{path}: lacks {_list(absent)}; it holds the weights of another model, or other names"
        )
    if odd := set(found) - set(theirs.values()):
        raise DataError(
            f"{path}: holds {_list(odd)}, which the model does not have; leave out what is not its"
        )
    theta = np.empty(layout.size, np.float32)
    for name, shape, start in zip(layout.names, layout.shapes, layout.offsets, strict=False):
        part = theta[start : start + math.prod(shape)]
        part[:] = _widened(f"{path}: {theirs[name]}", found[theirs[name]], shape)
        if not np.isfinite(part).all():
            raise DataError(f"{path}: {theirs[name]} holds NaN or infinity; no training can start from that")
    return theta


def load_arrays(path: Path, limit: int) -> dict[str, np.ndarray]:
    """Reads whatever arrays a safetensors file holds that anybody may have written.

    Args:
      path: the file.
      limit: most bytes it may have.

    Returns:
      By name, float32; float16 and bfloat16 are widened.

    Raises:
      FormatError: not a safetensors file, to the last byte.
      DataError: it cannot be read, is larger, or holds numbers of other kinds.
    """
    found = _arrays(path, _read(path, limit, "what it is read as"))
    shapes = {name: tuple(array["shape"]) for name, array in found.items()}
    try:
        return {n: _widened(f"{path}: {n}", found[n], shape).reshape(shape) for n, shape in shapes.items()}
    except (ValueError, OverflowError) as error:  # of arrays without a number in them, any shape is possible
        raise FormatError(f"{path}: an array has an impossible shape ({error}); write it again") from error


def _read(path: Path, limit: int, purpose: str) -> bytes:
    data = io.BytesIO()  # read(limit) would take limit bytes at once, and joined pieces the file twice
    try:
        with path.open("rb") as file:
            while data.tell() <= limit and (piece := file.read(PIECE)):
                data.write(piece)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); give the path of a safetensors file") from error
    if data.tell() > limit:
        raise DataError(f"{path}: has more than {limit} bytes, too many for {purpose}")
    return data.getvalue()


def _arrays(path: Path, data: bytes) -> dict[str, dict[str, Any]]:
    """Dtype, shape and bytes of each array by name."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length or length > HEADER_LIMIT:
        raise FormatError(
            f"{path}: {len(data)} bytes with a header of {length} are no safetensors file (a header may have "
            f"{HEADER_LIMIT}); fetch or write it again"
        )
    try:
        # The package takes the last of two arrays with one name; another program may take the first.
        json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_unique)
        return dict(deserialize(data))
    except (ValueError, RecursionError, SafetensorError) as error:
        raise FormatError(f"{path}: not a safetensors file ({error}); fetch or write it again") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _widened(where: str, array: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """One array's numbers in C order, float32."""
    if tuple(array["shape"]) != shape:
        raise DataError(f"{where} has the shape {list(array['shape'])}; the model's has {list(shape)}")
    match array["dtype"]:
        case "F32":
            return np.frombuffer(array["data"], "<f4")
        case "F16":
            return np.frombuffer(array["data"], "<f2").astype(np.float32)
        case "BF16":  # the upper half of a float32
            return (np.frombuffer(array["data"], "<u2").astype(np.uint32) << 16).view(np.float32)
    raise DataError(f"{where} is {array['dtype']}; convert it to F32, F16 or BF16")


def _list(names: Iterable[str]) -> str:
    """The first few of some names, for messages."""
    known = sorted(names)
    return ", ".join(known[:5]) + (f" and {len(known) - 5} more" if len(known) > 5 else "")
