"""What a run keeps at rest: genesis weights in the open, deltas and model checkpoints sealed.

A round's artefacts are sealed to those entitled to them at that time: a delta to its trainer, to the
maintainers and to whoever holds a licence; a model checkpoint to maintainers and licence holders. The
genesis is public: it has learnt nothing yet. P: parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relayjax.history import History
from relayjax.identity import Keys, PublicKeys
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import State
from relayjax.pack import ModelVersion
from relayjax.records import Submit
from relayjax.replay import public_keys
from relayjax.store.local import LocalStore
from relayjax.store.manifest import Seal, SealManifest
from relayjax.store.sealed import Artefact, SealDirectory, open_artefact, seal_round
from relayjax.workdir import Workdir


@dataclass(frozen=True)
class SealedModel:
    """A model checkpoint at rest.

    Attributes:
      version: which version it is.
      manifest: of the round that sealed it.
      seal: its entry there.
    """

    version: ModelVersion
    manifest: SealManifest
    seal: Seal


class Archive:
    """The sealed artefacts of a workdir, seen by a holder of some keys."""

    def __init__(self, workdir: Workdir):
        self.workdir = workdir
        self.store = LocalStore(workdir.store)
        self.seals = SealDirectory(workdir.seals)

    def keep_genesis(self, theta: np.ndarray) -> str:
        """Stores the genesis weights; returns their digest, which is the version's digest too."""
        return self.store.put(np.ascontiguousarray(theta, dtype="<f4").tobytes())

    def genesis(self, history: History) -> np.ndarray:
        """The genesis weights, float32 [P]."""
        return np.frombuffer(self.store.get(history.genesis.weights), dtype="<f4").astype(np.float32)

    def seal(self, round: int, artefacts: list[Artefact], signer: Keys) -> None:
        """Seals a round's artefacts and signs the manifest over them, durably."""
        self.seals.write(round, seal_round(self.store, round, artefacts, signer))

    def open_delta(self, state: State, submission: Submit, keys: Keys) -> bytes:
        """Opens the encoded delta of a settled submission."""
        manifest = self.manifest(state, submission.round)
        return open_artefact(self.store, manifest, submission.delta, keys)

    def newest_model(self, history: History) -> SealedModel | None:
        """The newest model checkpoint in the head's lineage, or None before the first one."""
        state = history.state
        line = {version.number: version for version in state.lineage(state.head.number)}
        for round in reversed(self.seals.rounds()):
            manifest, head = self.manifest(state, round), history.rounds[round - 1].settle.heads[:1]
            for seal in manifest.seals:
                if seal.kind == "model" and head and head[0] in line:
                    version = line[head[0]]
                    found = ModelVersion(version.number, version.digest, history.genesis.layout)
                    return SealedModel(found, manifest, seal)
        return None

    def open_model(self, model: SealedModel, keys: Keys) -> bytes:
        """Opens a model checkpoint; returns its pack.

        Raises:
          AccessError: it was not sealed to these keys.
          IntegrityError: it is damaged.
        """
        return open_artefact(self.store, model.manifest, model.seal.artefact, keys)

    def manifest(self, state: State, round: int) -> SealManifest:
        """The verified seal manifest of a round."""
        return self.seals.read(round, {state.orderer: public_keys(state.members[state.orderer])})

    def sweep(self, history: History) -> None:
        """Deletes what a killed round left: manifests beyond the last settled one, and blobs nobody names."""
        settled = len(history.rounds)
        for round in self.seals.rounds():
            if round > settled:
                self.seals.path(round).unlink()
        referenced = {history.genesis.weights}
        for round in self.seals.rounds():
            referenced |= {seal.sealed for seal in self.manifest(history.state, round).seals}
        self.store.sweep(referenced)


def delta_recipients(state: State, trainer: str) -> list[PublicKeys]:
    """Who may open a candidate of the present round."""
    names = {trainer, state.orderer, *mechanism(state.rules).maintainers(state), *state.licences}
    return [public_keys(state.members[name]) for name in sorted(names)]


def model_recipients(state: State) -> list[PublicKeys]:
    """Who may open the head: the orderer, and everybody whose licence covers it."""
    entitled = {name for name, number in state.licences.items() if number >= state.head.number}
    return [public_keys(state.members[name]) for name in sorted({state.orderer, *entitled})]
