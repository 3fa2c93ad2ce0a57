"""An artefact on its way, sealed in pieces: it moves, is checked and is taken up again piece by piece.

    PATH        an age file to all recipients, the head. Inside it:
                bytes 0–7    "RJXP" and the format version 2, big-endian
                bytes 8–15   M, big-endian
                M bytes      the manifest, canonical JSON
                the rest     the artefact itself where it is small; it has no pieces then
    PATH.0, …   its pieces of up to 16 chunks, each chunk by itself AES-256-GCM under the manifest's key:
                16 bytes longer than what is inside; the nonce is the chunk's number, 96 bits, big-endian

    {"base": digest of the version that pieces lead on from, or "", "chunks": [digest of each 2²⁰ bytes of the
     artefact, …], "key": 64 hexadecimal digits, "size": bytes of the artefact}

Without a base, piece n holds the bytes from n · 2²⁴ on. With one it holds the step to these bytes from those
of the base, encoded as by the lossless codec and sealed at once, with the number of the piece. Either way
every chunk is held against the digest in the ledger.

Only the head goes through the age library, because that encrypts some 0.4 GB/s and keeps all other threads
waiting meanwhile. A key belongs to one plaintext: sealing the same artefact again gives the same pieces.

References:
  Dworkin, *Galois/Counter Mode (GCM)*, NIST SP 800-38D, sections 7 and 8.2.1 (deterministic nonces).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relayjax import canonical, hashing
from relayjax.codec.lossless import Lossless
from relayjax.errors import FormatError, IntegrityError
from relayjax.hashing import CHUNK, Buffer, is_digest
from relayjax.kernels import threads
from relayjax.store.manifest import PIECE

INLINE = CHUNK
"""Bytes of an artefact that still go with its head."""

TAG = 16
_SEALED = CHUNK + TAG
_MAGIC = b"RJXP\x00\x00\x00\x02"
_HEADER = len(_MAGIC) + 8
_CONTEXT = "relayjax 2026 handover piece key v1"
_STEPS = Lossless()


@dataclass(frozen=True)
class Head:
    """What a head says. One that exists is consistent in itself.

    Attributes:
      size: bytes of the artefact.
      chunks: digests of its chunks, 32 bytes each.
      key: of its pieces, 32 bytes.
      base: digest of the version that its pieces lead on from; empty where they hold the artefact itself.
    """

    size: int
    chunks: tuple[bytes, ...]
    key: bytes
    base: str = ""

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.key) != 32 or len(self.chunks) != max(1, -(-self.size // CHUNK)):
            raise FormatError(f"head of a parcel: {len(self.chunks)} chunks for {self.size} bytes")
        if self.base and (not is_digest(self.base) or self.size <= INLINE or self.size % 4):
            raise FormatError("head of a parcel: a step of what is no large version")

    @property
    def digest(self) -> str:
        """Digest of the artefact, hexadecimal."""
        return hashing.root(self.chunks).hex()

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return piece_count(self.size)

    def span(self, number: int) -> slice:
        """Which bytes of the artefact a piece is about."""
        return slice(PIECE * number, min(PIECE * (number + 1), self.size))

    def room(self, number: int) -> int:
        """Bytes that a sealed piece may have."""
        span = self.span(number)
        inside = span.stop - span.start
        return _STEPS.max_size(inside // 4) + TAG if self.base else sealed_piece(inside)

    def seal(self, number: int, plaintext: Buffer) -> bytes:
        """Seals what a piece holds, on all cores."""
        cipher, view = AESGCM(self.key), memoryview(plaintext).cast("B")
        if self.base:
            return cipher.encrypt(_nonce(number), view, None)
        first, sealed = self._first(number), np.empty(sealed_piece(len(view)), np.uint8)

        def some(start: int, end: int) -> None:
            for i in range(start, end):
                inside, outside = view[CHUNK * i : CHUNK * (i + 1)], _SEALED * i
                cipher.encrypt_into(
                    _nonce(first + i), inside, None, sealed.data[outside : outside + len(inside) + TAG]
                )

        _over_chunks(some, len(view))
        return sealed.tobytes()

    def open(self, number: int, sealed: Buffer, target: memoryview) -> None:
        """Opens a piece and verifies what it holds.

        Args:
          number: of the piece.
          sealed: from anybody.
          target: the bytes that it is about, to be written; where there is a base it holds those of the base.
            What it holds after an error is undefined.

        Raises:
          IntegrityError: it is not this piece.
        """
        cipher, view, first = AESGCM(self.key), memoryview(sealed), self._first(number)

        try:
            if self.base:
                vector = np.frombuffer(target, "<f4")
                _STEPS.apply(cipher.decrypt(_nonce(number), view, None), vector, vector)
            elif len(view) != sealed_piece(len(target)):
                raise IntegrityError(f"piece {number}", "is of another size; fetch it again")
            for i in range(-(-len(target) // CHUNK)):  # a chunk is hashed while it is still in the cache
                place = target[CHUNK * i : CHUNK * (i + 1)]
                if not self.base:
                    part = view[_SEALED * i : _SEALED * i + len(place) + TAG]
                    cipher.decrypt_into(_nonce(first + i), part, None, place)
                if hashing.chunk_digests(place)[0] != self.chunks[first + i]:
                    raise IntegrityError(f"chunk {first + i}", "is another one than its head says; refuse it")
        except (InvalidTag, FormatError) as error:
            raise IntegrityError(f"piece {number}", "is damaged; fetch it again") from error

    def _first(self, number: int) -> int:
        """Number of the first chunk that a piece is about."""
        return self.span(number).start // CHUNK

    def encode(self, inline: Buffer = b"") -> bytes:
        """The head before it is sealed, with the artefact itself where it has no pieces."""
        manifest = canonical.encode(
            {
                "base": self.base,
                "chunks": [digest.hex() for digest in self.chunks],
                "key": self.key.hex(),
                "size": self.size,
            }
        )
        return b"".join((_MAGIC, len(manifest).to_bytes(8, "big"), manifest, inline))


def head_of(data: Buffer, secret: bytes) -> Head:
    """The head of an artefact.

    Args:
      data: the artefact.
      secret: of who seals it; its key derives from that and the artefact, and is drawn for nothing else.
    """
    chunks = tuple(hashing.chunk_digests(data))
    key = blake3(secret + hashing.root(chunks), derive_key_context=_CONTEXT).digest()
    return Head(len(memoryview(data).cast("B")), chunks, key)


def step_of(head: Head, base: str) -> Head:
    """The head of a step to an artefact. Its key is random: another library may compress in another way."""
    return Head(head.size, head.chunks, secrets.token_bytes(32), base)


def encode_step(base: Buffer, new: Buffer) -> bytes:
    """The step between two pieces of versions, float32 each, as a piece holds it."""
    return _STEPS.encode_once(np.frombuffer(base, "<f4"), np.frombuffer(new, "<f4"))


def decode_head(plaintext: bytes) -> tuple[Head, bytes]:
    """Reads an opened head; returns it, and the artefact itself where it has no pieces.

    Raises:
      FormatError: who sealed it did not follow the format.
    """
    end = _HEADER + int.from_bytes(plaintext[len(_MAGIC) : _HEADER], "big")
    if plaintext[: len(_MAGIC)] != _MAGIC or not _HEADER < end <= len(plaintext):
        raise FormatError("head of a parcel: not one of format 2; update the older side")
    inline = plaintext[end:]
    match canonical.decode(plaintext[_HEADER:end], limit=end):
        case {"base": str(base), "chunks": list(chunks), "key": str(key), "size": int(size), **more} if not (
            more or type(size) is not int or not is_digest(key)
        ):
            if all(isinstance(digest, str) and is_digest(digest) for digest in chunks):
                head = Head(size, tuple(map(bytes.fromhex, chunks)), bytes.fromhex(key), base)
                if len(inline) == (0 if head.pieces else size):
                    return head, inline
    raise FormatError("head of a parcel: its manifest lacks a field, or has an unknown one")


def sealed_piece(size: int) -> int:
    """Bytes of a sealed piece that holds so many bytes of an artefact."""
    return size + TAG * -(-size // CHUNK)


def piece_count(size: int) -> int:
    """In how many pieces so large an artefact goes, beside its head."""
    return 0 if size <= INLINE else -(-size // PIECE)


def piece_path(path: str, number: int) -> str:
    """Path of a piece."""
    return f"{path}.{number}"


def head_limit(size: int) -> int:
    """Bytes that the sealed head of an artefact of up to so many bytes may have."""
    return sealed_limit(min(size, INLINE) + 512 + 67 * (size // CHUNK + 1))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _over_chunks(call: Callable[[int, int], None], size: int) -> None:
    """Calls `call(first, last)` for the chunks of so many bytes, on all cores where that pays."""
    count = -(-size // CHUNK)
    threads.run_ranges(call, count, min(threads.cores(), count) if count > 3 else 1)


def sealed_limit(size: int) -> int:
    """Bytes that an age file of so large a plaintext may have, for up to some hundred recipients."""
    return size + size // 1024 + (1 << 17)
