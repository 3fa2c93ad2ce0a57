"""What a run keeps at rest: genesis weights in the open, deltas and model checkpoints sealed.

A round's artefacts are sealed to those entitled to them at that time: a delta to its trainer, to the
maintainers and to whoever holds a licence; a model checkpoint to maintainers and licence holders. The
genesis is public: it has learnt nothing yet, or only what a file holds that the run was told to start from.
P: parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from relayjax.authority import sealer
from relayjax.errors import IntegrityError
from relayjax.files import remove
from relayjax.history import History, SettledRound
from relayjax.identity import Keys
from relayjax.mechanism.rules import Schedule
from relayjax.mechanism.state import State
from relayjax.pack import ModelVersion
from relayjax.records import Submit
from relayjax.store.local import LocalStore
from relayjax.store.manifest import Seal, SealManifest
from relayjax.store.sealed import Artefact, SealDirectory, open_artefact, open_pieces, seal_round
from relayjax.weights import as_bytes
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
        return self.store.put(as_bytes(theta))

    def genesis(self, history: History) -> np.ndarray:
        """The genesis weights, float32 [P].

        Raises:
          IntegrityError: missing, damaged, or not as many as the genesis record lays out.
        """
        version = ModelVersion(0, history.genesis.weights, history.genesis.layout)
        content = self.store.get(version.weights)
        if len(content) != 4 * version.size:
            where = str(self.store.path(version.weights))
            raise IntegrityError(where, f"{len(content)} bytes cannot hold {version.size} parameters")
        return np.frombuffer(content, dtype="<f4").astype(np.float32)

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
        for settled in reversed(history.rounds):
            if settled.head not in line or not model_due(settled, state.schedule):
                continue
            version, manifest = line[settled.head], self.manifest(state, settled.number)
            for seal in manifest.seals:
                if seal.kind == "model":
                    found = ModelVersion(version.number, version.digest, history.genesis.layout)
                    return SealedModel(found, manifest, seal)
        return None

    def open_model(self, model: SealedModel, keys: Keys) -> Iterator[bytes]:
        """Opens a model checkpoint; yields its pack, to be read to its end.

        Raises:
          AccessError: it was not sealed to these keys.
          IntegrityError: it is damaged.
        """
        return open_pieces(self.store, model.manifest, model.seal.artefact, keys)

    def manifest(self, state: State, round: int) -> SealManifest:
        """The seal manifest of a round, verified with the keys of who ordered when it was settled."""
        signer = sealer(state, round)
        return self.seals.read(round, {signer.name: signer})

    def sweep(self, history: History) -> None:
        """Deletes what a killed round left: manifests beyond the last settled one, and blobs nobody names.

        Raises:
          IntegrityError: the manifest of a settled round is missing or damaged; nothing is deleted then,
            for without it nobody knows which blobs are needed.
        """
        manifests = [self.manifest(history.state, settled.number) for settled in history.rounds]
        for round in self.seals.rounds():
            if round > len(history.rounds):
                remove(self.seals.path(round))
        sealed = {address for manifest in manifests for seal in manifest.seals for address in seal.sealed}
        self.store.sweep({history.genesis.weights, *sealed})


def delta_recipients(settled: SettledRound, trainer: str) -> set[str]:
    """Who may open a trainer's candidate of a round."""
    return {trainer, settled.orderer, *settled.maintainers, *settled.licences} - settled.revoked


def model_recipients(settled: SettledRound) -> set[str]:
    """Who may open the head after a round: who ordered it, and everybody whose licence covers it."""
    licensed = {name for name, number in settled.licences.items() if number >= settled.head}
    return {settled.orderer, *licensed} - settled.revoked


def model_due(settled: SettledRound, schedule: Schedule) -> bool:
    """Whether a round hands its head on as a model checkpoint: every so many versions, and at the end."""
    made = [number for number, _, _ in settled.settle.versions]
    due = settled.number == schedule.rounds or any(n % schedule.checkpoint_every == 0 for n in made)
    return due and bool(settled.settle.heads)


def opens(state: State, manifest: SealManifest, seal: Seal, keys: Keys) -> bool:
    """Whether an artefact was sealed to these keys; those of a name that changed its own may not be all."""
    if keys.name not in seal.recipients:
        return False
    _, receiving = state.members[keys.name].settled_with(manifest.round)
    return keys.opens(receiving)
