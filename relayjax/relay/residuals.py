"""What each trainer's payloads have left out so far, kept between its legs and over a restart.

A residual is its trainer's own: nobody else needs it, and whoever has it learns of its data. So each trainer
keeps its in a store of its own, sealed to itself, with a manifest a round signed by itself:

    residuals/NAME/seals/00012.json   says which pieces hold the residual after round 12
    residuals/NAME/store/             the pieces

It is written before the round that it belongs to is settled in the ledger, and the one before stays: whenever
a kill comes, the residual of the last settled round is there. It changes only with an accepted delta, since
nothing of a refused one has arrived.

P: parameters and what is carried beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from relayjax.errors import IntegrityError
from relayjax.files import remove
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.store.local import LocalStore
from relayjax.store.sealed import Artefact, SealDirectory, open_artefact, seal_round
from relayjax.weights import as_bytes


class Residuals:
    """The residuals of all trainers in a local run."""

    def __init__(self, directory: Path, keys: Mapping[str, Keys]):
        """Starts without any.

        Args:
          directory: where they are kept; created with the first one.
          keys: of the trainers, by name.
        """
        self._directory, self._keys = directory, keys
        self._held: dict[str, np.ndarray] = {}

    def of(self, name: str) -> np.ndarray | None:
        """A trainer's residual, float32 [P]; None before its first accepted delta."""
        return self._held.get(name)

    def take(self, left_out: Mapping[str, np.ndarray | None]) -> dict[str, np.ndarray]:
        """Takes up what accepted deltas have left out, float32 [P] each; returns it without the Nones."""
        changed = {name: residual for name, residual in left_out.items() if residual is not None}
        self._held |= changed
        return changed

    def write(self, round: int, changed: Mapping[str, np.ndarray]) -> None:
        """Keeps the residuals of a round's accepted deltas durably, before the round is settled."""
        for name, residual in changed.items():
            store, seals = self._places(name)
            keys = self._keys[name]
            seals.write(
                round,
                seal_round(store, round, [Artefact("residual", [as_bytes(residual)], [keys.public])], keys),
            )
            self._drop(name, seals.rounds()[:-2])

    def recall(self, history: History, size: int) -> None:
        """Takes up the residuals as they were after the last settled round; deletes what was written since.

        Args:
          history: of the run.
          size: P.

        Raises:
          IntegrityError: one is missing, damaged, or not of this size; nothing is deleted then.
        """
        for name, round in last_accepted(history).items():
            store, seals = self._places(name)
            manifest = seals.read(round, {name: self._keys[name].public})
            (seal,) = manifest.seals
            content = open_artefact(store, manifest, seal.artefact, self._keys[name])
            if len(content) != 4 * size:
                where = str(seals.path(round))
                raise IntegrityError(where, f"{len(content)} bytes cannot hold {size} numbers")
            self._held[name] = np.frombuffer(content, dtype="<f4").astype(np.float32)
        for name in self._keys:
            _, seals = self._places(name)
            self._drop(name, [round for round in seals.rounds() if round > len(history.rounds)])

    def _places(self, name: str) -> tuple[LocalStore, SealDirectory]:
        own = self._directory / name
        return LocalStore(own / "store"), SealDirectory(own / "seals")

    def _drop(self, name: str, rounds: list[int]) -> None:
        """Deletes the residuals of some rounds, and all pieces that no manifest names any more."""
        store, seals = self._places(name)
        for round in rounds:
            remove(seals.path(round))
        signer = {name: self._keys[name].public}
        kept = (seal for round in seals.rounds() for seal in seals.read(round, signer).seals)
        store.sweep({address for seal in kept for address in seal.sealed})


def last_accepted(history: History) -> dict[str, int]:
    """Name → the last round in which a trainer's delta became part of a version."""
    versions = history.state.versions
    return {
        name: settled.number
        for settled in history.rounds
        for number, _, _ in settled.settle.versions
        for name in versions[number].owners
    }
