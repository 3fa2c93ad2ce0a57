"""Taking a relay in where only bundles come: nothing in them is believed, and the checkpoint comes last.

A bundle is held against the pinned key and against all that was seen of the log before. Only what the log
then asks for is taken: tiles follow from its entries, artefacts and their sizes from its seal manifests. So
an import that was cut short is none, and whatever it has taken already is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relayjax import files
from relayjax.errors import FormatError, IntegrityError, SplitViewError
from relayjax.history import History
from relayjax.ledger.note import SIZE_LIMIT as NOTE_LIMIT
from relayjax.pack import ModelVersion
from relayjax.peers.bundle_export import pieces_of
from relayjax.peers.bundle_folder import Bundle
from relayjax.peers.bundle_letters import delta_limit
from relayjax.peers.bundle_log import LogName, WholeLog, files_of
from relayjax.peers.bundle_replica import Replica
from relayjax.peers.exchange import FolderExchange, put
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.handover import FOLDER as HANDOVER
from relayjax.peers.handover import round_of
from relayjax.peers.home import Home
from relayjax.peers.inbox import FOLDER as INBOX
from relayjax.peers.parcel import sealed_limit
from relayjax.peers.voice import WHY_LIMIT
from relayjax.store.local import LocalStore
from relayjax.store.manifest import SIZE_LIMIT


@dataclass(frozen=True)
class Imported:
    """What an import has led to.

    Attributes:
      log: that is in the folder now.
      new: entries that are new in it.
      artefacts: that were taken.
      handed: files of the present round that were taken.
      older: entries of the bundle if it is older than what is here, and nothing was taken; else None.
      believed: whether nobody but the bundle has vouched for the log's key.
    """

    log: WholeLog
    new: int = 0
    artefacts: int = 0
    handed: int = 0
    older: int | None = None
    believed: bool = False


def take(bundle: Bundle, folder: Path, log_key: str | None = None, home: Home | None = None) -> Imported:
    """Takes in a bundle of a relay.

    Args:
      bundle: of a relay.
      folder: of members elsewhere, or a new one.
      log_key: of the log, 64 hex digits, as known from elsewhere; None to believe what the folder remembers,
        or the bundle itself the first time.
      home: of a member, whose log key and last checkpoint count, too.

    Raises:
      WorkdirError: the folder holds something else, or another process imports into it.
      SplitViewError: its log contradicts what was seen before; evidence lies in the folder.
      IntegrityError: files are missing or damaged, or not what was signed; what was whole is not fetched
        again when a repaired copy is imported.
      DiskError: the disk refused; importing again goes on.
    """
    replica = Replica(folder)
    name, believed = _pinned(bundle, replica, log_key, home)
    with replica.locked():
        return _Import(bundle, replica, name, believed, home).run()


def _pinned(bundle: Bundle, replica: Replica, log_key: str | None, home: Home | None) -> tuple[LogName, bool]:
    """The log that a bundle must be of, and whether that is only what it says itself."""
    claimed, known = LogName(bundle.manifest.origin, bundle.manifest.log_key), list[LogName]()
    if replica.exists:
        known.append(replica.name())
    if home:
        member = home.membership()
        known.append(LogName(member.origin, member.log_key))
    for name in known:
        if name != claimed:
            problem = f"is of {claimed.origin}, log key {claimed.key}; expected {name.origin}, {name.key}"
            raise IntegrityError(str(bundle.path), problem)
    if log_key not in (None, claimed.key):
        raise IntegrityError(str(bundle.path), f"is signed with {claimed.key}, not with {log_key}")
    return claimed, not known and log_key is None


class _Import:
    """One import of a relay."""

    def __init__(self, bundle: Bundle, replica: Replica, name: LogName, believed: bool, home: Home | None):
        self._bundle, self._replica, self._name, self._believed = bundle, replica, name, believed
        self._folder, self._home = replica.folder, home
        self._exchange = FolderExchange(replica.folder)
        self._wrong = set[str]()
        self._taken = self._handed = 0

    def run(self) -> Imported:
        """Takes all of it, or says what is wrong."""
        if wrong := self._bundle.damaged("ledger"):
            raise self._bundle.refuse(wrong | self._bundle.incomplete())
        note = self._bundle.fetch(CHECKPOINT, NOTE_LIMIT) or b""
        before = self._exchange.fetch(CHECKPOINT, NOTE_LIMIT)
        mine = None if before is None else WholeLog.read(self._name, before, files_of(self._exchange))
        size = self._name.claim(note, str(self._bundle.path)).size
        if mine and size < mine.size:  # nothing is taken from what is a beginning of the log that is here
            self._name.hold(note, mine.note, mine.fetch, mine, self._folder)
            return Imported(mine, older=size)
        log = self._log(note, mine)
        self._replica.remember(self._name)
        seals = self._artefacts(log.history)
        self._hand_over(log.history)
        reasons = self._reasons()
        if self._wrong:
            raise self._bundle.refuse(self._wrong)
        files.write_many({self._folder / path: data for path, data in seals.items()})
        tiles = {self._folder / path: data for path, data in log.files()}
        files.write_many({file: data for file, data in tiles.items() if not file.exists()})
        if note != before:
            files.write_atomic(self._folder / CHECKPOINT, note)
        self._replica.sweep(log, reasons)
        new = log.size - (mine.size if mine else 0)
        return Imported(log, new, self._taken, self._handed, believed=self._believed)

    def _log(self, note: bytes, mine: WholeLog | None) -> WholeLog:
        """The bundle's log, with what is here already, held against all that was seen of it."""
        fetch = files_of(self._bundle, self._exchange)
        seen = self._home.seen if self._home else None
        kept = [mine.note] if mine else []
        kept += [files.read(seen, NOTE_LIMIT)] if seen and seen.exists() else []
        try:
            log = WholeLog.read(self._name, note, fetch)
        except IntegrityError:
            for one in kept:
                try:
                    self._name.hold(one, note, fetch, mine, self._folder)
                except SplitViewError:
                    raise
                except (FormatError, IntegrityError):  # what is wrong with the log itself says more
                    continue
            raise
        for one in kept:
            self._name.hold(one, note, fetch, log, self._folder)
        return log

    def _artefacts(self, past: History) -> dict[str, bytes]:
        """Takes the artefacts that the log asks for; returns the seal manifests that are new, by path."""
        store, seals = LocalStore(self._folder / "store"), dict[str, bytes]()
        genesis = ModelVersion(0, past.genesis.weights, past.genesis.layout)
        self._keep(store, genesis.weights, 4 * genesis.size)
        for settled in past.rounds:
            path = f"seals/{settled.number:05d}.json"
            there = self._exchange.fetch(path, SIZE_LIMIT)
            data = self._fetched(path, SIZE_LIMIT) if there is None else there
            if data is None:
                continue
            for piece, limit in pieces_of(data, past.state, settled.number):
                self._keep(store, piece, limit)
            if there is None:
                seals[path] = data
        return seals

    def _keep(self, store: LocalStore, digest: str, limit: int) -> None:
        if not store.has(digest):
            data = self._fetched(f"store/{digest[:2]}/{digest[2:]}", limit)
            if data is not None:
                store.put(data)
                self._taken += 1

    def _fetched(self, path: str, limit: int) -> bytes | None:
        """A file that the log asks for; None if it is damaged, which is noted.

        Raises:
          IntegrityError: the bundle does not even list it.
        """
        if not self._bundle.lists(path):
            problem = "is neither here nor in the bundle; ask for one that was exported without --since"
            raise IntegrityError(path, problem)
        try:
            return self._bundle.fetch(path, limit)
        except IntegrityError:
            self._wrong.add(path)
            return None

    def _hand_over(self, past: History) -> None:
        """Takes what is handed over in the present round, and makes the places where members write."""
        for place in (INBOX, HANDOVER):
            files.make_directory(self._folder / place)
        genesis = ModelVersion(0, past.genesis.weights, past.genesis.layout)
        limit = sealed_limit(max(4 * genesis.size, delta_limit(past)))
        for path in self._bundle.paths:
            folder, _, name = path.partition("/")
            if folder == HANDOVER and (round_of(name) or 0) >= past.state.round.number:
                data = self._fetched(path, limit)
                if data is not None:
                    put(self._exchange, path, data)
                    self._handed += 1

    def _reasons(self) -> dict[str, bytes]:
        """Why letters that lie here were refused, by path."""
        found = dict[str, bytes]()
        for path in self._bundle.paths:
            if path.startswith(f"{INBOX}/") and (self._folder / path).with_suffix(".json").exists():
                data = self._fetched(path, WHY_LIMIT)
                if data is not None:
                    found[path] = data
        return found
