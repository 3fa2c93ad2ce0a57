"""When a maintainer gives the orderer up, and how maintainers come to agree that another takes over.

    handover/ROUND-complaint-TERM-NAME.json    a signed vote that binds nobody yet
    handover/ROUND-vote-TERM-NAME.json         the same as a record of the ledger

The ledger knows no time, so each counts by its own clock from when the log last grew. After `takeover`
seconds in which something was to be expected of the orderer, a maintainer complains: it would vote for the
next term. After twice that, when the next one is silent as well, also for the term after that, and so on.
Only when more than half complain of the same point of the log, which who is cut off alone never sees, they
vote.

Who votes promises to take no part any more in what is written in an earlier term than it votes for: reports
need more than half of the maintainers, so the old branch, if there is one, makes no version that is tested
after the votes. It keeps the promise before it votes, until such a term begins, or a later round was tested
by more than half of the maintainers on the log that it follows: these have seen the log grow, so no majority
voted at the old point. It neither orders meanwhile nor keeps a copy of what it takes no part in, see
`mirror.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from relayjax import canonical, records
from relayjax.errors import DiskError, ExchangeError, FormatError, IntegrityError, RelayError
from relayjax.history import History
from relayjax.identity import Envelope, Keys, sign, verify_envelope
from relayjax.identity.envelope import RECORD_TYPE
from relayjax.mechanism.state import State
from relayjax.mechanism.succession import ballot, electorate, enough, successor
from relayjax.peers import handover
from relayjax.peers.awaiting import closable, gathers
from relayjax.peers.exchange import Exchange, FolderExchange, put
from relayjax.peers.home import Home, Promise
from relayjax.peers.inbox import Inbox
from relayjax.peers.voice import encode
from relayjax.replay import admit, public_keys

COMPLAINT_TYPE = "application/vnd.relayjax.complaint+json"
"""Media type of a vote that does not count in the ledger yet."""

_STAGES = {"complaint": COMPLAINT_TYPE, "vote": RECORD_TYPE}
LIMIT = 1 << 13
"""Bytes that a vote in its envelope may have."""

_LOOKS = 10
"""The part of the time after which one complains that passes before one looks whether others have voted."""


class Succession:
    """A maintainer's watch over the orderer."""

    def __init__(
        self,
        home: Home,
        keys: Keys,
        exchange: Exchange,
        takeover: float,
        clock: Callable[[], float],
        vow: Callable[[History, Promise], bool] | None = None,
    ):
        """Counts from now.

        Args:
          home: its own directory.
          keys: its own.
          exchange: where it meets the others.
          takeover: seconds without anything new after which it complains.
          clock: seconds, from anywhere, never backwards.
          vow: keeps a promise at the point that a history has come to; returns whether that is still the
            newest that others were shown here. By default nobody is shown anything here.
        """
        self._home, self._keys, self._exchange = home, keys, exchange
        self._takeover, self._clock = takeover, clock
        self._vow = vow or self._promise
        self._inbox = Inbox(exchange.folder) if isinstance(exchange, FolderExchange) else None
        self._seen, self._since = b"", clock()

    def act(self, history: History) -> str | None:
        """Complains and votes where it is time to; returns what is to be told to who watches.

        The orderer itself agrees with others where it cannot go on: they may be bound, and it may need them.
        """
        state = history.state
        names, quiet = electorate(state), self._quiet(state)
        own = self._keys.name
        if state.finished or own not in names:
            return None
        silent = int(quiet / self._takeover) if self._takeover else len(names)
        if not silent or not self._expects(history):
            return None
        told = None
        for term in _following(state)[:silent]:
            if own == state.orderer and not self._handed("complaint", state, term):
                continue
            self._hand_in("complaint", state, term)
            enough_complain = enough(state, len(self._handed("complaint", state, term)))
            if enough_complain and self._vow(history, self._promise_for(term, history)):
                self._hand_in("vote", state, term)
                told = f"{state.orderer} is silent: voted that {successor(state, term)} orders"
            else:
                told = told or f"{state.orderer} is silent: asked for another to order"
        return told

    def elected(self, state: State, at_once: bool = False) -> tuple[str, list[Envelope]] | None:
        """Who orders by the votes that were handed in, and these; None while the present orderer does.

        Of several terms that have enough votes the last one counts: those before had not begun in time.

        Args:
          state: the newest one known.
          at_once: look also if the log has only just come so far.
        """
        if state.finished or (not at_once and self._quiet(state) < self._takeover / _LOOKS):
            return None
        for term in reversed(_following(state)):
            votes = self._handed("vote", state, term)
            if enough(state, len(votes)):
                name, promise = successor(state, term), self._home.promise()
                if name == self._keys.name and promise is not None and term <= promise.ended:
                    return None  # it has voted for a later term itself
                return name, votes
        return None

    def bound(self, history: History) -> bool:
        """Whether a vote keeps it from taking part in what the present orderer writes."""
        return binds(self._home.promise(), history)

    def _promise_for(self, term: int, history: History) -> Promise:
        """What a vote for a term promises, beside what still binds."""
        ended, before = term - 1, self._home.promise()
        if before is not None and binds(before, history):
            ended = max(ended, before.ended)
        return Promise(ended, history.state.round.number)

    def _promise(self, history: History, promise: Promise) -> bool:
        self._home.keep_promise(promise)
        return True

    def _quiet(self, state: State) -> float:
        """Seconds since the log was first seen to have come so far."""
        if state.seen != self._seen:
            self._seen, self._since = state.seen, self._clock()
        return self._clock() - self._since

    def _expects(self, history: History) -> bool:
        """Whether the orderer should have said something by now."""
        state = history.state
        if state.orderer == self._keys.name:
            return not closable(state) or self.elected(state) is not None
        if self.bound(history) or (closable(state) and not gathers(state)):
            return True
        return self._inbox is not None and any(_admissible(e, state) for e in self._inbox.lying())

    def _hand_in(self, stage: str, state: State, term: int) -> None:
        payload = records.encode(ballot(state, self._keys.name, term))
        envelope = sign(payload, self._keys, _STAGES[stage])
        put(self._exchange, _path(stage, state, term, self._keys.name), encode(envelope))

    def _handed(self, stage: str, state: State, term: int) -> list[Envelope]:
        """What maintainers have signed for a term at this point of the log, as it lies there."""
        found = (handed(self._exchange, stage, state, term, name) for name in electorate(state))
        return [envelope for envelope in found if envelope is not None]


