"""Digests of artefacts: BLAKE3 over chunks, made on all cores and verified chunk by chunk.

    chunk i   bytes i · 2²⁰ up to (i + 1) · 2²⁰, the last one maybe shorter; no bytes are one empty chunk
    dᵢ        BLAKE3 of chunk i, 32 bytes
    digest    d₀ where there is one chunk; else BLAKE3(d₀ ‖ d₁ ‖ …) in its mode for deriving keys, with the
              context "relayjax 2026 chunk tree v1"

Up to 1 MiB the digest is that of any BLAKE3 program. Beyond, whoever holds it and the list of the dᵢ can
check each chunk as it comes, from anybody and in any order. The two modes of BLAKE3 never agree, so no list
of digests can pass for an artefact.

References:
  O'Connor et al., *BLAKE3: one function, fast everywhere*, 2020, section 2.3 (modes) and 6.4 (subtrees).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from blake3 import blake3

from relayjax.kernels import threads

CHUNK = 1 << 20
Buffer: TypeAlias = bytes | bytearray | memoryview

_SPELLING = re.compile("[0-9a-f]{64}")
_CONTEXT = "relayjax 2026 chunk tree v1"
_PARALLEL_FROM = 16  # chunks; fewer are hashed before a thread has started


def digest(data: Buffer) -> str:
    """Returns the digest of bytes, hexadecimal."""
    view = memoryview(data).cast("B")
    return blake3(view).hexdigest() if len(view) <= CHUNK else root(chunk_digests(view)).hex()


def chunk_digests(data: Buffer) -> list[bytes]:
    """Returns the digests of all chunks, in order: one at least.

    Args:
      data: contiguous, of any element type; nothing of it is copied.
    """
    view = memoryview(data).cast("B")
    count = max(1, -(-len(view) // CHUNK))

    def part(first: int, last: int) -> list[bytes]:  # blake3 lets other threads run meanwhile
        return [blake3(view[CHUNK * i : CHUNK * (i + 1)]).digest() for i in range(first, last)]

    workers = threads.cores() if count >= _PARALLEL_FROM else 1
    return [one for some in threads.run_ranges(part, count, min(workers, count)) for one in some]


def root(digests: Sequence[bytes]) -> bytes:
    """Returns the digest of the whole out of those of its chunks."""
    if len(digests) == 1:
        return digests[0]
    return blake3(b"".join(digests), derive_key_context=_CONTEXT).digest()


def digest_of_pieces(pieces: Iterable[Buffer]) -> str:
    """Returns the digest of what comes in pieces, hexadecimal.

    Args:
      pieces: every one but the last a multiple of `CHUNK`, at least one.
    """
    return root([one for piece in pieces for one in chunk_digests(piece)]).hex()


def is_digest(text: str) -> bool:
    """Tells whether a text is spelt as a digest: 64 lower-case hexadecimal digits."""
    return _SPELLING.fullmatch(text) is not None
