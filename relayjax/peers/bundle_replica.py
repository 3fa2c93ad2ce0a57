"""A folder that knows a relay from bundles alone: members there use it like the relay's own.

Beside what a relay's folder has there is `replica.json`, the name and the key of the log that it follows. Who
finds it knows which way bundles go: letters from here, the relay to here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from relayjax import canonical, files, records
from relayjax.errors import DiskError, FormatError, RelayError, WorkdirError
from relayjax.ledger.disk import superfluous_files
from relayjax.mechanism.state import State
from relayjax.peers import handover
from relayjax.peers.bundle_log import LogName, WholeLog
from relayjax.peers.exchange import is_regular
from relayjax.peers.home import alone
from relayjax.peers.inbox import FOLDER as INBOX
from relayjax.peers.inbox import Inbox, Letter

MARK = "replica.json"
_LIMIT = 1 << 12


class Replica:
    """The folder of members elsewhere.

    Attributes:
      folder: where it is.
    """

    def __init__(self, folder: Path):
        """Reads nothing yet."""
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether a bundle was imported here."""
        return is_regular(self.folder / MARK)

    def name(self) -> LogName:
        """The log that it follows.

        Raises:
          FormatError: the file that remembers it is damaged.
        """
        match canonical.decode(files.read(self.folder / MARK, _LIMIT)):
            case {"key": str(key), "origin": str(origin), **more} if not more:
                return LogName(origin, key)
        raise FormatError(f"{self.folder / MARK}: expected key and origin; import into another folder")

    def remember(self, name: LogName) -> None:
        """Keeps which log it follows."""
        if not self.exists:
            files.write_atomic(self.folder / MARK, canonical.encode(asdict(name)))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for one import at a time; the lock goes with the process.

        Raises:
          WorkdirError: it is another relay's, or another process imports into it.
          DiskError: the disk refused.
        """
        there = sorted(file.name for file in self.folder.iterdir()) if self.folder.is_dir() else []
        if not self.exists and (foreign := [name for name in there if name != "lock"]):
            problem = f"holds other files ({foreign[0]}, ...); import into an empty folder"
            raise WorkdirError(f"{self.folder}: {problem}")
        files.make_directory(self.folder)
        with alone(self.folder, "another process imports into this folder; wait for it"):
            self._clean()
            yield

    def letters(self, log: WholeLog) -> list[Letter]:
        """What members here have handed in that is not in the log and may still get there."""
        known, number = log.letters(), log.history.state.round.number
        letters = Inbox(self.folder).letters(lambda name, why: None)
        return [x for x in letters if x.digest not in known and _round_of(x, number) >= number]

    def sweep(self, log: WholeLog, reasons: Mapping[str, bytes]) -> None:
        """Removes what the log has left behind: letters, files handed over, outgrown tiles.

        Args:
          log: that is here now.
          reasons: why letters that lie here were refused, by path; they take their place.
        """
        inbox, waiting = Inbox(self.folder), {letter.digest for letter in self.letters(log)}
        inbox.forget()
        for letter in list(inbox.letters(lambda name, why: None)):
            reason = reasons.get(f"{INBOX}/{letter.digest}.why")
            with suppress(DiskError):  # another user's
                if reason is not None:
                    inbox.refuse(letter, reason.decode(errors="replace"))
                elif letter.digest not in waiting:
                    inbox.remove(letter)
        state = log.history.state
        for file in sorted((self.folder / handover.FOLDER).glob("*")):
            round = handover.round_of(file.name)
            if round is not None and (round < state.round.number or state.finished) and is_regular(file):
                with suppress(DiskError):  # another user's
                    files.remove(file)
        ledger = self.folder / "ledger"
        for name in superfluous_files(ledger, log.size):
            if name.startswith("tile/"):
                files.remove(ledger / name)
                if not any((ledger / name).parent.iterdir()):
                    files.remove_tree((ledger / name).parent)

    def _clean(self) -> None:
        """Removes what an import that was cut short has left."""
        for part in ("ledger", "seals", "store"):
            for leftover in filter(files.is_temporary, list((self.folder / part).rglob(".*"))):
                files.remove(leftover)


def _round_of(letter: Letter, otherwise: int) -> int:
    """The round that a letter's record is of."""
    try:
        return getattr(records.decode(letter.envelope.payload), "round", otherwise)
    except RelayError:
        return -1


def handed(folder: Path, state: State) -> Iterator[tuple[str, bytes]]:
    """Paths and bytes of what was handed over, either way, and may still be wanted."""
    for file in sorted((folder / handover.FOLDER).glob("*")):
        round = handover.round_of(file.name)
        passing = file.name.startswith(".") or round is None or round < state.round.number
        if not passing and is_regular(file):
            with suppress(DiskError):  # removed in between
                yield f"{handover.FOLDER}/{file.name}", files.read(file)
