"""What a running relay tells its listeners. Frontends subscribe to these; none of it is hashed.

Losses are in nats per validation example, measured on the examples drawn for the round.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Event:
    """Base of all events.

    Attributes:
      round: the round it happened in.
    """

    round: int


@dataclass(frozen=True)
class Matched(Event):
    """The auction is over.

    Attributes:
      topology: chain, braid or tree.
      trainers: who trains in this round.
    """

    topology: str
    trainers: tuple[str, ...]


@dataclass(frozen=True)
class Trained(Event):
    """One participant has trained its leg and revealed its delta.

    Attributes:
      loss: its mean training loss in nats.
      size: bytes of the encoded delta.
      ahead: whether the leg was trained ahead, while something else was still going on.
    """

    trainer: str
    loss: float
    size: int
    ahead: bool = False


@dataclass(frozen=True)
class Settled(Event):
    """The round is settled and durable; the next one may have begun meanwhile.

    Attributes:
      topology: chain, braid or tree.
      rises: (trainer, validation loss of its candidate − of its parent) of every candidate.
      accepted: trainers whose work passed the test.
      refused: the other matched trainers.
      values: (trainer, measured value in nats) in a braid round.
      head: number of the newest version.
      loss: its validation loss; None when nothing was scored.
      metrics: its figures on the test set, such as accuracy.
      seconds: time of this round by stage; stages of several threads may run side by side.
      idle: seconds between the end of one leg's training and the beginning of the next one's, added up.
    """

    topology: str
    rises: tuple[tuple[str, float], ...]
    accepted: tuple[str, ...]
    refused: tuple[str, ...]
    values: tuple[tuple[str, float], ...]
    head: int
    loss: float | None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    idle: float = 0.0


@dataclass(frozen=True)
class HandedOff(Event):
    """A model checkpoint of a version was written, sealed and restored.

    Attributes:
      version: its number.
      size: bytes of the pack.
    """

    version: int
    size: int
