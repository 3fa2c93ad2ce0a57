"""Letters: what members elsewhere say, from their folder to that of whoever orders the records.

They may bring what any member could put into the relay's folder, records for the inbox and the deltas that
the present round waits for, and no more. With them comes the checkpoint that their senders have seen, which
the log must go on from: who has put an old copy of a relay in its place finds it out before signing a fork.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relayjax import canonical, codec, hashing
from relayjax.errors import FormatError, IntegrityError, WorkdirError
from relayjax.history import History
from relayjax.identity import Envelope
from relayjax.ledger.note import SIZE_LIMIT as NOTE_LIMIT
from relayjax.pack import ModelVersion
from relayjax.peers.bundle import Kind, Manifest, is_delta
from relayjax.peers.bundle_folder import Bundle, write
from relayjax.peers.bundle_log import LogName, WholeLog, files_of
from relayjax.peers.bundle_replica import Replica, handed
from relayjax.peers.exchange import FolderExchange, put
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.handover import FOLDER as HANDOVER
from relayjax.peers.http_gate import Awaited
from relayjax.peers.inbox import FOLDER as INBOX
from relayjax.peers.parcel import sealed_limit
from relayjax.peers.voice import encode


@dataclass(frozen=True)
class Delivered:
    """What letters have brought.

    Attributes:
      letters, deltas: that were put where the orderer looks.
      known: whose records are in the log already.
      refused: that are malformed, or that nobody waits for.
    """

    letters: int = 0
    deltas: int = 0
    known: int = 0
    refused: int = 0


def collect(replica: Replica, path: Path) -> tuple[WholeLog, Manifest]:
    """Writes a bundle of what members in a folder have handed in; returns the log there, too.

    Raises:
      WorkdirError: no bundle was imported to its end, or `path` holds something else.
      IntegrityError: the folder's log is damaged.
      DiskError: the disk refused.
    """
    name, exchange = replica.name(), FolderExchange(replica.folder)
    note = exchange.fetch(CHECKPOINT, NOTE_LIMIT)
    if note is None:
        raise WorkdirError(f"{replica.folder}: its import was cut short; import the bundle again")
    log = WholeLog.read(name, note, files_of(exchange))
    contents, held = [(CHECKPOINT, note)], list[str]()
    for belongs, data in handed(replica.folder, log.history.state):
        if is_delta(belongs):
            contents.append((belongs, data))
        else:
            held.append(hashing.digest(data))
    for letter in replica.letters(log):
        contents.append((f"{INBOX}/{letter.digest}.json", encode(letter.envelope)))
    return log, write(path, Kind.LETTERS, name.origin, name.key, contents, held)


def deliver(bundle: Bundle, folder: Path, log_key: str | None = None) -> tuple[WholeLog, Delivered]:
    """Puts letters where the orderer looks; returns the log there, and what was put.

    Args:
      bundle: of letters.
      folder: of the relay; somebody may be ordering its records meanwhile.
      log_key: as known from elsewhere; None to believe the folder.

    Raises:
      WorkdirError: the folder holds no relay, or one that was itself imported.
      FormatError, IntegrityError, SplitViewError: as `hold` says.
      IntegrityError: files are missing or damaged; the others were put.
      DiskError: the disk refused.
    """
    if Replica(folder).exists:
        raise WorkdirError(f"{folder}: letters go to whoever orders the records; give the relay's own folder")
    name, log = WholeLog.here(folder)
    if log_key not in (None, name.key):
        raise IntegrityError(str(folder), f"is signed with {name.key}, not with {log_key}")
    wrong = bundle.incomplete()
    if CHECKPOINT in wrong:
        raise bundle.refuse(wrong)
    hold(bundle, name, log, folder)
    found, wrong = _deliver(bundle, log, FolderExchange(folder))
    if wrong:
        raise bundle.refuse(wrong)
    return log, found


def _deliver(bundle: Bundle, log: WholeLog, exchange: FolderExchange) -> tuple[Delivered, set[str]]:
    known, past, wrong = log.letters(), log.history, set[str]()
    awaited = Awaited.of(past.state, delta_limit(past)).paths
    limits = {INBOX: canonical.SIZE_LIMIT, HANDOVER: sealed_limit(delta_limit(past))}
    count = dict.fromkeys(("letters", "deltas", "known", "refused"), 0)
    for path in sorted(set(bundle.paths) - {CHECKPOINT}):
        place, _, file = path.partition("/")
        if place == INBOX and file.removesuffix(".json") in known:
            count["known"] += 1
            continue
        if place == HANDOVER and path.partition(".")[0] + ".age" not in awaited:
            count["refused"] += 1
            continue
        try:
            data = bundle.fetch(path, limits[place]) or b""
        except IntegrityError:
            wrong.add(path)
            continue
        if place == INBOX and not _is_envelope(data):
            count["refused"] += 1
            continue
        put(exchange, path, data)
        count["letters" if place == INBOX else "deltas"] += 1
    return Delivered(**count), wrong


def hold(bundle: Bundle, name: LogName, log: WholeLog, folder: Path) -> int:
    """Holds what members elsewhere have seen of a log against it; returns how many entries they have.

    Args:
      bundle: of their letters.
      name, log: of the relay.
      folder: of the relay; evidence is kept there.

    Raises:
      FormatError: it is no bundle of letters.
      IntegrityError: it is of another relay, or its checkpoint is damaged.
      SplitViewError: they have seen another history, or more of it.
    """
    manifest = bundle.manifest
    if manifest.kind is not Kind.LETTERS:
        raise FormatError(f"{bundle.path}: is no bundle of letters; give one that members elsewhere exported")
    if (manifest.origin, manifest.log_key) != (name.origin, name.key):
        raise IntegrityError(
            str(bundle.path), f"is of the relay {manifest.origin}, this one is {name.origin}"
        )
    note = bundle.fetch(CHECKPOINT, NOTE_LIMIT) or b""
    name.hold(note, log.note, log.fetch, log, folder)
    return name.claim(note, CHECKPOINT).size


def delta_limit(past: History) -> int:
    """Bytes that an encoded delta may have."""
    genesis = ModelVersion(0, past.genesis.weights, past.genesis.layout)
    return codec.get(past.state.schedule.codec).max_size(genesis.size)


def _is_envelope(data: bytes) -> bool:
    try:
        Envelope.from_json(canonical.decode(data))
    except FormatError:
        return False
    return True
