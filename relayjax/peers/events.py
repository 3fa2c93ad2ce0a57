"""What a member at work tells its listeners. Frontends subscribe to these; none of it is hashed."""

from __future__ import annotations

from dataclasses import dataclass

from relayjax.errors import RelayError
from relayjax.peers.standing import Status


@dataclass(frozen=True)
class Event:
    """Base of all events.

    Attributes:
      round: the present round, as far as the member has followed the log; 0 before it has read anything.
    """

    round: int


@dataclass(frozen=True)
class Begun(Event):
    """The member takes part in a round from now on; after a restart that may be amid it.

    Attributes:
      status: of the relay and of the member in it.
    """

    status: Status


@dataclass(frozen=True)
class Settled(Event):
    """A round is settled.

    Attributes:
      topology: chain, braid or tree.
      accepted: trainers whose work passed the test.
      refused: the other matched trainers.
      head: number of the newest version.
    """

    topology: str
    accepted: tuple[str, ...]
    refused: tuple[str, ...]
    head: int


@dataclass(frozen=True)
class TookOver(Event):
    """Another maintainer orders the records.

    Attributes:
      orderer: its name.
      term: number of its term.
    """

    orderer: str
    term: int


@dataclass(frozen=True)
class Told(Event):
    """What the member did besides, or what keeps it from acting; said once, until it is something else.

    Attributes:
      text: a line.
    """

    text: str


@dataclass(frozen=True)
class Failed(Event):
    """Something failed that may pass, and is tried again; said once, until it is something else.

    Attributes:
      error: that is outlasted.
    """

    error: RelayError


@dataclass(frozen=True)
class Finished(Event):
    """Every round is settled.

    Attributes:
      status: of the relay and of the member in it, at the end.
    """

    status: Status


@dataclass(frozen=True)
class ServingOn(Event):
    """The relay is finished, and the member goes on serving it.

    Attributes:
      seconds: without a request after which it ends.
    """

    seconds: float
