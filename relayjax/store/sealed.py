"""Sealed artefacts: only those they were sealed to can open them; everybody can check that they are whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from relayjax import hashing
from relayjax.errors import IntegrityError
from relayjax.files import is_temporary, read, write_atomic
from relayjax.hashing import Buffer
from relayjax.identity import Keys, PublicKeys, open_sealed, seal
from relayjax.kernels import threads
from relayjax.store.base import Store
from relayjax.store.manifest import PIECE, Seal, SealManifest, piece_count, sign_manifest, verify_manifest

_FILE_NAME = re.compile(r"(\d{5,})\.json")
_PUT_AT_ONCE = 4 * PIECE
"""Bytes in memory at most before they are written; small artefacts share the flushes of the disk."""


@dataclass(frozen=True)
class Artefact:
    """Something to be sealed.

    Attributes:
      kind: one of `manifest.KINDS`.
      data: the plaintext, in one buffer or in several that follow each other; none is copied as a whole.
      recipients: who may open it, in any order.
    """

    kind: str
    data: bytes | Sequence[Buffer]
    recipients: Sequence[PublicKeys]

    @property
    def size(self) -> int:
        """Bytes of the plaintext."""
        return sum(map(len, self._buffers))

    def pieces(self) -> Iterator[bytes]:
        """Yields the plaintext as it is sealed: `PIECE` bytes at a time, at least one piece."""
        parts, missing = list[memoryview](), PIECE
        for buffer in self._buffers:
            while buffer:
                parts.append(buffer[:missing])
                buffer = buffer[missing:]
                missing -= len(parts[-1])
                if not missing:
                    yield b"".join(parts)
                    parts, missing = [], PIECE
        if parts or not self.size:
            yield b"".join(parts)

    @property
    def _buffers(self) -> list[memoryview]:
        buffers = [self.data] if isinstance(self.data, bytes) else self.data
        return [memoryview(buffer).cast("B") for buffer in buffers]


def seal_round(store: Store, round: int, artefacts: Iterable[Artefact], signer: Keys) -> bytes:
    """Seals the artefacts of a round into a store.

    Args:
      store: gets the sealed bytes, under their own digests.
      round: its number.
      artefacts: in any order; equal ones (two participants that did nothing, say) are sealed once, to the
        recipients of all of them.
      signer: who vouches that the sealed bytes hold those plaintexts.

    Returns:
      The signed manifest, as `SealDirectory.write` takes it.

    Raises:
      ConfigError: an artefact has no recipients.
    """
    merged: dict[str, Artefact] = {}
    for artefact in artefacts:
        digest = hashing.digest_of_pieces(artefact.pieces())
        others = merged[digest].recipients if digest in merged else ()
        merged[digest] = replace(artefact, recipients=(*others, *artefact.recipients))
    ordered = sorted(merged.items())
    addresses = iter(_put(store, (piece for _, artefact in ordered for piece in _sealed_pieces(artefact))))
    seals = tuple(
        Seal(
            digest,
            artefact.kind,
            artefact.size,
            tuple(islice(addresses, piece_count(artefact.size))),
            tuple(sorted({public.name for public in artefact.recipients})),
        )
        for digest, artefact in ordered
    )
    return sign_manifest(SealManifest(round, seals), signer)


def open_artefact(store: Store, manifest: SealManifest, digest: str, keys: Keys) -> bytes:
    """Opens a sealed artefact; returns its plaintext.

    Args:
      store: holds the sealed bytes.
      manifest: verified, of the round that sealed it.
      digest: of the plaintext.
      keys: of who opens it.

    Raises:
      AccessError: it was not sealed to these keys.
      IntegrityError: missing or damaged sealed bytes, or another plaintext than the signer promised.
    """
    return b"".join(open_pieces(store, manifest, digest, keys))


def open_pieces(store: Store, manifest: SealManifest, digest: str, keys: Keys) -> Iterator[bytes]:
    """Opens a sealed artefact piece by piece; arguments and errors are those of `open_artefact`.

    Yields:
      Its plaintext, at most `PIECE` bytes at a time. Only after the last one is it known to be the right one.
    """
    found = manifest.find(digest)
    digests: list[bytes] = []
    for number, address in enumerate(found.sealed, 1):
        piece = open_sealed(store.get(address), keys)
        expected = PIECE if number < len(found.sealed) else found.size - PIECE * (number - 1)
        if len(piece) != expected:
            raise IntegrityError(
                f"artefact {digest}", f"piece {number} has {len(piece)} bytes, its manifest states {expected}"
            )
        digests += hashing.chunk_digests(piece)
        yield piece
    if (opened := hashing.root(digests).hex()) != digest:
        raise IntegrityError(f"artefact {digest}", f"the plaintext has the digest {opened}; refuse it")


def _sealed_pieces(artefact: Artefact) -> Iterator[bytes]:
    recipients = sorted({public.receiving for public in artefact.recipients})
    return (seal(piece, recipients) for piece in artefact.pieces())


def _put(store: Store, blobs: Iterable[bytes]) -> list[str]:
    """Keeps blobs, some at a time; the next one is sealed while they are written. Returns their digests."""
    digests: list[str] = []
    waiting: list[bytes] = []
    for blob in threads.ahead(blobs):
        waiting.append(blob)
        if sum(map(len, waiting)) >= _PUT_AT_ONCE:
            digests += store.put_many(waiting)
            waiting = []
    return digests + store.put_many(waiting)


class SealDirectory:
    """The manifests of a run: a file a round, `00012.json`, and nothing else."""

    def __init__(self, directory: Path):
        """Opens a directory of manifests; it is created with the first `write`."""
        self.directory = directory

    def write(self, round: int, manifest: bytes) -> None:
        """Keeps the signed manifest of a round, durably; one of the same round is replaced."""
        write_atomic(self.path(round), manifest)

    def read(self, round: int, signers: Mapping[str, PublicKeys]) -> SealManifest:
        """Reads and verifies the manifest of a round; see `verify_manifest`.

        Raises:
          IntegrityError: missing, or not as its signer wrote it; names the file.
        """
        path = self.path(round)
        if not path.is_file():
            raise IntegrityError(
                str(path), "this manifest is missing; fetch it again from another participant"
            )
        return verify_manifest(read(path), signers, round, str(path))

    def rounds(self) -> list[int]:
        """Lists the rounds that have a manifest, in order.

        Raises:
          IntegrityError: naming a file that should not be there. Leftovers of a kill are ignored.
        """
        if not self.directory.exists():
            return []
        return sorted(self._round(path) for path in self.directory.iterdir() if not is_temporary(path))

    def verify(self, store: Store, signers: Mapping[str, PublicKeys]) -> list[SealManifest]:
        """Verifies every manifest, and every sealed artefact that one names; returns them, in order.

        Raises:
          IntegrityError: naming the first file, manifest or artefact, that is wrong or missing.
        """
        manifests = [self.read(round, signers) for round in self.rounds()]
        for manifest in manifests:
            for address in (address for entry in manifest.seals for address in entry.sealed):
                store.get(address)
        return manifests

    def path(self, round: int) -> Path:
        """Returns where the manifest of a round is or would be."""
        return self.directory / f"{round:05d}.json"

    def _round(self, path: Path) -> int:
        name = _FILE_NAME.fullmatch(path.name)
        if name is None or path != self.path(int(name[1])) or not path.is_file():
            raise IntegrityError(str(path), "not a seal manifest; move it elsewhere")
        return int(name[1])
