"""Checking a run from its directory alone, trusting nobody in it. No accelerator stack is imported.

1. The log: every bit of every file, the Merkle tree under the signed checkpoint, the chain.
2. The records: every signature, and every transition of the agreed state, payouts included.
3. The artefacts: every blob against its digest, every seal manifest against its signature and the ledger:
   every revealed delta and due model checkpoint is there, for those entitled to it, and nothing else.
4. With a key that can open them: every delta and model checkpoint against the ledger, and every
   version's and candidate's weights recomputed from the genesis on.

A directory that was put back, whole, to what it once was is right in itself: that newer rounds are missing
shows only to whoever kept a later checkpoint or root. Nor do seals show for whom they open, only for whom
their signer says they do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relayjax import codec, history, lineage, records
from relayjax.archive import Archive, delta_recipients, model_due, model_recipients, opens
from relayjax.authority import Claim, check_note, claim_of
from relayjax.errors import FormatError, IntegrityError
from relayjax.history import History, SettledRound
from relayjax.identity import Keys, PublicKeys, find_keys, verify_envelope
from relayjax.ledger.audit import audit_log
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.disk import CHECKPOINT, present_files, read, read_bundle, read_checkpoint
from relayjax.ledger.entry import Entry
from relayjax.ledger.evidence import watch
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import parse_note, signer_key
from relayjax.ledger.policy import Policy
from relayjax.ledger.tiled import TileReader
from relayjax.ledger.tiles import WIDTH, tiles_of
from relayjax.mechanism.state import State
from relayjax.pack import ModelVersion, decode_pack
from relayjax.records import Genesis, Submit
from relayjax.store.manifest import SealManifest
from relayjax.store.sealed import open_artefact, open_pieces
from relayjax.weights import digest
from relayjax.workdir import Workdir

_CUT_SHORT = "a run cut short leaves such, and going on deletes them"


@dataclass(frozen=True)
class Audit:
    """What was checked and found right.

    Attributes:
      origin: the log's name.
      log_key: the Ed25519 public key it was founded with, hexadecimal; the founder signs with it.
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


def audit(
    workdir: Workdir, keys: Keys | None = None, log_key: str | None = None, policy: Policy | None = None
) -> Audit:
    """Checks everything in a run's directory.

    Args:
      workdir: the run's.
      keys: of a maintainer or licence holder, to check what is sealed as well; by default those that a
        local experiment keeps in its directory.
      log_key: the log's public key, hexadecimal, as known from elsewhere; by default the one that the
        genesis record names, which proves consistency but not whose log it is.
      policy: whose cosignatures the log's checkpoint must have; if it names logs, this must be one of them.

    Raises:
      WorkdirError: there is no run.
      IntegrityError: something is wrong; names the file and, where there is one, the entry.
    """
    ledger = read_ledger(workdir, policy)
    past, founded = history.read(ledger.entries), ledger.founder.signing
    if log_key not in (None, founded):
        raise IntegrityError(str(workdir.ledger), f"founded with the key {founded}, not with {log_key}")
    check_note(read(workdir.ledger / CHECKPOINT), ledger.origin, past.state, str(workdir.ledger / CHECKPOINT))
    archive, keys = Archive(workdir), keys or local_keys(workdir, past)
    try:
        manifests = _check_artefacts(archive, past)
        opened = _check_plaintexts(archive, past, manifests, keys) if keys else 0
        weights = _check_weights(archive, past, manifests, keys) if keys else 0
    except FormatError as error:
        raise IntegrityError(f"{workdir.ledger}, entry 0", str(error)) from error
    artefacts = sum(len(manifest.seals) for manifest in manifests)
    root = Tree([leaf_hash(entry) for entry in ledger.entries]).root().hex()
    return Audit(ledger.origin, founded, root, artefacts, opened, weights, past)


@dataclass(frozen=True)
class Ledger:
    """A log that was read without knowing it before.

    Attributes:
      origin: the name it gives itself.
      founder: who opened it, as its genesis record says.
      signer: who has signed its checkpoint, the founder or, if the replay confirms it, a successor.
      entries: all of them, in one chain under the signed checkpoint.
    """

    origin: str
    founder: PublicKeys
    signer: PublicKeys
    entries: list[bytes]


