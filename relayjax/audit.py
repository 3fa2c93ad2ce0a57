"""Checking a run from its directory alone, trusting nobody in it. No accelerator stack is imported.

1. The log: every bit of every file, the Merkle tree under the signed checkpoint, the chain.
2. The records: every signature, and every transition of the agreed state, payouts included.
3. The artefacts: every blob against its digest, every seal manifest against its signature, and that every
   revealed delta is there.
4. With a key that can open them: every delta and model checkpoint against the ledger, and every
   version's weights recomputed from the genesis on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relayjax import codec, history, lineage, records
from relayjax.archive import Archive
from relayjax.errors import FormatError, IntegrityError
from relayjax.history import History
from relayjax.identity import Keys, PublicKeys, verify_envelope
from relayjax.ledger.audit import audit_log
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.disk import CHECKPOINT, read, read_bundle
from relayjax.ledger.entry import Entry
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import parse_note
from relayjax.ledger.tiles import tiles_of
from relayjax.pack import ModelVersion, verify_pack
from relayjax.records import Genesis, Submit
from relayjax.replay import public_keys
from relayjax.store.sealed import open_artefact
from relayjax.workdir import Workdir


@dataclass(frozen=True)
class Audit:
    """What was checked and found right.

    Attributes:
      origin: the log's name.
      log_key: the Ed25519 public key it is signed with, hexadecimal.
      root: Merkle root, hexadecimal.
      artefacts: sealed artefacts whose bytes match.
      opened: artefacts whose plaintext was checked, too; 0 without a key.
      weights: versions whose weights were recomputed; 0 without a key.
      history: the run's story.
    """

    origin: str
    log_key: str
    root: str
    artefacts: int
    opened: int
    weights: int
    history: History


def audit(workdir: Workdir, keys: Keys | None = None, log_key: str | None = None) -> Audit:
    """Checks everything in a run's directory.

    Args:
      workdir: the run's.
      keys: of a maintainer or licence holder, to check what is sealed as well; by default those that a
        local experiment keeps in its directory.
      log_key: the log's public key, hexadecimal, as known from elsewhere; by default the one that the
        genesis record names, which proves consistency but not whose log it is.

    Raises:
      WorkdirError: there is no run.
      IntegrityError: something is wrong; names the file and, where there is one, the entry.
    """
    ledger = read_ledger(workdir)
    if log_key not in (None, ledger.signer.signing):
        raise IntegrityError(str(workdir.ledger), f"signed with {ledger.signer.signing}, not with {log_key}")
    past = history.read(ledger.entries)
    archive, keys = Archive(workdir), keys or local_keys(workdir, past)
    artefacts = _check_artefacts(archive, past)
    opened = _check_plaintexts(archive, past, keys) if keys else 0
    weights = _check_weights(archive, past, keys) if keys else 0
    root = Tree([leaf_hash(entry) for entry in ledger.entries]).root().hex()
    return Audit(ledger.origin, ledger.signer.signing, root, artefacts, opened, weights, past)


@dataclass(frozen=True)
class Ledger:
    """A log that was read without knowing it before.

    Attributes:
      origin: the name it gives itself.
      signer: who signs it, as its genesis record says.
      entries: all of them, in one chain under the signed checkpoint.
    """

    origin: str
    signer: PublicKeys
    entries: list[bytes]


def read_ledger(workdir: Workdir) -> Ledger:
    """Reads a run's log, every bit of it checked; the records in it are not.

    Raises:
      WorkdirError: there is no run.
      IntegrityError: a file or entry is wrong.
    """
    workdir.require()
    origin, signer = _introduction(workdir.ledger)
    return Ledger(origin, signer, audit_log(workdir.ledger, origin, signer))


def local_keys(workdir: Workdir, past: History) -> Keys | None:
    """The ordering maintainer's keys, where a local experiment keeps them in its directory."""
    name = past.state.orderer
    return Keys.load(workdir.keys, name) if (workdir.keys / f"{name}.age").exists() else None


def _introduction(ledger: Path) -> tuple[str, PublicKeys]:
    """The log's name, from its checkpoint, and its signer, from the genesis record, which that key signed."""
    file = ledger / CHECKPOINT
    try:
        checkpoint = Checkpoint.decode(parse_note(read(file)).text)
    except FormatError as error:
        raise IntegrityError(str(file), f"{error}; restore it from a copy") from error
    if checkpoint.size == 0:
        raise IntegrityError(str(file), "the log is empty: the run never started; start it again")
    tile = next(iter(tiles_of(checkpoint.size)))
    where = f"{ledger / tile.bundle_path}: entry 0"
    entries, problem = read_bundle(ledger, tile)
    try:
        envelope = Entry.decode(entries[0] if entries else b"").envelope
        genesis = records.decode(envelope.payload)
        if not isinstance(genesis, Genesis):
            raise FormatError(f"is a {genesis.KIND} record; {problem or 'a log starts with its genesis'}")
        signer = PublicKeys(genesis.author, genesis.signing, genesis.receiving)
        verify_envelope(envelope, signer, where=where)
    except FormatError as error:
        raise IntegrityError(where, str(error)) from error
    return checkpoint.origin, signer


def _check_artefacts(archive: Archive, past: History) -> int:
    orderer = past.state.members[past.state.orderer]
    archive.store.verify()
    archive.store.get(past.genesis.weights)
    manifests = archive.seals.verify(archive.store, {orderer.name: public_keys(orderer)})
    by_round = {manifest.round: manifest for manifest in manifests}
    for settled in past.rounds:
        if settled.number not in by_round:
            raise IntegrityError(str(archive.seals.path(settled.number)), "this manifest is missing")
        for submission in settled.facts.submissions.values():
            seal = by_round[settled.number].find(submission.delta)
            if seal.kind != "delta" or seal.size != submission.size:
                where = str(archive.seals.path(settled.number))
                raise IntegrityError(where, f"states another size than the ledger for {submission.delta}")
    return sum(len(manifest.seals) for manifest in manifests)


def _check_plaintexts(archive: Archive, past: History, keys: Keys) -> int:
    """Opens every artefact; a model checkpoint must be of the head that its round ended with."""
    opened = 0
    for round in archive.seals.rounds():
        manifest = archive.manifest(past.state, round)
        for seal in manifest.seals:
            if keys.name not in seal.recipients:
                continue
            where = f"{archive.store.path(seal.sealed)} ({seal.kind} of round {round})"
            plaintext = open_artefact(archive.store, manifest, seal.artefact, keys)
            if seal.kind == "model":
                head = past.state.versions[past.rounds[round - 1].settle.heads[0]]
                try:
                    verify_pack(plaintext, ModelVersion(head.number, head.digest, past.genesis.layout))
                except FormatError as error:
                    raise IntegrityError(where, str(error)) from error
            opened += 1
    return opened


def _check_weights(archive: Archive, past: History, keys: Keys) -> int:
    """Recomputes every version from the genesis on, if the keys open every delta that takes."""
    codec_of_run = codec.get(past.state.schedule.codec)

    def fetch(submission: Submit) -> bytes:
        return archive.open_delta(past.state, submission, keys)

    return sum(1 for _ in lineage.walk(past, archive.genesis(past), fetch, codec_of_run))
