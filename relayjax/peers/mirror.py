"""A maintainer's own copy of a relay, kept in step with the others' while the relay goes on.

The folder is used like the relay's own by the maintainer that keeps it: it follows the log there, hands its
records in there, votes there, and orders there when the votes name it. What others see of it they are served
over HTTP, or from a bucket. One pass takes over what any other copy has gained:

* The log, once it is verified; its checkpoint after all that it speaks of: settled rounds' artefacts, and the
  deltas of the present round that the orderer has sealed to the maintainers. So whatever is shown here can be
  gone on with from here alone.
* What other maintainers have signed in a vote.

And it hands on what members have put into its inbox, see `forwarding.py`.

Two things it does not do. While its maintainer orders here, which holds the folder's lock, it writes nothing.
And it shows nothing of a log that its maintainer's vote has promised to take no part in: whoever counts the
copies that show a checkpoint, see `quorum.py`, must not count one that has voted before it. It follows that
log all the same: its maintainer may be needed for a vote at a later point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from relayjax import files, hashing
from relayjax.errors import ExchangeError, IntegrityError, SplitViewError, WorkdirError
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.ledger.disk import superfluous_files
from relayjax.ledger.evidence import keep
from relayjax.ledger.note import SIZE_LIMIT
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import State
from relayjax.pack import ModelVersion
from relayjax.peers import handover, succession
from relayjax.peers.bundle_log import WholeLog
from relayjax.peers.collecting import collect, fetch_head
from relayjax.peers.copying import copy_round, keep_blob
from relayjax.peers.exchange import FolderExchange, is_regular, room
from relayjax.peers.follower import CHECKPOINT, Follower
from relayjax.peers.forwarding import Forwarding
from relayjax.peers.home import Home, Promise, alone
from relayjax.peers.inbox import FOLDER as INBOX
from relayjax.peers.inbox import Inbox
from relayjax.peers.parcel import piece_path
from relayjax.peers.quorum import quorum
from relayjax.peers.several import Place, Several
from relayjax.peers.succession import binds
from relayjax.records import Submit
from relayjax.store.local import LocalStore
from relayjax.workdir import Workdir

_LOOKS = 20
"""The part of the time after which a maintainer complains that passes between two looks at votes."""


class Mirror:
    """One copy; `step` is called from one thread.

    Attributes:
      newest: what the log says as far as it was followed, here or elsewhere; None before it was.
      elected: hash over the records at which votes have named its maintainer in a term that its promise is
        not against: up to there it may show all the same, since the next term goes on from there.
      overtaken: whether the log that others show is of a later term, while it is ordered here.
      shared: entries of the log that more than half of all copies show, this one included.
    """

    def __init__(
        self,
        home: Home,
        keys: Keys,
        folder: Path,
        places: Sequence[Place],
        takeover: float,
        clock: Callable[[], float],
        tell: Callable[[str], None] = lambda line: None,
    ):
        """Touches nothing yet.

        Args:
          home: the maintainer's own directory.
          keys: its own.
          folder: of the copy.
          places: the other copies.
          takeover: seconds without anything new after which it complains about who orders.
          clock: seconds, never backwards.
          tell: is given lines for who watches.
        """
        self.newest: History | None = None
        self.elected = b""
        self.overtaken = False
        self.shared = 0
        self._home, self._keys, self._workdir, self._places = home, keys, Workdir(folder), tuple(places)
        self._own, self._others, self._inbox = FolderExchange(folder), Several(places), Inbox(folder)
        self._follower = self._fresh()
        self._takeover, self._clock, self._tell = takeover, clock, tell
        self._told: dict[str, str] = {}
        self._forwarding = Forwarding(self._inbox, keys.name, self._places)
        self._state: State | None = None
        self._shown, self._rounds, self._looked, self._looks = 0, 0, clock(), 0

    @property
    def finished(self) -> bool:
        """Whether the relay is, and all of it lies here."""
        return self._state is not None and self._state.finished

    def step(self) -> None:
        """One pass; what others show that is wrong is told, and left out.

        Raises:
          SplitViewError: most others show another history than lies here; evidence is kept in the home.
          DiskError: the disk refused; the next pass goes on.
        """
        for place in (INBOX, handover.FOLDER):  # where others write
            files.make_directory(self._workdir.path / place)
        self._follow_own()
        self._follow_others()
        if self._follower.chronicle.state is not None:
            self.newest = self._follower.chronicle.history
        if self._follower.size > self._shown:
            self._take_over()
        if self._state is None or self.newest is None:
            return
        if self._clock() - self._looked > self._takeover / _LOOKS:
            self._looked = self._clock()
            for place in self._places:
                succession.pass_on(place, self._own, self.newest.state)
        if not self._workdir.busy:
            self._forwarding.step(self._state)

    def tidy(self) -> None:
        """Nothing is left to be done after the end."""

    def vow(self, history: History, promise: Promise) -> bool:
        """Keeps a promise if nothing else than a history, or a beginning of it, was shown here yet.

        Args:
          history: what `newest` was; if it has changed meanwhile the maintainer has to look again.
          promise: to be kept.

        Returns:
          Whether it was.

        Raises:
          DiskError: the disk refused.
        """
        with suppress(WorkdirError), alone(self._workdir.path, "in use"):
            if history is self.newest and self._size() <= len(history.records):
                self._home.keep_promise(promise)
                return True
        return False

    def _fresh(self) -> Follower:
        """A follower that has read what lies here."""
        member = self._home.membership()
        follower = Follower(self._own, member.origin, member.log_key)
        follower.poll()
        return follower

    def _follow_own(self) -> None:
        note = self._own.fetch(CHECKPOINT, SIZE_LIMIT)
        if note is None:
            return
        try:
            if not self._follower.lags(note):
                self._follower.take(self._own, note)
        except SplitViewError:  # its maintainer has begun to order here meanwhile, at what lay here
            if self._follower.size == self._shown:
                raise
            self._follower = self._fresh()
        self._shown = self._follower.claim(note).size
        if self._shown == self._follower.size:
            self._state = self._follower.chronicle.state

    def _follow_others(self) -> None:
        """Follows what others show; what they do not show any more, and is not here either, is forgotten."""
        sizes, forks = [self._shown], list[SplitViewError]()
        for place in self._places:
            try:
                note = place.fetch(CHECKPOINT, SIZE_LIMIT)
                if note is not None and self._look(place, note):
                    sizes.append(self._follower.claim(note).size)
            except SplitViewError as error:
                forks.append(error)
                keep(self._home.path, error.evidence)
                self._say(place.name, f"{place.name} shows another history, and is left out: {error}")
            except (ExchangeError, IntegrityError) as error:
                self._say(place.name, str(error))
            else:
                self._told.pop(place.name, None)
        if len(forks) > max(1, len(self._places) / 2):
            raise forks[0]
        if self._follower.size > max(sizes):
            self._follower = self._fresh()
        enough = quorum(1 + len(self._places))
        self.shared = sorted(sizes, reverse=True)[enough - 1] if len(sizes) >= enough else 0
        self.overtaken = self._workdir.busy and _term(self._follower) > self._term_here

    def _look(self, place: Place, note: bytes) -> bool:
        """Follows what one place shows; returns whether that is of the history that is followed now.

        Of two that go on differently from what lies here the one of the later term is followed.

        Raises:
          SplitViewError: it contradicts what lies here.
        """
        try:
            if not self._follower.lags(note) and self._follower.take(place, note):
                self._others.prefer(place)
            return True
        except SplitViewError:
            if self._follower.size == self._shown:
                raise
        other = self._fresh()
        if not other.lags(note):
            other.take(place, note)
        if _term(other) <= _term(self._follower):
            return False
        self._follower = other
        self._others.prefer(place)
        return True

    def _take_over(self) -> None:
        """Writes what others have gained, unless it is ordered here, or a promise is against it."""
        history = self._follower.chronicle.history
        if self._workdir.busy or self._hides(history):
            return
        try:
            self._fetch_artefacts(history)
        except (ExchangeError, IntegrityError) as error:
            self._say("artefacts", str(error))
            self._looks += 1
            self._others.prefer(self._places[self._looks % len(self._places)])  # one may lie about them
            return
        with suppress(WorkdirError), alone(self._workdir.path, "in use"):
            if self._size() == self._shown and not self._hides(history):
                self._write(history)

    def _hides(self, history: History) -> bool:
        """Whether a promise is against showing a history here."""
        return history.state.seen != self.elected and binds(self._home.promise(), history)

    def _fetch_artefacts(self, history: History) -> None:
        """Fetches what the log speaks of.

        Raises:
          IntegrityError: some of it is not there, or not right.
          ExchangeError: nobody answers.
        """
        path, genesis = self._workdir.path, history.genesis
        store, size = LocalStore(path / "store"), ModelVersion(0, genesis.weights, genesis.layout).size
        keep_blob(self._others, store, genesis.weights, 4 * size)
        for settled in history.rounds[self._rounds :]:
            copy_round(self._others, store, path, history.state, settled.number)
            self._rounds = settled.number
        if self._keys.name in mechanism(history.state.rules).maintainers(history.state):
            for submission in history.state.round.submissions.values():
                self._fetch_candidate(submission)

    def _fetch_candidate(self, submission: Submit) -> None:
        """Fetches a delta as it is sealed to all maintainers, and sees that it is the one in the ledger."""
        path, target = handover.candidate(submission.round, submission.author), self._workdir.path
        if is_regular(target / path):  # its head comes last
            return
        found = fetch_head(self._others, path, self._keys, submission.size)
        if found is None or found.head.digest != submission.delta or found.head.base:
            raise IntegrityError(path, "is not there yet, or is another delta; it is looked for again")
        head, buffer = found.head, room(found.head.size)
        if not head.pieces and hashing.digest(found.inline) != submission.delta:
            raise IntegrityError(path, "is another delta than its head says; it is looked for again")
        missing = collect(
            self._others,
            path,
            head,
            buffer,
            range(head.pieces),
            keep=lambda number, sealed: files.write_atomic(target / piece_path(path, number), sealed),
        )
        if missing:
            raise IntegrityError(path, "has not come as a whole yet; it is looked for again")
        files.write_atomic(target / path, found.sealed)

    def _write(self, history: History) -> None:
        """Adds to the log what was verified, the checkpoint last, and removes what has served."""
        follower, path = self._follower, self._workdir.path
        assert follower.note is not None
        log = WholeLog(follower.note, follower.entries, follower.tree, history)
        files.write_many({path / name: data for name, data in log.files(self._shown)})
        files.write_atomic(path / CHECKPOINT, follower.note)
        before, self._shown, self._state = self._state, follower.size, history.state
        for name in superfluous_files(path / "ledger", self._shown):
            if name.startswith("tile/"):
                files.remove(path / "ledger" / name)
        if before is None or before.round.number < history.state.round.number:
            self._inbox.forget()
            for file in sorted((path / handover.FOLDER).glob("*")):
                round = handover.round_of(file.name)
                if round is not None and round < history.state.round.number and is_regular(file):
                    files.remove(file)

    @property
    def _term_here(self) -> int:
        return -1 if self._state is None else self._state.term.number

    def _size(self) -> int:
        """Entries of the log that is shown here now."""
        note = self._own.fetch(CHECKPOINT, SIZE_LIMIT)
        return 0 if note is None else self._follower.claim(note).size

    def _say(self, about: str, line: str) -> None:
        if self._told.get(about) != line:
            self._told[about] = line
            self._tell(line)


def _term(follower: Follower) -> int:
    """Number of the term that a log has come to."""
    state = follower.chronicle.state
    return -1 if state is None else state.term.number
