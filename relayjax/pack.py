"""A model checkpoint as one byte string: the files of an Orbax checkpoint behind a manifest of their digests.

    bytes   0–3   "RJXC"
    bytes   4–7   format version 1, big-endian
    bytes   8–15  length M of the manifest, big-endian
    bytes  16–47  BLAKE3 of the manifest
    M bytes       the manifest, canonical JSON
    the files, one behind the other, in the manifest's order

    {"files": [{"blake3": digest, "path": relative path, "size": bytes}, ...],
     "layout": [{"name": parameter, "shape": [...]}, ...], "version": number, "weights": digest}

One string can be sealed, hashed and sent as one artefact. Checking it needs neither Orbax nor JAX.
P: parameters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from blake3 import blake3

from relayjax import canonical
from relayjax.errors import FormatError, IntegrityError

_MAGIC = b"RJXC\x00\x00\x00\x01"
_LENGTH = 8
_DIGEST = 32
_HEADER = len(_MAGIC) + _LENGTH + _DIGEST
_MANIFEST_LIMIT = 16 * 2**20
_PATH_LIMIT = 1_000
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ModelVersion:
    """What identifies a version to whoever restores it. One that exists has a layout that can be believed.

    Attributes:
      number: its number in the relay.
      weights: digest of its parameters, as in the ledger.
      layout: names and shapes of the parameters in order, as in the genesis record.
    """

    number: int
    weights: str
    layout: list[Any]

    def __post_init__(self) -> None:
        for leaf in self.layout:
            match leaf:
                case {"name": str(), "shape": list(shape), **more} if not more:
                    if all(type(length) is int and length > 0 for length in shape):
                        continue
            raise FormatError(f"layout of version {self.number}: {str(leaf)[:80]} is not a name and a shape")

    @property
    def size(self) -> int:
        """P."""
        return sum(math.prod(leaf["shape"]) for leaf in self.layout)


def encode_pack(files: Mapping[str, bytes], version: ModelVersion) -> bytes:
    """Puts a checkpoint's files, by relative path, behind their manifest."""
    manifest = canonical.encode(
        {
            "files": [
                {"blake3": blake3(data).hexdigest(), "path": path, "size": len(data)}
                for path, data in files.items()
            ],
            "layout": version.layout,
            "version": version.number,
            "weights": version.weights,
        }
    )
    length = len(manifest).to_bytes(_LENGTH, "big")
    return b"".join([_MAGIC, length, blake3(manifest).digest(), manifest, *files.values()])


def verify_pack(data: bytes, version: ModelVersion) -> dict[str, bytes]:
    """Checks a pack against its version and its own manifest; opens nothing.

    Returns:
      Content of each file by relative path.

    Raises:
      FormatError: not a pack, or its manifest is malformed.
      IntegrityError: a file, or what the manifest says, is not that of the version.
    """
    where = f"model checkpoint of version {version.number}"
    manifest, offset = _manifest(data, where)
    stated = (manifest["version"], manifest["weights"], manifest["layout"])
    expected = (version.number, version.weights, version.layout)
    if canonical.encode(stated) != canonical.encode(expected):  # for Python, `true` is 1
        raise IntegrityError(where, "its manifest states another version, layout or digest than the ledger")
    files: dict[str, bytes] = {}
    for entry in manifest["files"]:
        path, size = _checked(entry, where)
        content = data[offset : offset + size]
        if len(content) != size or blake3(content).hexdigest() != entry["blake3"]:
            raise IntegrityError(where, f"file {path} does not match its digest")
        files[path], offset = content, offset + size
    if any(parent.as_posix() in files for path in files for parent in PurePosixPath(path).parents):
        raise FormatError(f"{where}: its manifest has a file where it needs a directory")
    if offset != len(data) or len(files) != len(manifest["files"]):
        raise FormatError(f"{where}: its files are not exactly those of its manifest")
    return files


def _manifest(data: bytes, where: str) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + _LENGTH], "big")
    if data[: len(_MAGIC)] != _MAGIC or len(data) < _HEADER or length > _MANIFEST_LIMIT:
        raise FormatError(f"{where}: not a model checkpoint of format 1; fetch it again")
    encoded = data[_HEADER : _HEADER + length]
    if blake3(encoded).digest() != data[_HEADER - _DIGEST : _HEADER]:
        raise IntegrityError(where, "its manifest does not match its digest; fetch it again")
    manifest = canonical.decode(encoded, limit=_MANIFEST_LIMIT)
    if not isinstance(manifest, dict) or set(manifest) != {"files", "layout", "version", "weights"}:
        raise FormatError(f"{where}: its manifest lacks a field or has an unknown one")
    if not isinstance(manifest["files"], list):
        raise FormatError(f"{where}: its manifest lists no files")
    return manifest, _HEADER + length


def _checked(entry: Any, where: str) -> tuple[str, int]:
    """A manifest entry's path and size; a path that leaves the directory is refused."""
    match entry:
        case {"blake3": str(), "path": str(path), "size": int(size), **more} if (
            not more and type(size) is int and size >= 0 and len(path) <= _PATH_LIMIT
        ):
            if all(_PART.fullmatch(part) for part in path.split("/")):
                return path, size
    raise FormatError(f"{where}: its manifest has a malformed entry {str(entry)[:80]}")
