"""A model checkpoint as one stream of bytes: the flat parameters behind a manifest of their chunks' digests.

    bytes 0–3    "RJXC"
    bytes 4–7    format version 2, big-endian
    bytes 8–15   length M of the manifest, big-endian
    M bytes      the manifest, canonical JSON
    4 P bytes    the parameters, and behind them what policies carry, little-endian float32

    {"chunks": [digest of each 2²⁰ bytes of the parameters, ...], "layout": [{"name": parameter,
     "shape": [...]}, ...], "version": number, "weights": digest of them all}

The ledger names `weights`, which the list of chunks leads to (see `relayjax.hashing`): nothing in a pack has
to be believed, and of a transfer that was cut short every chunk that came is good or known to be bad. A
version has exactly one pack. Writing one copies nothing; reading takes the parameters and two pieces.

P: parameters and what is carried beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from relayjax import canonical, hashing
from relayjax.errors import FormatError, IntegrityError
from relayjax.hashing import CHUNK, Buffer, is_digest
from relayjax.kernels import threads
from relayjax.weights import CARRIED, as_bytes, empty

_MAGIC = b"RJXC\x00\x00\x00\x02"
_HEADER = len(_MAGIC) + 8
_MANIFEST_LIMIT = 16 * 2**20


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

    @property
    def chunks(self) -> int:
        """How many chunks its parameters have."""
        return max(1, -(-4 * self.size // CHUNK))

    @property
    def where(self) -> str:
        """What errors call its model checkpoint."""
        return f"model checkpoint of version {self.number}"


@dataclass(frozen=True)
class Chunks:
    """A version with the digests of its chunks, which lead to that of its weights.

    Attributes:
      version: which.
      digests: of each chunk of the parameters, 32 bytes each.
    """

    version: ModelVersion
    digests: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if (
            len(self.digests) != self.version.chunks
            or hashing.root(self.digests).hex() != self.version.weights
        ):
            raise IntegrityError(self.version.where, "its chunks are not those of the weights in the ledger")

    @classmethod
    def of(cls, theta: np.ndarray, version: ModelVersion) -> Chunks:
        """Digests of the parameters, float32 [P], made on all cores.

        Raises:
          IntegrityError: they are not the version's.
        """
        return cls(version, tuple(hashing.chunk_digests(as_bytes(theta))))

    def encode(self) -> bytes:
        """The beginning of the pack: all that comes before the parameters."""
        manifest = canonical.encode(
            {
                "chunks": [digest.hex() for digest in self.digests],
                "layout": self.version.layout,
                "version": self.version.number,
                "weights": self.version.weights,
            }
        )
        return _MAGIC + len(manifest).to_bytes(_HEADER - len(_MAGIC), "big") + manifest

    def verify(self, first: int, data: Buffer) -> None:
        """Verifies consecutive chunks, whoever they come from.

        Args:
          first: number of the first.
          data: their bytes.

        Raises:
          IntegrityError: naming the first chunk that is not the version's.
        """
        found = hashing.chunk_digests(data)
        for number, digest in enumerate(found, first):
            if number >= len(self.digests) or digest != self.digests[number]:
                raise IntegrityError(
                    self.version.where, f"chunk {number} is not the version's; fetch it again"
                )


def encode_pack(theta: np.ndarray, version: ModelVersion) -> tuple[Buffer, Buffer]:
    """Makes a pack: its beginning, and a view of the parameters.

    Args:
      theta: float32 [P].
      version: which it is.

    Raises:
      IntegrityError: the parameters are not the version's.
    """
    return Chunks.of(theta, version).encode(), as_bytes(theta)


def decode_chunks(head: bytes, version: ModelVersion) -> Chunks:
    """Reads the beginning of a pack, exactly, and holds it against the ledger.

    Raises:
      FormatError: not the beginning of a pack, or its manifest is malformed.
      IntegrityError: it is that of another version.
    """
    chunks, taken = _beginning(_Stream([head]), version)
    if taken != len(head):
        raise FormatError(f"{version.where}: {len(head) - taken} bytes follow its manifest")
    return chunks


def decode_pack(pieces: Iterable[Buffer], version: ModelVersion) -> np.ndarray:
    """Reads a pack and verifies every chunk of it on its way.

    Args:
      pieces: the pack, from anybody, cut anywhere; the next one is made while the last one is verified. It is
        read to its end.
      version: what it must be, from the ledger.

    Returns:
      Parameters, float32 [P].

    Raises:
      FormatError: not a pack, or its manifest is malformed.
      IntegrityError: a chunk, or what the manifest says, is not that of the version.
    """
    stream = _Stream(threads.ahead(pieces))
    chunks, _ = _beginning(stream, version)
    theta = empty(version.size)
    target, filled, verified = theta.data.cast("B"), 0, 0
    for piece in stream.rest():
        if len(piece) > len(target) - filled:
            raise FormatError(f"{version.where}: it has more bytes than its parameters")
        target[filled : filled + len(piece)] = piece
        filled += len(piece)
        until = filled if filled == len(target) else filled // CHUNK * CHUNK
        if until > verified:
            chunks.verify(verified // CHUNK, target[verified:until])
            verified = until
    if filled != len(target):
        raise FormatError(f"{version.where}: {len(target) - filled} bytes are missing; fetch it again")
    return theta.astype(np.float32, copy=False)


def parameters(theta: np.ndarray, version: ModelVersion) -> dict[str, np.ndarray]:
    """The parameters in a version's vector, float32 [P], by name, without what is carried beside them."""
    sizes = np.cumsum([math.prod(leaf["shape"]) for leaf in version.layout])
    return {
        leaf["name"]: part.reshape(leaf["shape"])
        for leaf, part in zip(version.layout, np.split(theta, sizes[:-1]), strict=True)
        if not leaf["name"].startswith(CARRIED)
    }


