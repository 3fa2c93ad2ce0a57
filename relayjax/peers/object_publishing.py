"""Keeping a bucket in step with the ordering maintainer's folder, so that members can meet there.

One pass takes in what members have put into `inbox/` and the awaited deltas of `handover/`, uploads what is
new in the folder, and removes what has served. The order is what makes it safe to be killed at any moment:

* The checkpoint is uploaded after the tiles, artefacts and manifests that it speaks of.
* A letter stays in the bucket until the folder's inbox has let go of it (its record is durable, or it was
  refused), and the log, or the reason, is in the bucket as well. One that is taken in twice counts once.

Whatever else lies in `inbox/` and `handover/` is removed. What lies in the other folders never changes under
its name, and is believed to be what its name says: whoever finds something damaged there removes the object
and starts the maintainer again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from relayjax import canonical, files, hashing
from relayjax.errors import ConfigError, DiskError, FormatError, IntegrityError
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.note import SIZE_LIMIT, parse_note
from relayjax.ledger.tiled import TileReader
from relayjax.ledger.tiles import paths_of, tiles_of
from relayjax.peers import handover, inbox
from relayjax.peers.exchange import is_regular
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.http_gate import Awaited
from relayjax.peers.object_bucket import Bucket, Nothing, Object
from relayjax.peers.object_listing import Listing

_LETTER = re.compile(inbox.FOLDER.encode() + rb"/([0-9a-f]{64})\.json")
_REASON = re.compile(inbox.FOLDER.encode() + rb"/[0-9a-f]{64}\.why")
_LETTERS = 256
"""Letters of the bucket that may lie in the folder's inbox at once."""

_REMOVED = 1_024
"""Objects that are removed in one pass, so that a flood of them cannot keep a round from going on."""

_LOOK = 30
"""Every so many passes it is looked whether what others could overwrite is still what was uploaded."""

Stamp = tuple[int, int, int]


