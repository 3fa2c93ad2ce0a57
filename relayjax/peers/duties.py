"""What a member does once the log has its registration: train, or maintain and perhaps serve.

Compiling takes a while, so nothing is made before there is something to do.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from relayjax.errors import ConfigError, DiskError
from relayjax.history import History
from relayjax.peers.bundle_replica import Replica
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.home import Home
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import Served, serving
from relayjax.peers.keeping import Keeping, keeping
from relayjax.peers.mirror import Mirror
from relayjax.peers.p2p_pieces import serving_pieces
from relayjax.peers.patience import Waiting
from relayjax.peers.several import Place

if TYPE_CHECKING:
    from relayjax.codec import Codec
    from relayjax.config import Config
    from relayjax.peers.office import Office
    from relayjax.peers.participant import Participant

PACE = 1.0
"""Seconds between two looks at a bucket, at least: every listing is paid for."""

Tell = Callable[[str], None]


class Duty(ABC):
    """What a member does, from when it is in until `close`."""

    @abstractmethod
    def act(self, history: History) -> tuple[bool, str | None]:
        """Does what the history asks for; returns whether the log has grown by it, and what is to be told."""

    def check(self) -> None:
        """Raises what has ended something that goes on beside."""
        return

    def finish(self, stop: Event, poll: float, on: Callable[[float], None]) -> None:
        """Does what is left when the relay is finished.

        Args:
          stop: ends it early.
          poll: seconds between two looks.
          on: is told for how many seconds without a request it is served on.
        """
        return

    def close(self) -> None:
        """Gives free what was opened."""
        return

    @property
    def mirrored(self) -> bool:
        """Whether it works in a folder into which others' work has yet to come."""
        return False

    @property
    def left(self) -> float | None:
        """See `Status.left`."""
        return None

    @property
    def url(self) -> str | None:
        """Where the relay is served; None where it is not."""
        return None


class Training(Duty):
    """A participant's."""

    def __init__(
        self,
        home: Home,
        exchange: Exchange,
        shard: int | None,
        config: Config | None,
        warm: bool,
        tell: Tell,
        served: Served | None = None,
        others: Sequence[Exchange] = (),
    ):
        self._home, self._exchange, self._shard, self._config = home, exchange, shard, config
        self._warm, self._tell, self._served, self._others = warm, tell, served, others
        self._participant: Participant | None = None
        self._stack = ExitStack()

    def act(self, history: History) -> tuple[bool, str | None]:
        if self._participant is None:
            self._participant = self._begin(history)
        return False, self._participant.act(history.state)

    def _begin(self, history: History) -> Participant:
        from relayjax.peers.participant import Participant
        from relayjax.peers.warming import warm_trainer
        from relayjax.peers.workshop import Workshop

        workshop, shard = Workshop.of(history, self._config), self._shard
        shards = len(workshop.task.shards)
        if shard is None and shards > 1:
            raise ConfigError(f"--shard=K is needed: which of the task's {shards} shards is yours, 0 or more")
        trainer, data = workshop.trainer(shard or 0)
        if self._warm:
            self._tell("compiling  the leg and the codec; bids come after that")
            warm_trainer(trainer, data)
        if self._served:
            self._stack.enter_context(serving_pieces(self._served, self._home.path, self._tell))
        return Participant(self._home, self._home.keys(), self._exchange, trainer, data, self._others)

    def close(self) -> None:
        self._stack.close()


@dataclass(frozen=True)
class Outlets:
    """How others who do not see the folder reach what lies in it.

    Attributes:
      served: where it is served; None where it is not.
      published: address of the bucket that is kept in step with it; None without one.
      pace: seconds between two passes over the bucket.
    """

    served: Served | None = None
    published: str | None = None
    pace: float = PACE

    def __bool__(self) -> bool:
        return bool(self.served or self.published)


