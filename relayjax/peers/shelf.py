"""What is at rest in an exchange: the genesis in the open, settled deltas for those they were sealed to."""

from __future__ import annotations

from typing import cast

import numpy as np

from relayjax import hashing
from relayjax.errors import IntegrityError
from relayjax.history import History
from relayjax.identity import Keys, PublicKeys
from relayjax.mechanism.state import State
from relayjax.pack import ModelVersion
from relayjax.peers.exchange import Exchange
from relayjax.peers.parcel import sealed_limit
from relayjax.records import Submit
from relayjax.store.base import Store, check_digest
from relayjax.store.manifest import PIECE, SIZE_LIMIT, verify_manifest
from relayjax.store.sealed import open_artefact

_UNKNOWN = 1 << 34
"""Bytes that an artefact may have whose size nobody has stated."""


class Shelf:
    """The artefacts of a relay, seen by a holder of some keys."""

    def __init__(self, exchange: Exchange, keys: Keys):
        self._exchange, self._keys = exchange, keys

    def genesis(self, history: History) -> np.ndarray:
        """The genesis weights, float32 [P].

        Raises:
          IntegrityError: missing, or other weights than the ledger names.
        """
        version = ModelVersion(0, history.genesis.weights, history.genesis.layout)
        data = _Fetched(self._exchange).get(version.weights, 4 * version.size)
        if len(data) != 4 * version.size:
            raise IntegrityError("genesis weights", f"{len(data)} bytes for {version.size} parameters")
        return np.frombuffer(data, dtype="<f4").astype(np.float32)

    def open_delta(self, state: State, submission: Submit) -> bytes:
        """The encoded delta of a settled submission.

        Raises:
          AccessError: it was not sealed to these keys.
          IntegrityError: it, or the manifest that names it, is missing or damaged.
        """
        path = f"seals/{submission.round:05d}.json"
        data = self._exchange.fetch(path, SIZE_LIMIT)
        if data is None:
            raise IntegrityError(path, "this manifest is missing; ask the ordering maintainer for it")
        signing, receiving = state.members[state.orderer].settled_with(submission.round)
        signers = {state.orderer: PublicKeys(state.orderer, signing, receiving)}
        manifest = verify_manifest(data, signers, submission.round, path)
        store = _Fetched(self._exchange, sealed_limit(min(submission.size, PIECE)))
        return open_artefact(cast(Store, store), manifest, submission.delta, self._keys)


class _Fetched:
    """As much of a store as opening an artefact takes: `get`."""

    def __init__(self, exchange: Exchange, limit: int = _UNKNOWN):
        self._exchange, self._limit = exchange, limit

    def get(self, digest: str, limit: int | None = None) -> bytes:
        check_digest(digest)
        path = f"store/{digest[:2]}/{digest[2:]}"
        data = self._exchange.fetch(path, self._limit if limit is None else limit)
        if data is None or hashing.digest(data) != digest:
            raise IntegrityError(path, "missing or damaged; ask the ordering maintainer for it")
        return data
