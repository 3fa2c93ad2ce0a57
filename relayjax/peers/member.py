"""A member at work: it follows the log, registers, and does its duty until the relay is finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from threading import Event as Flag
from threading import RLock

from relayjax.errors import (
    DiskError,
    ExchangeError,
    IntegrityError,
    RollbackError,
    SplitViewError,
    WorkdirError,
)
from relayjax.ledger.proof import Receipt
from relayjax.mechanism.state import State
from relayjax.peers.duties import Duty
from relayjax.peers.events import Begun, Event, Failed, Finished, ServingOn, Settled, Told, TookOver
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.home import Home
from relayjax.peers.joining import follow, join
from relayjax.peers.observer import Observer
from relayjax.peers.rollbacks import Rollbacks
from relayjax.peers.standing import Status

POLL = 0.2
"""Seconds between two looks, by default."""

GIVE_UP = 600.0
"""Seconds for which a log that shows less than before is asked again, by default."""

Listener = Callable[[Event], None]


class Member:
    """A member that is open. Use it as a context manager: it holds the lock of the member's directory.

    It may be closed, or its process killed, at any moment; opened again it goes on.
    """

    def __init__(self, home: Home, exchange: Exchange, make: Callable[[Callable[[str], None]], Duty]):
        """Has looked at nothing yet.

        Args:
          home: its own directory.
          exchange: where it meets the others.
          make: makes its duty, given what tells listeners of a line.

        Raises:
          WorkdirError: nobody has joined with this directory, or another process works with it.
        """
        self._home, self._exchange, self._member = home, exchange, home.membership()
        self._listeners: list[Listener] = []
        self._telling, self._cancelled = RLock(), Flag()
        self._told, self._settled, self._term = "", -1, 0
        self._over, self._disputed = False, set[str]()
        self._stack = ExitStack()
        self._stack.enter_context(home.locked())
        try:
            follower, member = follow(exchange, home), self._member
            self._observer = Observer(exchange, follower, member.origin, member.log_key, name=member.name)
            self._duty = make(self._tell)
            self._stack.callback(self._duty.close)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends what goes on beside, and gives the directory free. What was handed in counts."""
        self._stack.close()

    def subscribe(self, listener: Listener) -> None:
        """Has a function called with every event from now on.

        It may be called from a thread beside (of who serves or publishes), but never while it is running.
        """
        self._listeners.append(listener)

    @property
    def name(self) -> str:
        """The member's name."""
        return self._member.name

    @property
    def state(self) -> State | None:
        """The agreed state, as far as it was followed: round, balances, versions, licences; None before."""
        return self._observer.state

    @property
    def finished(self) -> bool:
        """Whether the relay is finished and nothing is left to be done here."""
        return self._over

    @property
    def url(self) -> str | None:
        """Where the member serves its folder; None while it does not."""
        return self._duty.url

    def status(self) -> Status:
        """How far the relay is, as far as the member has followed it.

        Raises:
          IntegrityError: nothing was read yet.
        """
        return self._observer.status(self._duty.left)

    def receipts(self, name: str | None = None) -> list[Receipt]:
        """A receipt for every delta that it, or another participant, has submitted; see `Observer`."""
        return self._observer.receipts(name)

    def step(self) -> bool:
        """Looks once and does what can be done now; training or measuring takes as long as it takes.

        Returns:
          Whether the log has grown, so that it is worth looking again at once.

        Raises:
          SplitViewError: the log contradicts what was seen before; the evidence lies in the directory.
          RollbackError: it shows less than before; likewise. It may show the rest again.
          IntegrityError: something is missing or not what was signed; others may put it right.
          ExchangeError: nobody can be reached now.
          DiskError: the disk refused; stepping again goes on.
          WorkdirError: there is no relay.
          ConfigError, DataError: the task can't be made of what is here.
        """
        self._duty.check()
        return False if self._over else self._step()

    def run(self, poll: float = POLL, give_up: float = GIVE_UP) -> bool:
        """Steps until the relay is finished, outlasting what may pass, or until `cancel` is called.

        Who serves the relay goes on until nobody asks any more, who publishes it until all is in the bucket.

        Args:
          poll: seconds between two looks.
          give_up: seconds for which a log that shows less than before is asked again.

        Returns:
          Whether the relay is finished.

        Raises:
          RelayError: what `step` says and does not pass.
        """
        rollbacks = Rollbacks(give_up, time.monotonic)
        while not (self._over or self._cancelled.is_set()):
            self._duty.check()  # what has ended that does not pass
            grown = False
            try:
                grown = self._step()
                rollbacks.end()
            except RollbackError as error:
                self._say(rollbacks.outlast(error))
            except SplitViewError:
                raise
            except (
                DiskError,
                ExchangeError,
                IntegrityError,
            ) as error:  # others may have done it, or may mend it
                rollbacks.end()
                self._fail(error)
            except WorkdirError as error:  # over a line nothing can be there for a while
                if isinstance(self._exchange, FolderExchange) and not self._duty.mirrored:
                    raise
                self._fail(error)
            if not (grown or self._over):
                self._cancelled.wait(poll)
        if self._over and not self._cancelled.is_set():
            number = self.state.round.number if self.state else 0
            self._duty.finish(self._cancelled, poll, lambda seconds: self._notify(ServingOn(number, seconds)))
        return self._over

    def cancel(self) -> None:
        """Has `run` return when the present step is done; may be called from any thread, and from a listener.

        Open the member again to go on.
        """
        self._cancelled.set()

    def _step(self) -> bool:
        grown, state = self._observer.poll(), self.state
        disputes = self._observer.follower.disputes
        for place in disputes.keys() - self._disputed:
            self._tell(disputes[place])
        self._disputed = set(disputes)
        if state is None or self.name not in state.members:
            self._register(state)
            return grown
        history = self._observer.follower.chronicle.history
        self._report(state)
        moved, line = self._duty.act(history)
        self._say(line)
        if state.finished:
            self._over = True
            self._notify(Finished(state.round.number, self.status()))
        return grown or moved

    def _register(self, state: State | None) -> None:
        member = self._member
        if state is not None and state.finished:
            self._say(f"the relay is finished without {member.name}")
            self._over = True
            return
        refused = join(self._exchange, self._home, member.name, member.role, member.log_key)
        if refused:
            self._say(f"not let in: {refused}")

    def _report(self, state: State) -> None:
        """Tells what the log says that it did not say before."""
        rounds, number = self._observer.follower.chronicle.history.rounds, state.round.number
        if self._settled < 0:
            self._term = state.term.number
        elif state.term.number != self._term:
            self._term = state.term.number
            self._notify(TookOver(number, state.orderer, self._term))
        if len(rounds) == self._settled:
            return
        for settled in rounds[self._settled :] if self._settled >= 0 else ():
            accepted, refused = settled.settle.accepted, settled.settle.refused
            self._notify(Settled(settled.number, settled.topology.value, accepted, refused, settled.head))
        self._settled = len(rounds)
        if not state.finished:
            self._notify(Begun(number, self.status()))

    def _fail(self, error: DiskError | ExchangeError | IntegrityError | WorkdirError) -> None:
        if str(error) != self._told:
            self._told = str(error)
            self._notify(Failed(self._round, error))

    def _say(self, line: str | None) -> None:
        if line and line != self._told:
            self._told = line
            self._tell(line)

    def _tell(self, line: str) -> None:
        self._notify(Told(self._round, line))

    @property
    def _round(self) -> int:
        return self.state.round.number if self.state else 0

    def _notify(self, event: Event) -> None:
        with self._telling:
            for listener in self._listeners:
                listener(event)
