"""What strangers may put into a folder that is served over HTTP, how often, and how much at once.

inbox/DIGEST.json                 of the size that a record may have, under the BLAKE3 digest of its bytes
handover/ROUND-delta-NAME.age     while the present round waits for it, of the size that its head may have
handover/ROUND-delta-NAME.age.N   likewise, as many pieces as it may have
handover/ROUND-vote-TERM-NAME.json, -complaint-   what that maintainer has signed at this point of the log

A delta is taken from NAME alone, who signs it; see `uploads.py`. That is asked before the body is read.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from threading import Lock

from relayjax import canonical, files, hashing
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import PublicKeys
from relayjax.mechanism.state import Phase, State
from relayjax.peers import handover, parcel, succession
from relayjax.peers.exchange import digest_of
from relayjax.peers.inbox import FOLDER
from relayjax.peers.uploads import Occasion, verify_upload
from relayjax.replay import public_keys

_RECORD = re.compile(FOLDER + r"/([0-9a-f]{64})\.json")
_PIECE = re.compile(r"(.{1,512}\.age)\.(0|[1-9][0-9]{0,8})")
_IN_INBOX = 8_192
"""Files that may lie in the inbox before no more are taken."""

_BURST, _RATE = 200.0, 20.0
"""Requests that one sender may make at once, and those a second that it may make on and on."""

_MEBIBYTE = 1 << 20
_SENDERS = 4_096
_AT_ONCE = 1 << 30
"""Bytes of bodies on their way to the disk at once, unless a single one has more."""


_NONE = Occasion("", "")


class RefusedError(Exception):
    """A request that is answered with an error.

    Attributes:
      status: of the answer.
    """

    def __init__(self, status: HTTPStatus, reason: str):
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Awaited:
    """What the present round waits for by way of the folder.

    Attributes:
      paths: of the deltas to be handed over, and whose each is.
      size: bytes that each may have, before it is sealed.
      occasion: for which owners sign what they put.
      state: the agreed one, at whose point of the log maintainers may vote; None if nobody may here.
    """

    paths: Mapping[str, PublicKeys]
    size: int
    occasion: Occasion = _NONE
    state: State | None = None

    @classmethod
    def of(cls, state: State, delta_limit: int) -> Awaited:
        """What a state waits for.

        Args:
          state: the agreed one.
          delta_limit: bytes that an encoded delta may have.
        """
        now, owners = state.round, list[str]()
        if now.phase is Phase.REVEAL and not state.finished:
            owners = [name for name in now.commitments if name not in now.submissions]
        if state.term.number and state.term.since == now.number:  # who took over may lack what was revealed
            owners += now.submissions
        paths = {handover.delta(now.number, name): public_keys(state.members[name]) for name in owners}
        return cls(paths, delta_limit, Occasion.of(state), state)

    def limit(self, path: str) -> int | None:
        """Bytes that a file may have; None if it is not awaited."""
        if path in self.paths:
            return parcel.head_limit(self.size)
        piece = _PIECE.fullmatch(path)
        if piece and piece[1] in self.paths and int(piece[2]) < parcel.piece_count(self.size):
            return parcel.sealed_piece(parcel.PIECE)
        return succession.LIMIT if self._paper(path) else None

    def admits(self, path: str, file: Path) -> bool:
        """Whether a file that has come is one; a delta is looked at by who takes it.

        Raises:
          DiskError: it can't be read.
        """
        if self.state is None or (paper := self._paper(path)) is None:
            return True
        stage, term, name = paper
        return succession.signed(files.read(file), stage, self.state, term, name) is not None

    def _paper(self, path: str) -> tuple[str, int, str] | None:
        return succession.papers(self.state).get(path) if self.state else None

    def owner(self, path: str) -> PublicKeys | None:
        """Who alone may put a file that is awaited."""
        piece = _PIECE.fullmatch(path)
        return self.paths.get(path) or (self.paths.get(piece[1]) if piece else None)


class Gate:
    """Decides on what is offered; may be asked from several threads."""

    def __init__(self, folder: Path, awaited: Callable[[], Awaited], clock: Callable[[], float]):
        """Has let nothing in yet.

        Args:
          folder: that is served.
          awaited: what may be handed over now; called from several threads.
          clock: seconds, never backwards.
        """
        self._inbox, self._awaited, self._clock = folder / FOLDER, awaited, clock
        self._lock = Lock()
        self._senders: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._held = 0

    def limit(self, path: str) -> int:
        """Bytes that a file may have which is put under a path.

        Raises:
          RefusedError: nothing may be put there, or not now.
        """
        if _RECORD.fullmatch(path):
            return canonical.SIZE_LIMIT
        if not path.startswith(f"{handover.FOLDER}/"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "only records and deltas can be put")
        limit = self._awaited().limit(path)
        if limit is None:
            raise RefusedError(HTTPStatus.CONFLICT, "the present round does not wait for it now")
        return limit

    def vouched(self, path: str, size: int, header: str) -> str | None:
        """Who may put a file is asked before its body is read.

        Args:
          path: where it is to lie.
          size: bytes that it is said to have.
          header: what its owner has signed, see `uploads.py`.

        Returns:
          The digest that it must have; None where its name says that.

        Raises:
          RefusedError: its owner has not signed it.
        """
        if _RECORD.fullmatch(path):
            return None
        awaited = self._awaited()
        owner = awaited.owner(path)
        if owner is None and awaited.limit(path) is not None:  # a vote is signed in itself
            return None
        try:
            if owner is not None and header:
                return verify_upload(header, path, size, owner, awaited.occasion)
        except (FormatError, IntegrityError):
            pass
        raise RefusedError(HTTPStatus.FORBIDDEN, "not signed by whose it is, for who orders now")

    def pass_by(self, sender: str, size: int) -> None:
        """Counts a request against its sender: one, and one for each mebibyte.

        Raises:
          RefusedError: it has made too many.
        """
        cost, now = 1.0 + size / _MEBIBYTE, self._clock()
        with self._lock:
            credit, since = self._senders.pop(sender, (_BURST, now))
            credit = min(_BURST, credit + _RATE * (now - since))
            allowed = credit >= cost
            self._senders[sender] = (credit - cost if allowed else credit), now
            while len(self._senders) > _SENDERS:
                self._senders.popitem(last=False)
        if not allowed:
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "too much from your address; wait a little")

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Has room for a body on its way to the disk.

        Raises:
          RefusedError: there is none at present.
        """
        with self._lock:
            if self._held and self._held + size > _AT_ONCE:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "others are sending; try again")
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size

    def check(self, path: str, file: Path, digest: str | None) -> None:
        """Looks at what was sent before it gets its name.

        Args:
          path: where it is to lie.
          file: where it lies; it has no more bytes than it may.
          digest: what `vouched` returned.

        Raises:
          RefusedError: it is not what its name or its owner says, is not awaited any more, or the inbox is
            full.
          DiskError: it can't be read.
        """
        if match := _RECORD.fullmatch(path):
            if hashing.digest(files.read(file)) != match[1]:
                raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "its name is not the digest of its bytes")
            if _count(self._inbox, _IN_INBOX + 1) > _IN_INBOX:  # itself included
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the inbox is full; try again")
            return
        if digest is not None and digest_of(file) != digest:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "not what was signed; send it again")
        self.limit(path)  # the round may have gone on meanwhile
        if not self._awaited().admits(path, file):
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "not signed by who it is of, or long past")


def sender_of(address: str) -> str:
    """Who is counted as one sender: an IPv4 address, or the /64 network that one subscriber of IPv6 has."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4 or found.ipv4_mapped:
        return str(found.ipv4_mapped if found.version == 6 else found)
    return found.packed[:8].hex()


def _count(directory: Path, enough: int) -> int:
    try:
        with os.scandir(directory) as entries:
            return sum(1 for _ in islice(entries, enough))
    except FileNotFoundError:
        return 0