def read_ledger(workdir: Workdir, policy: Policy | None = None) -> Ledger:
    """Reads a run's log, every bit of it checked; the records in it are not.

    Args:
      workdir: the run's.
      policy: whose cosignatures the checkpoint must have.

    Raises:
      WorkdirError: there is no run.
      IntegrityError: a file or entry is wrong.
    """
    origin, founder, claim = signer_of(workdir, policy)
    signer = claim.signer
    return Ledger(origin, founder, signer, audit_log(workdir.ledger, origin, signer, policy))


def signer_of(workdir: Workdir, policy: Policy | None = None) -> tuple[str, PublicKeys, Claim]:
    """The name of a run's log, who founded it, and who seems to have signed its checkpoint.

    Args:
      workdir: the run's.
      policy: if it names logs, this must be one of them.

    Raises:
      WorkdirError: there is no run.
      IntegrityError: the checkpoint or the genesis record is wrong, or the log is none of the policy's.
    """
    if not (workdir.ledger / "tile").is_dir():  # with tiles, it is the checkpoint that is missing
        workdir.require()
    origin, genesis = introduction(workdir.ledger)
    if genesis is None:
        problem = "the log is empty: the run never started; start it again"
        raise IntegrityError(str(workdir.ledger / CHECKPOINT), problem)
    founder = PublicKeys(genesis.author, genesis.signing, genesis.receiving)
    if policy and policy.logs and signer_key(origin, founder.signing) not in [log.key for log in policy.logs]:
        raise IntegrityError(str(workdir.ledger), f"{origin} with this key is no log of the policy")
    return origin, founder, claim_of(workdir.ledger, origin, genesis)


def local_keys(workdir: Workdir, past: History) -> Keys | None:
    """The ordering maintainer's keys, where a local experiment keeps them in its directory."""
    orderer = past.state.members[past.state.orderer]
    return find_keys(workdir.keys, orderer.name, orderer.signing)


def introduction(ledger: Path) -> tuple[str, Genesis | None]:
    """How a log introduces itself: its name and its genesis record, which the key named in it has signed.

    Returns:
      The name, from the checkpoint, and the record; None while the log is empty.

    Raises:
      IntegrityError: the checkpoint or the first entry is wrong.
    """
    file = ledger / CHECKPOINT
    try:
        checkpoint = Checkpoint.decode(parse_note(read(file)).text)
    except FormatError as error:
        raise IntegrityError(str(file), f"{error}; restore it from a copy") from error
    if checkpoint.size == 0:
        return checkpoint.origin, None
    if checkpoint.size > WIDTH * len(present_files(ledger)):  # before a list as long as that is made
        raise IntegrityError(str(file), f"states {checkpoint.size} entries, more than its files can hold")
    tile = next(iter(tiles_of(checkpoint.size)))
    where = f"{ledger / tile.bundle_path}, entry 0"
    entries, problem = read_bundle(ledger, tile)
    try:
        envelope = Entry.decode(entries[0] if entries else b"").envelope
        genesis = records.decode(envelope.payload)
        if not isinstance(genesis, Genesis):
            raise FormatError(f"is a {genesis.KIND} record; {problem or 'a log starts with its genesis'}")
        verify_envelope(envelope, PublicKeys(genesis.author, genesis.signing, genesis.receiving), where=where)
    except FormatError as error:
        raise IntegrityError(where, str(error)) from error
    return checkpoint.origin, genesis


def follow(workdir: Workdir, origin: str, keys: Sequence[str], seen: Path) -> None:
    """Holds a log that was checked against the checkpoint that a file remembers of it; remembers this one.

    Args:
      workdir: the run's.
      origin: the log's name.
      keys: with one or another of which its checkpoints are signed.
      seen: the file that remembers.

    Raises:
      SplitViewError: the log contradicts what it showed before; the evidence is kept beside the file.
    """
    note, checkpoint = read_checkpoint(workdir.ledger, origin, keys)
    reader = TileReader(lambda name: read(workdir.ledger / name), checkpoint.size)
    watch(seen, note, [signer_key(origin, key) for key in keys], reader)


