"""The ordering maintainer: it takes records in, says what follows from them, and keeps log and artefacts.

It decides little: a record counts if its author signed it and the rules allow it. What is left to it is the
order, and when to go on without those who stay away (`lapses.py`). Records become durable in batches; an
inbox file is removed after that, and a settled round's artefacts are durable before. So it can be killed at
any moment and goes on mid-round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relayjax import hashing, records
from relayjax.archive import Archive, model_due
from relayjax.authority import open_log
from relayjax.codec import Codec
from relayjax.errors import DiskError, FormatError, IntegrityError, ProtocolError, WorkdirError
from relayjax.identity import Envelope, Keys
from relayjax.ledger.disk import read
from relayjax.ledger.entry import Entry
from relayjax.ledger.log import Log
from relayjax.mechanism.state import Phase, Role, State
from relayjax.mechanism.transitions import expected_draw, expected_match, expected_settlement
from relayjax.peers import handover
from relayjax.peers.awaiting import awaited, closable, gathers, moment
from relayjax.peers.chronicle import Chronicle
from relayjax.peers.dispatch import Dispatch
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.home import Home
from relayjax.peers.inbox import Inbox, Letter
from relayjax.peers.lapses import Lapses
from relayjax.peers.patience import Patience
from relayjax.peers.validating import Validating
from relayjax.records import Close, Join, Record, Settle, Submit, Succeed
from relayjax.relay.round import sealed_deltas, sealed_model
from relayjax.relay.testing import Validator
from relayjax.relay.transcript import Transcript
from relayjax.replay import admit
from relayjax.weights import digest
from relayjax.workdir import Workdir

_LOOKS = 10
"""How often, while patience lasts, the orderer looks whether what it handed over is still there."""


class Orderer:
    """The ordering maintainer at work. The caller holds the folder's lock."""

    def __init__(
        self,
        home: Home,
        keys: Keys,
        folder: Workdir,
        validator: Validator,
        codec: Codec,
        *,
        patience: float,
        clock: Callable[[], float],
        begin: bool = False,
        tell: Callable[[str], None] = lambda line: None,
        votes: Sequence[Envelope] = (),
        shared: Callable[[], int] | None = None,
    ):
        """Goes on from what the folder holds, or takes over there by the votes of the others.

        Args:
          home: its own directory.
          keys: its own; they sign the log, too, from when it orders.
          folder: of the relay, locked.
          validator: what it measures with.
          codec: of the deltas.
          patience: seconds that a phase waits for those who stay away.
          clock: seconds, from anywhere, never backwards.
          begin: do not wait until every place is taken.
          tell: is given lines for who watches.
          votes: that make it the orderer.
          shared: entries of the log that members can see where it lies in several places; nobody is late for
            what they cannot. By default they see what is written.

        Raises:
          IntegrityError: what is on disk is not what was signed.
          ProtocolError: somebody else orders, or the votes are about another point of the log.
        """
        self._home, self._keys, self._folder = home, keys, folder
        self._codec, self._tell = codec, tell
        self._patience, self._clock, self._begin, self._shared = patience, clock, begin, shared
        self._exchange, self._inbox = FolderExchange(folder.path), Inbox(folder.path)
        member = home.membership()
        log, past = open_log(folder.ledger, member.origin, member.log_key)
        if past is None:
            raise WorkdirError(f"{folder.ledger}: has no entries yet; found the relay again")
        self._archive = Archive(folder)
        self._archive.sweep(past)
        self._chronicle = Chronicle(past)
        self._transcript = Transcript(log, past.state)
        self._taken: list[Letter] = []
        self._prepared: tuple[int, Phase] | None = None
        self._dispatch = self._dispatching()
        self._renew_keys(past.state)
        for vote in votes:
            if self.state.orderer != keys.name:  # those beyond a majority are about a point that is past
                self._enter(vote, *admit(vote, self.state, "vote"))
        if self.state.orderer != keys.name:
            raise ProtocolError(f"{self.state.orderer} orders the records, not {keys.name}")
        self._commit()
        genesis = self._archive.genesis(past)
        self._payloads: dict[str, bytes] = {}
        self._size = genesis.size
        self._validating = Validating(keys.name, home, validator, codec, genesis, self._settled_delta)
        self._validating.catch_up(past)
        self._logged = {_identity(entry) for entry in log.entries()}
        self._phase: tuple[int, Phase] | None = None
        self._waiting = Patience(patience, clock)
        self._lapses = Lapses(self._waiting)
        self._looked = clock()

    @property
    def state(self) -> State:
        """The agreed state, with the records that are not durable yet."""
        return self._transcript.state

    @property
    def log(self) -> Log:
        """The log, as far as it is durable."""
        return self._transcript.log

    @property
    def left(self) -> float | None:
        """Seconds until the present phase goes on without those who stay away; None while places are free."""
        return None if self._gathers(self.state) else self._waiting.left

    @property
    def outdated(self) -> bool:
        """Whether the log in the folder is not as this orderer wrote it: another one has taken over."""
        return read(self._folder.ledger / "checkpoint") != self.log.signed_checkpoint

    def act(self) -> bool:
        """Takes in what has come, goes on as far as possible, and makes it durable.

        Returns:
          Whether the log has grown.

        Raises:
          DiskError: the disk refused; the folder must be opened again.
          IntegrityError: a head cannot be made of what was accepted.
        """
        before = self.log.size
        for letter in self._inbox.letters(lambda name, why: self._tell(f"inbox/{name} removed: {why}")):
            self._take(letter)
        self._go_on()
        self._commit()
        return self.log.size > before

    def _take(self, letter: Letter) -> None:
        """Adds a letter's record, refuses it, or leaves it where it is until what it speaks of is there."""
        if letter.digest in self._logged:  # a kill came before it was removed, or it was handed in again
            self._dispose(letter)
            return
        who = letter.envelope.signer
        try:
            record, state = admit(letter.envelope, self.state, who)
            if isinstance(record, Succeed):
                raise ProtocolError("succeed: a vote is handed over, and ends a term with others only")
            if isinstance(record, Join) and record.role == Role.OBSERVER.value:  # else anybody could add many
                raise ProtocolError(f"join of {who}: observers need not join to follow the log")
            if isinstance(record, Submit) and not self._check_handed(record):
                return
            self._enter(letter.envelope, record, state)
        except ProtocolError as error:  # the signature holds
            self._hear_of(records.decode(letter.envelope.payload))
            self._tell(f"refused: {error}")
            self._dispose(letter, f"{moment(self.state)}: {error}")
        except (FormatError, IntegrityError) as error:
            self._tell(f"refused, and not by {who} for all one knows: {error}")
            self._dispose(letter)
        else:
            self._lapses.take(record)
            self._hear_of(record)
            self._logged.add(letter.digest)
            self._taken.append(letter)

    def _enter(self, envelope: Envelope, record: Record, state: State) -> None:
        """Adds a record that was let in."""
        self._renew_keys(state)
        self._transcript.add(envelope, state)
        self._chronicle.add(record, state)

    def _renew_keys(self, state: State) -> None:
        """Signs with its present keys, also after it has changed them."""
        present = state.members[self._keys.name].signing
        if present != self._keys.public.signing:
            self._keys = self._home.keys(present)
            self._dispatch, self._prepared = self._dispatching(), None

    def _dispatching(self) -> Dispatch:
        return Dispatch(self._folder.path, self._keys, self._home.secret())

    def _hear_of(self, record: Record) -> None:
        """Waits for an author again from now on; what is older than a round may be anybody's repetition."""
        if getattr(record, "round", 0) >= self.state.round.number - 1:
            self._lapses.hear(record.author)

    def _check_handed(self, submission: Submit) -> bool:
        """Whether a trainer's delta is there and right; if so, all maintainers can have it from now on.

        Raises:
          ProtocolError: it leads to other weights than the submission states, or to none.
        """
        limit = self._codec.max_size(self._size)
        name, number = submission.author, submission.round
        if not 0 <= submission.size <= limit:
            raise ProtocolError(f"submit of {name}: {submission.size} bytes, a delta has at most {limit}")
        path = handover.delta(number, name)
        payload = handover.take(self._exchange, path, self._keys, submission.delta, submission.size)
        if payload is None:
            return False
        parent = self._validating.heads[self.state.round.pairs[name]]
        try:
            child = self._codec.apply(payload, parent)
        except FormatError as error:
            raise ProtocolError(f"submit of {name}: {error}") from error
        if len(payload) != submission.size or digest(child) != submission.child:
            raise ProtocolError(f"submit of {name}: its delta is not what it states")
        self._home.keep_handed(number, name, payload)
        self._payloads[name] = payload
        self._dispatch.candidate(self.state, name, payload)  # who takes over needs what the log names
        self._dispatch.put(self._tell)
        return True

    def _payload(self, submission: Submit) -> bytes | None:
        """The delta of an admitted submission; who took over has to find it first."""
        name, number = submission.author, submission.round
        if name not in self._payloads:
            found = self._home.handed(number, name)
            if found is None or hashing.digest(found) != submission.delta:
                paths, limit = (handover.candidate, handover.delta), self._codec.max_size(self._size)
                takes = (
                    handover.take(self._exchange, path(number, name), self._keys, submission.delta, limit)
                    for path in paths
                )
                found = next((payload for payload in takes if payload is not None), None)
                if found is None:
                    return None
                self._home.keep_handed(number, name, found)
            self._payloads[name] = found
        return self._payloads[name]

    def _go_on(self) -> None:
        while not self.state.finished:
            state = self.state
            self._watch(state)
            self._hand_over(state)
            report = self._validating.report(state, self._payload)
            record = report or self._next(state)
            if record is None:
                return
            self._transcript.say(self._keys, record)
            self._chronicle.add(record, self.state)
            if isinstance(record, Settle):
                self._settle()
            elif report is None:
                self._commit()  # others can start on what was drawn or matched while we measure

    def _watch(self, state: State) -> None:
        """Counts the time of each phase from when it began."""
        if (phase := (state.round.number, state.round.phase)) != self._phase:
            self._phase = phase
            self._waiting.begin()

    def _hand_over(self, state: State) -> None:
        """Hands over what a phase needs, and does so again where others have written over it."""
        number, phase = state.round.number, state.round.phase
        now = self._clock()
        if self._prepared != (number, phase):
            self._prepared = number, phase
            if phase is not Phase.TESTING:  # candidates are on their way since they were admitted
                self._dispatch.clear()
            if phase is Phase.COMMIT:
                rounds, heads = self._chronicle.history.rounds, self._validating.heads
                self._dispatch.parents(state, rounds, heads, self._tell)
        elif now - self._looked < self._patience / _LOOKS:
            return
        self._looked = now
        if phase in (Phase.REVEAL, Phase.TESTING, Phase.APPRAISAL):
            self._hand_candidates_over(state)
        self._dispatch.put(self._tell)

    def _hand_candidates_over(self, state: State) -> None:
        """Takes up the deltas that are at hand; after a takeover others may still come."""
        for name, submission in state.round.submissions.items():
            if handover.candidate(submission.round, name) not in self._dispatch:
                payload = self._payload(submission)
                if payload is not None:
                    self._dispatch.candidate(state, name, payload)

    def _next(self, state: State) -> Record | None:
        """What follows without anybody else, or because patience is at its end."""
        now = state.round
        if now.phase is Phase.SETTLEMENT:
            at_hand = [self._payload(submission) for submission in now.submissions.values()]
            return None if None in at_hand else expected_settlement(state)
        if now.phase is Phase.TESTING and not now.seed:
            return expected_draw(state)
        if self._gathers(state):
            self._waiting.begin()
            return None
        missing = set(awaited(state))
        if missing and self._shared is not None and self._shared() < self.log.size:
            self._waiting.skip()
            return None
        self._waiting.look()
        if self._lapses.awaited(missing, now.phase) or (missing and not closable(state)):
            return None
        for name in self._lapses.leave_behind(missing):
            self._tell(f"round {now.number} goes on without {name}")
        if now.phase is Phase.AUCTION:
            return expected_match(state)
        return Close(self._keys.name, now.number, now.phase.name.lower())

    def _gathers(self, state: State) -> bool:
        """Whether the relay waits for its members."""
        return gathers(state) and not self._begin

    def _settle(self) -> None:
        """Seals a settled round's artefacts, then makes its records durable, then tidies up."""
        past, state = self._chronicle.history, self.state
        settled = past.rounds[-1]
        self._validating.catch_up(past)
        artefacts = sealed_deltas(state, settled, self._payloads)
        if model_due(settled, state.schedule):
            layout, heads = past.genesis.layout, self._validating.heads
            artefacts.append(sealed_model(state, settled, layout, heads))
        self._archive.seal(settled.number, artefacts, self._keys)
        self._commit()
        self._payloads = {}
        self._home.forget(state.round.number)  # until then a kill would have needed it
        self._inbox.forget()
        self._dispatch.sweep(settled.number + state.finished, state.finished, self._tell)

    def _commit(self) -> None:
        self._transcript.commit(self._keys)
        taken, self._taken = self._taken, []
        for letter in taken:
            self._dispose(letter)

    def _dispose(self, letter: Letter, reason: str = "") -> None:
        """Removes a letter, and says why; if that is not possible it is known by its digest from then on."""
        try:
            if reason:
                self._inbox.refuse(letter, reason)
            else:
                self._inbox.remove(letter)
        except DiskError as error:
            self._tell(str(error))

    def _settled_delta(self, state: State, submission: Submit) -> bytes:
        held = self._payloads.get(submission.author)  # of the round that is about to be sealed
        if held is not None and hashing.digest(held) == submission.delta:
            return held
        return self._archive.open_delta(state, submission, self._keys)


def _identity(entry: bytes) -> str:
    """The digest under which an entry's record lay in the inbox."""
    return Letter.of(Entry.decode(entry).envelope).digest
