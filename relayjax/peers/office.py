"""A maintainer at work in whichever office the log gives it: it orders the records, or it does not.

When the orderer falls silent it takes part in the vote, and takes over where the votes name it. When the
votes of the others have named another meanwhile, it steps down and goes on as an ordinary maintainer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from relayjax.codec import Codec
from relayjax.errors import ProtocolError, WorkdirError
from relayjax.history import History
from relayjax.identity import Envelope
from relayjax.mechanism.state import State
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.home import Home, Promise
from relayjax.peers.maintainer import Maintainer
from relayjax.peers.mirror import Mirror
from relayjax.peers.orderer import Orderer
from relayjax.peers.patience import Waiting
from relayjax.peers.succession import Succession
from relayjax.relay.testing import Validator
from relayjax.workdir import Workdir


class Office:
    """One maintainer. Use it as a context manager: while it orders it holds the folder's lock."""

    def __init__(
        self,
        home: Home,
        exchange: Exchange,
        validator: Validator,
        codec: Codec,
        waiting: Waiting,
        tell: Callable[[str], None] = lambda line: None,
        mirror: Mirror | None = None,
    ):
        """Holds no office yet.

        Args:
          home: its own directory.
          exchange: where it meets the others; only in a folder can it order.
          validator: what it measures with.
          codec: of the deltas.
          waiting: how long it waits.
          tell: is given lines for who watches.
          mirror: what keeps the folder in step with others, where it is a copy of its own.
        """
        self._home, self._exchange, self._waiting, self._tell = home, exchange, waiting, tell
        self._validator, self._codec = validator, codec
        self._keys = home.keys()
        self._folder = Workdir(exchange.folder) if isinstance(exchange, FolderExchange) else None
        self._mirror = mirror
        self._succession = Succession(
            home, self._keys, exchange, waiting.takeover, waiting.clock, self._vow if mirror else None
        )
        self._orderer: Orderer | None = None
        self._maintainer: Maintainer | None = None
        self._state: State | None = None
        self._held = ExitStack()

    def __enter__(self) -> Office:
        return self

    def __exit__(self, *_: object) -> None:
        self._step_down()

    @property
    def orderer(self) -> Orderer | None:
        """The orderer that it is; None while it is none."""
        return self._orderer

    @property
    def newest(self) -> State | None:
        """The newest state that it knows; None before it has acted."""
        return self._orderer.state if self._orderer else self._state

    @property
    def succession(self) -> Succession:
        """Its watch over the orderer."""
        return self._succession

    def act(self, history: History) -> tuple[bool, str | None]:
        """Does what its office asks for now.

        Args:
          history: the newest one followed; it may be behind while it orders itself.

        Returns:
          Whether the log has grown by it, and what is to be told to who watches.

        Raises:
          DiskError: the disk refused; acting again goes on.
          IntegrityError: an artefact is missing, or not what the ledger names.
        """
        self._state = state = history.state
        if self._orderer is not None:
            return self._order(self._orderer, history)
        seen = self._newest_seen(history)
        elected = self._succession.elected(seen.state, at_once=state.orderer == self._keys.name)
        if elected and elected[0] == self._keys.name and self._folder:  # else it is passed over
            if self._mirror and seen.state.seen != state.seen:  # a vote has kept the copy behind
                self._mirror.elected = seen.state.seen
                return False, None
            return self._take_office(elected[1])
        free = not (state.finished or elected or self._succession.bound(history))
        if state.orderer == seen.state.orderer == self._keys.name and free:
            return self._take_office()
        told = self._succession.act(seen)
        if not self._succession.bound(history):
            if self._maintainer is None:
                self._maintainer = self._maintaining(history)
            told = self._maintainer.act(history) or told
        return False, told

    def _newest_seen(self, history: History) -> History:
        """What it votes about: a mirror may have seen more than it shows."""
        newest = self._mirror.newest if self._mirror else None
        return history if newest is None or len(newest.records) < len(history.records) else newest

    def _maintaining(self, history: History) -> Maintainer:
        return Maintainer(self._home, self._keys, self._exchange, self._validator, self._codec, history)

    def _order(self, orderer: Orderer, history: History) -> tuple[bool, str | None]:
        told = self._succession.act(history) if history.state.seen == orderer.state.seen else None
        elected = None if orderer.outdated else self._succession.elected(orderer.state)
        overtaken = orderer.outdated or (self._mirror is not None and self._mirror.overtaken)
        if overtaken or elected:
            name = elected[0] if elected else "another maintainer"
            self._step_down()
            return True, f"{name} orders the records by the votes of the others; going on as a maintainer"
        if self._succession.bound(history):  # whatever it wrote now, others might be shown and lose again
            return False, told
        try:
            return orderer.act(), told
        except BaseException:  # what memory and disk agree on is only known when all is opened again
            self._step_down()
            raise

    def _take_office(self, votes: list[Envelope] | None = None) -> tuple[bool, str | None]:
        if self._folder is None:
            return False, f"{self._keys.name} orders the records; give the folder itself"
        waiting, mirror = self._waiting, self._mirror
        try:
            self._held.enter_context(self._folder.locked())
            self._orderer = Orderer(
                self._home,
                self._keys,
                self._folder,
                self._validator,
                self._codec,
                patience=waiting.patience,
                clock=waiting.clock,
                begin=waiting.begin,
                tell=self._tell,
                votes=votes or (),
                shared=(lambda: mirror.shared) if mirror else None,
            )
        except (ProtocolError, WorkdirError) as error:  # the log has gone on, or who orders still holds it
            self._step_down()
            return False, f"cannot order the records now: {error}"
        except BaseException:
            self._step_down()
            raise
        self._maintainer = None
        return bool(
            votes
        ), f"{self._keys.name} orders the records now, in term {self._orderer.state.term.number}"

    def _vow(self, history: History, promise: Promise) -> bool:
        """Keeps a promise at a point beyond which this folder shows nothing."""
        if self._mirror is not None and self._orderer is None:
            return self._mirror.vow(history, promise)
        self._home.keep_promise(promise)  # who orders writes the log here, and nobody else
        return True

    def _step_down(self) -> None:
        self._orderer = None
        self._held.close()