def _check_artefacts(archive: Archive, past: History) -> list[SealManifest]:
    """Checks every blob, and that the manifests name exactly what the ledger asks for; returns them."""
    archive.store.verify()
    archive.genesis(past)
    manifests = [archive.manifest(past.state, number) for number in archive.seals.rounds()]
    by_round = {manifest.round: manifest for manifest in manifests}
    settled = {round.number: round for round in past.rounds}
    for number in sorted(settled.keys() | by_round.keys()):
        where = str(archive.seals.path(number))
        if number not in by_round:
            raise IntegrityError(where, "this manifest is missing; restore it from a copy")
        if number not in settled:
            raise IntegrityError(where, f"the ledger has no round {number}; {_CUT_SHORT}")
        _check_seals(by_round[number], settled[number], past.state, where)
    needed = {address for manifest in manifests for seal in manifest.seals for address in seal.sealed}
    needed.add(past.genesis.weights)
    present = set(archive.store.digests())
    if missing := sorted(needed - present):
        raise IntegrityError(str(archive.store.path(missing[0])), "is missing; restore it from a copy")
    if superfluous := sorted(present - needed):
        raise IntegrityError(
            str(archive.store.path(superfluous[0])), f"no manifest names this artefact; {_CUT_SHORT}"
        )
    return manifests


def _check_seals(manifest: SealManifest, settled: SettledRound, state: State, where: str) -> None:
    """Holds a manifest against the ledger: every revealed delta, the model when due, each to its readers."""
    readers: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for name, submission in settled.facts.submissions.items():
        entitled = delta_recipients(settled, name)
        readers[submission.delta] = readers.get(submission.delta, set()) | entitled
        sizes[submission.delta] = submission.size
    models = [seal for seal in manifest.seals if seal.kind == "model"]
    if len(models) != model_due(settled, state.schedule):
        raise IntegrityError(where, f"names {len(models)} model checkpoints, not what the ledger asks for")
    if mislabelled := [seal.artefact for seal in models if seal.artefact in sizes]:
        raise IntegrityError(where, f"calls the delta {mislabelled[0]} a model checkpoint")
    readers |= {seal.artefact: model_recipients(settled) for seal in models}
    named = {seal.artefact for seal in manifest.seals}
    if odd := sorted(named ^ readers.keys()):
        raise IntegrityError(where, f"artefact {odd[0]} is not in both this manifest and the ledger")
    for seal in manifest.seals:
        if seal.size != sizes.get(seal.artefact, seal.size):
            raise IntegrityError(where, f"states another size than the ledger for {seal.artefact}")
        if set(seal.recipients) != readers[seal.artefact]:
            raise IntegrityError(where, f"{seal.artefact} is not sealed to those the ledger entitles to it")


def _check_plaintexts(archive: Archive, past: History, manifests: list[SealManifest], keys: Keys) -> int:
    """Opens every artefact; a model checkpoint must be of the head that its round ended with."""
    opened = 0
    for manifest in manifests:
        for seal in manifest.seals:
            if not opens(past.state, manifest, seal, keys):
                continue
            where = f"{archive.store.path(seal.sealed[0])} ({seal.kind} of round {manifest.round})"
            try:
                pieces = open_pieces(archive.store, manifest, seal.artefact, keys)
                if seal.kind == "model":
                    head = past.state.versions[past.rounds[manifest.round - 1].head]
                    decode_pack(pieces, ModelVersion(head.number, head.digest, past.genesis.layout))
                else:
                    deque(pieces, maxlen=0)
            except (FormatError, IntegrityError) as error:
                raise IntegrityError(where, str(error)) from error
            opened += 1
    return opened


def _check_weights(archive: Archive, past: History, manifests: list[SealManifest], keys: Keys) -> int:
    """Recomputes every version and every candidate from the genesis on, if the keys open every delta."""
    deltas = [(manifest, seal) for manifest in manifests for seal in manifest.seals if seal.kind == "delta"]
    if not all(opens(past.state, *delta, keys) for delta in deltas):
        return 0
    delta_codec = codec.get(past.state.schedule.codec)
    trained: dict[int, list[Submit]] = {}
    for settled in past.rounds:
        for name, submission in settled.facts.submissions.items():
            trained.setdefault(settled.facts.pairs[name], []).append(submission)

    def fetch(submission: Submit) -> bytes:
        return open_artefact(archive.store, manifests[submission.round - 1], submission.delta, keys)

    count = 0
    for version, theta in lineage.walk(past, archive.genesis(past), fetch, delta_codec):
        count += 1
        for submission in trained.get(version.number, ()):
            where = f"round {submission.round}, delta of {submission.author}"
            try:
                child = delta_codec.apply(fetch(submission), theta)
            except FormatError as error:
                raise IntegrityError(where, str(error)) from error
            if digest(child) != submission.child:
                raise IntegrityError(where, "leads to other weights than its submission states")
    return count
