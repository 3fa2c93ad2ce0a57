"""The version that a trainer holds, sealed in its own directory, so that only what is missing is fetched.

held/DIGEST/parcel, parcel.0, …    a version of that digest, as the orderer sealed it to the trainer

It is filled piece by piece while a version comes, and goes on where it was cut. The orderer may also offer
the step from a version that is held here; then that moves, and what it leads to is kept as if it had come
whole. Once a version is complete the others are removed. Nothing here has to last: a piece that is damaged is
fetched again. Other trainers that were given the same version hold the same pieces, so they may be asked too.

P: parameters and what is carried beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from relayjax import files, weights
from relayjax.errors import ExchangeError
from relayjax.hashing import Buffer, is_digest
from relayjax.identity import Keys
from relayjax.peers import handover, parcel
from relayjax.peers.collecting import collect, fetch_head, fetch_piece
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.parcel import Head

_NAME = "parcel"


class Held:
    """Versions in a trainer's directory: one, or two while one comes."""

    def __init__(self, folder: Path, exchange: Exchange, keys: Keys, others: Sequence[Exchange] = ()):
        """Reads nothing yet.

        Args:
          folder: `held` in its directory.
          exchange: where versions are handed over.
          keys: of the trainer.
          others: where other trainers serve pieces of what they hold, see `p2p_pieces.py`.
        """
        self._folder, self._exchange, self._keys, self._peers = folder, exchange, keys, tuple(others)

    def take(self, round: int, number: int, digest: str, size: int) -> np.ndarray | None:
        """A version's weights, fetched as far as they are not held.

        Args:
          round: in which they are handed over.
          number, digest: of the version.
          size: P.

        Returns:
          float32 [P]; None if some of it is not there yet: then what has come is kept for the next time.

        Raises:
          ExchangeError: nobody can be reached; what has come is kept.
          DiskError: the disk refused.
        """
        theta = weights.empty(size)
        target = theta.data.cast("B")
        held = self._open(digest, 4 * size)
        missing = self._load(held, digest, target) if held else None
        if missing != []:
            found = fetch_head(self._exchange, handover.parent(round, number), self._keys, 4 * size)
            if found is None or not _is_version(found.head, digest, 4 * size):
                return None
            if found.head.pieces:
                if missing is None or (held and held.key != found.head.key):
                    files.remove_tree(self._folder / digest)
                    self._keep(digest, _NAME, found.sealed)
                    missing = list(range(found.head.pieces))
                missing = self._fetch(round, number, found.head, target, missing)
            else:  # too small to be worth holding
                target[:] = found.inline
                if weights.digest(theta) != digest:
                    return None
                missing = []
        if missing:
            return None
        for other in self._others(digest):
            files.remove_tree(self._folder / other)
        return theta.astype(np.float32, copy=False)

    def _fetch(
        self, round: int, number: int, head: Head, target: memoryview, missing: list[int]
    ) -> list[int]:
        """Fetches pieces, as steps from what is held where they are offered, else whole."""
        for other in self._others(head.digest):
            base, path = self._open(other, head.size), handover.step(round, other, number)
            offered = base and fetch_head(self._exchange, path, self._keys, head.size)
            if base and offered and (offered.head.base, offered.head.chunks) == (other, head.chunks):
                missing = collect(
                    self._exchange,
                    path,
                    offered.head,
                    target,
                    missing,
                    prepare=partial(fetch_piece, FolderExchange(self._folder / other), _NAME, base),
                    done=lambda piece: self._keep_piece(
                        head, piece, head.seal(piece, target[head.span(piece)])
                    ),
                )
        keep = partial(self._keep_piece, head)
        for peer in self._peers:  # nobody needs them: who is gone, or holds nothing of it, is passed over
            with suppress(ExchangeError):
                missing = collect(peer, held_at(head.digest), head, target, missing, keep=keep, attempts=1)
        return collect(self._exchange, handover.parent(round, number), head, target, missing, keep=keep)

    def _open(self, digest: str, size: int) -> Head | None:
        """The head of a version that is held, or has begun to come."""
        found = fetch_head(FolderExchange(self._folder / digest), _NAME, self._keys, size)
        return found.head if found and _is_version(found.head, digest, size) else None

    def _load(self, head: Head, digest: str, target: memoryview) -> list[int]:
        """Opens what is held of a version; returns the numbers of the pieces that are missing."""
        folder = FolderExchange(self._folder / digest)
        return collect(folder, _NAME, head, target, range(head.pieces), attempts=1)

    def _keep_piece(self, head: Head, number: int, sealed: Buffer) -> None:
        self._keep(head.digest, parcel.piece_path(_NAME, number), sealed)

    def _keep(self, digest: str, name: str, data: Buffer) -> None:
        files.write_cached(self._folder / digest / name, data)

    def _others(self, digest: str) -> Iterator[str]:
        """Digests of the other versions here, sorted."""
        if self._folder.is_dir():
            yield from sorted(
                p.name for p in self._folder.iterdir() if is_digest(p.name) and p.name != digest
            )


def _is_version(head: Head, digest: str, size: int) -> bool:
    """Whether a head is that of a whole version."""
    return (head.digest, head.size, head.base) == (digest, size, "")


def held_at(digest: str) -> str:
    """Path of a version's parcel in the directory of a trainer that holds it."""
    return f"held/{digest}/{_NAME}"