class Maintaining(Duty):
    """A maintainer's, in whichever office the log gives it; beside it the folder may be served.

    Where it only reaches others' copies, its folder is one of its own, kept in step with them.
    """

    def __init__(
        self,
        home: Home,
        exchange: Exchange,
        config: Config | None,
        waiting: Waiting,
        outlets: Outlets,
        warm: bool,
        tell: Tell,
        others: Sequence[Place] = (),
    ):
        if isinstance(exchange, FolderExchange) and not others and Replica(exchange.folder).exists:
            waiting = replace(waiting, takeover=inf)  # silence is no sign there, nor are votes carried
        self._home, self._exchange, self._config, self._waiting = home, exchange, config, waiting
        self._outlets, self._warm, self._tell = outlets, warm, tell
        self._stack = ExitStack()
        self._office: Office | None = None
        self._server: RelayServer | None = None
        self._mirror: Mirror | None = None
        self._kept: list[Keeping] = []
        if others and isinstance(exchange, FolderExchange):
            self._mirror = Mirror(
                home, home.keys(), exchange.folder, others, waiting.takeover, waiting.clock, tell
            )
            with suppress(DiskError):  # the thread goes on
                self._mirror.step()
            self._kept.append(self._stack.enter_context(keeping(self._mirror, outlets.pace, tell)))

    @property
    def mirrored(self) -> bool:
        return self._mirror is not None

    @property
    def url(self) -> str | None:
        served = self._outlets.served
        return served.url(self._server) if served and self._server else None

    @property
    def left(self) -> float | None:
        orderer = self._office.orderer if self._office else None
        return orderer.left if orderer else None

    def act(self, history: History) -> tuple[bool, str | None]:
        if self._office is None:
            self._office = self._begin(history)
        return self._office.act(history)

    def check(self) -> None:
        for kept in self._kept:
            kept.check()

    def finish(self, stop: Event, poll: float, on: Callable[[float], None]) -> None:
        for kept in self._kept:
            kept.finish()
        if self._server:
            on(self._waiting.patience)
            while time.monotonic() - self._server.asked < self._waiting.patience and not stop.wait(poll):
                pass

    def close(self) -> None:
        self._office = self._server = None
        self._kept = []
        self._stack.close()

    def _begin(self, history: History) -> Office:
        from relayjax.peers.office import Office
        from relayjax.peers.warming import measures, warm_validator
        from relayjax.peers.workshop import Workshop

        workshop = Workshop.of(history, self._config)
        codec, validator = workshop.codec, workshop.validator()
        office = Office(self._home, self._exchange, validator, codec, self._waiting, self._tell, self._mirror)
        self._stack.enter_context(office)
        if self._outlets and isinstance(self._exchange, FolderExchange):
            self._open(self._exchange.folder, office, history, codec)
        if self._warm and not measures(history.state):
            self._tell("compiling  what scores and values, by measuring made-up work once")
            warm_validator(validator, workshop)
        return office

    def _open(self, folder: Path, office: Office, history: History, codec: Codec) -> None:
        """Lets others reach the folder, beside the office."""
        from relayjax.pack import ModelVersion

        outlets, limit = self._outlets, codec.max_size(ModelVersion(0, "", history.genesis.layout).size)

        def awaited() -> Awaited:
            found = Awaited.of(office.newest or history.state, limit)
            if self._mirror and not office.orderer:  # who orders is to have deltas
                return replace(found, paths={})
            return found

        if outlets.served:
            server = outlets.served.open(folder, awaited, self._tell)
            self._server = self._stack.enter_context(serving(server))
        if outlets.published:
            from relayjax.peers.object_bucket import Bucket
            from relayjax.peers.object_publishing import Publisher

            bucket = Bucket(outlets.published)
            deltas = lambda: replace(awaited(), state=None)  # noqa: E731  (votes come from mirrors)
            publisher = Publisher(folder, bucket, deltas, self._tell)
            self._tell(f"publishing {bucket.url}")
            pace = max(outlets.pace, PACE)
            self._kept.append(self._stack.enter_context(keeping(publisher, pace, self._tell)))