def binds(promise: Promise | None, history: History) -> bool:
    """Whether a promise keeps its maintainer from taking part in what a history leads to."""
    if promise is None or history.state.term.number > promise.ended:
        return False
    later = [settled for settled in history.rounds if settled.number > promise.round]
    return not any(2 * len(settled.facts.pledges) > len(settled.maintainers) for settled in later)


def papers(state: State) -> dict[str, tuple[str, int, str]]:
    """Stage, term and author of what may be signed at this point of the log, by the path where it lies."""
    return {
        _path(stage, state, term, name): (stage, term, name)
        for term in _following(state)
        for name in electorate(state)
        for stage in _STAGES
    }


def signed(data: bytes, stage: str, state: State, term: int, name: str) -> Envelope | None:
    """What a maintainer has signed for a term at this point of the log; None if that is not what it is."""
    try:
        envelope = Envelope.from_json(canonical.decode(data))
        payload = verify_envelope(envelope, public_keys(state.members[name]), _STAGES[stage])
    except (FormatError, IntegrityError):
        return None
    return envelope if payload == records.encode(ballot(state, name, term)) else None


def handed(exchange: Exchange, stage: str, state: State, term: int, name: str) -> Envelope | None:
    """What lies there of that; None if nothing right does."""
    try:
        data = exchange.fetch(_path(stage, state, term, name), LIMIT)
    except (DiskError, ExchangeError, IntegrityError):
        return None
    return None if data is None else signed(data, stage, state, term, name)


def pass_on(source: Exchange, target: Exchange, state: State) -> None:
    """Has whatever maintainers have signed at this point of the log, and lies in one place, lie in another.

    Raises:
      DiskError: the target's disk refused.
    """
    for path, (stage, term, name) in papers(state).items():
        if handed(target, stage, state, term, name) is None:
            envelope = handed(source, stage, state, term, name)
            if envelope is not None:
                target.offer(path, encode(envelope))


def _following(state: State) -> range:
    """The terms that may follow, but for the one that would be the present orderer's again."""
    return range(state.term.number + 1, state.term.number + len(electorate(state)))


def _path(stage: str, state: State, term: int, name: str) -> str:
    return f"{handover.FOLDER}/{state.round.number:05d}-{stage}-{term}-{name}.json"


def _admissible(envelope: Envelope, state: State) -> bool:
    try:
        admit(envelope, state, "inbox")
    except RelayError:
        return False
    return True