class _Stream:
    """Pieces of which one can take so many bytes."""

    def __init__(self, pieces: Iterable[Buffer]):
        self._pieces = iter(pieces)
        self._left = memoryview(b"")

    def take(self, count: int) -> bytes:
        """The next bytes: fewer where they end."""
        taken = bytearray()
        for piece in self.rest():
            missing = count - len(taken)
            taken += piece[:missing]
            self._left = piece[missing:]
            if len(taken) == count:
                break
        return bytes(taken)

    def rest(self) -> Iterator[memoryview]:
        """What is left, as it comes."""
        while True:
            piece, self._left = self._left, memoryview(b"")
            if piece:
                yield piece
            try:
                self._left = memoryview(next(self._pieces)).cast("B")
            except StopIteration:
                return


def _beginning(stream: _Stream, version: ModelVersion) -> tuple[Chunks, int]:
    """What a pack begins with, held against the ledger, and of how many bytes it is."""
    where, header = version.where, stream.take(_HEADER)
    length = int.from_bytes(header[len(_MAGIC) :], "big")
    if header[: len(_MAGIC)] != _MAGIC or len(header) < _HEADER or length > _MANIFEST_LIMIT:
        raise FormatError(f"{where}: not a model checkpoint of format 2; fetch it again")
    encoded = stream.take(length)
    if len(encoded) < length:
        raise FormatError(f"{where}: it ends within its manifest; fetch it again")
    manifest = canonical.decode(encoded, limit=_MANIFEST_LIMIT)
    if not isinstance(manifest, dict) or set(manifest) != {"chunks", "layout", "version", "weights"}:
        raise FormatError(f"{where}: its manifest lacks a field or has an unknown one")
    stated = (manifest["version"], manifest["weights"], manifest["layout"])
    if stated != (version.number, version.weights, version.layout):
        raise IntegrityError(where, "its manifest states another version, layout or digest than the ledger")
    match manifest["chunks"]:
        case list(digests) if all(isinstance(digest, str) and is_digest(digest) for digest in digests):
            chunks = Chunks(version, tuple(map(bytes.fromhex, digests)))
        case _:
            raise FormatError(f"{where}: its manifest lists no digests of chunks")
    if chunks.encode() != header + encoded:  # such as true in the place of 1
        raise FormatError(f"{where}: its manifest is not written as this version's is")
    return chunks, _HEADER + length