class Publisher:
    """One folder and the bucket that is kept in step with it; not to be shared between threads."""

    def __init__(
        self,
        folder: Path,
        bucket: Bucket,
        awaited: Callable[[], Awaited],
        tell: Callable[[str], None] = lambda line: None,
    ):
        """Touches nothing yet.

        Args:
          folder: of the relay.
          bucket: that becomes its image.
          awaited: what may be handed over now.
          tell: is given lines for who watches.
        """
        self._folder, self._bucket, self._listing = folder, bucket, Listing(bucket)
        self._awaited, self._tell = awaited, tell
        self._known: set[str] | None = None
        self._note = b""
        self._sent: dict[str, tuple[Stamp, str]] = {}
        self._letters: set[str] = set()
        self._deltas: dict[str, str] = {}
        self._passes = 0

    @property
    def finished(self) -> bool:
        """Whether the bucket has all that the folder's log speaks of."""
        return self._note == files.read(self._folder / CHECKPOINT, SIZE_LIMIT)

    def step(self, *, look: bool = False) -> None:
        """One pass.

        Args:
          look: whether it is one that looks after what others could overwrite; some are by themselves.

        Raises:
          ConfigError: the bucket holds another relay, or more of this one than the folder.
          ExchangeError: the store can't be reached now; the next pass goes on.
          DiskError: the disk refused; likewise.
        """
        look = look or self._passes % _LOOK == 0
        if self._known is None:
            self._known = self._meet()
        served = self._take_letters()
        self._take_deltas(self._awaited())
        if not self._publish_log(self._known):
            return
        changing = dict(self._changing())
        self._publish_changing(changing, look)
        if look:
            served += self._left_over(changing)
        self._listing.remove(served[:_REMOVED])
        self._passes += 1

    def tidy(self) -> None:
        """A pass that looks after what others could overwrite, whatever its turn; errors as for `step`."""
        self.step(look=True)

    def _meet(self) -> set[str]:
        """Names of what lies in the bucket already, after a look at whose it is."""
        there, ours = self._bucket.get(CHECKPOINT, SIZE_LIMIT), self._checkpoint()[1]
        if isinstance(there, Object):
            where = f"{self._bucket.url}/{CHECKPOINT}"
            try:
                theirs = Checkpoint.decode(parse_note(bytes(there.data)).text)
            except FormatError as error:
                raise ConfigError(f"{where}: {error}; choose another address to publish at") from error
            if theirs.origin == ours.origin and theirs.size > ours.size:
                problem = "has more entries than the folder: restore the folder, or choose another address"
                raise ConfigError(f"{where}: {problem}")
            reader = TileReader(lambda name: files.read(self._folder / "ledger" / name), ours.size)
            if theirs.origin != ours.origin or reader.root(theirs.size) != theirs.root:
                raise ConfigError(f"{where}: is of another relay; choose another address to publish at")
        elif there is not Nothing.MISSING:
            raise self._bucket.error(CHECKPOINT, "reading it is forbidden")
        found = [name for folder in ("ledger", "store", "seals") for name in self._listing.names(folder)]
        return {name.decode("ascii", "replace") for name in found}

    def _take_letters(self) -> list[bytes]:
        """Takes in records; returns the names of what has served or should not be there."""
        served, foreign = list[bytes](), list[bytes]()
        names = self._listing.names(inbox.FOLDER)
        for name in names:
            if not (_LETTER.fullmatch(name) or _REASON.fullmatch(name)):
                foreign.append(name)
                continue
            path = name.decode()
            if _REASON.fullmatch(name) or path in self._letters:
                if not is_regular(self._folder / path):
                    served.append(name)
            elif len(self._letters) < _LETTERS and not self._take_letter(path):
                foreign.append(name)
        self._letters.intersection_update(name.decode() for name in set(names) - {*served, *foreign})
        if foreign:
            example = foreign[0][:100].decode("ascii", "backslashreplace")
            self._tell(f"removing {len(foreign)} objects that are no records, such as {example!r}")
        return served + foreign

    def _take_letter(self, path: str) -> bool:
        """Takes a record in; returns whether the object may stay for now."""
        try:
            found = self._bucket.get(path, canonical.SIZE_LIMIT)
        except IntegrityError:  # too long for one
            return False
        if isinstance(found, Object):
            if path != f"{inbox.FOLDER}/{hashing.digest(found.data)}.json":
                return False
            files.write_atomic(self._folder / path, found.data)
            self._letters.add(path)
        return True  # else the listing is older than the store

    def _take_deltas(self, awaited: Awaited) -> None:
        """Takes in what is awaited: the pieces of a delta, then its head."""
        self._deltas = {path: tag for path, tag in self._deltas.items() if awaited.limit(path) is not None}
        there = self._listing.names(handover.FOLDER) if awaited.paths else []
        for path in sorted((name.decode("ascii", "replace") for name in there), reverse=True):
            if (limit := awaited.limit(path)) is None:
                continue
            try:
                found = self._bucket.get(path, limit, self._deltas.get(path, ""))
            except IntegrityError as error:
                self._tell(f"removed: {error}")
                self._listing.remove([path])
                continue
            if isinstance(found, Object):
                files.write_atomic(self._folder / path, found.data)
                self._deltas[path] = found.tag

    def _publish_log(self, known: set[str]) -> bool:
        """Uploads what the log has gained, and what its new records speak of, then its checkpoint.

        Returns:
          Whether the checkpoint is there that the folder had when this began.
        """
        note, checkpoint = self._checkpoint()
        if note == self._note:
            return True
        tiles = {f"ledger/{path}" for path in paths_of(tiles_of(checkpoint.size))}
        artefacts = {self._path(file) for name in ("store", "seals") for file in self._files(name)}
        for path in sorted(artefacts - known) + sorted(tiles - known):
            if (data := _content(self._folder / path)) is None:
                return False  # a partial tile that has been filled: there is a newer checkpoint
            self._bucket.put(path, data)
            known.add(path)
        self._bucket.put(CHECKPOINT, note)
        self._note = note
        filled = [path for path in known - tiles if path.partition(".p/")[0] in tiles]
        self._listing.remove(filled)
        known.difference_update(filled)
        return True

    def _changing(self) -> Iterator[tuple[str, Path]]:
        """What changes under its name: the orderer's part of `handover/`, and the reasons of refusals."""
        for file in self._files(handover.FOLDER):
            if not file.name.partition("-")[2].startswith("delta-"):
                yield self._path(file), file
        for file in self._files(inbox.FOLDER):
            if file.suffix == ".why":
                yield self._path(file), file

    def _publish_changing(self, changing: dict[str, Path], look: bool) -> None:
        self._sent = {path: sent for path, sent in self._sent.items() if path in changing}
        for path, file in sorted(
            changing.items(), reverse=True
        ):  # steps and pieces before what leads to them
            stamp, before = _stamp(file), self._sent.get(path)
            if stamp is None:
                continue
            if before and before[0] == stamp and not (look and not self._bucket.same(path, before[1])):
                continue
            if (data := _content(file)) is not None:
                self._sent[path] = stamp, self._bucket.put(path, data)

    def _left_over(self, changing: dict[str, Path]) -> list[bytes]:
        """What has served in `handover/`, or should not be there."""
        there, awaited = self._listing.names(handover.FOLDER), self._awaited()  # no older than the listing
        paths = [name.decode("ascii", "replace") for name in there]
        wanted = [path in changing or awaited.limit(path) is not None for path in paths]
        return [name for name, stays in zip(there, wanted, strict=True) if not stays]

    def _checkpoint(self) -> tuple[bytes, Checkpoint]:
        note = files.read(self._folder / CHECKPOINT, SIZE_LIMIT)
        return note, Checkpoint.decode(parse_note(note).text)

    def _files(self, name: str) -> Iterator[Path]:
        for file in sorted((self._folder / name).rglob("*")):
            if is_regular(file) and not file.name.startswith("."):
                yield file

    def _path(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()


def _stamp(file: Path) -> Stamp | None:
    """What changes whenever a file is replaced; None if it has gone."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _content(file: Path) -> bytes | None:
    """What is in a file; None if it is none now."""
    try:
        return files.read(file) if is_regular(file) else None
    except DiskError:
        if file.exists():
            raise
        return None  # removed in between
