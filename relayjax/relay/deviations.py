"""What dishonest participants and validators do in a live relay: a catalogue of deviations by name.

A deviation says only what differs from honest behaviour. Whatever it sends is signed, sealed and measured
like any other work, so what the rules make of it can be seen in the ledger.

P: numbers handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from relayjax.errors import ConfigError
from relayjax.learning.task import Batch, Task
from relayjax.misreports import Misreport, constant, favour, lie, silent
from relayjax.relay.turn import Handed, Turn

NOISE_ON_COPIES = 0.2
"""Length of the noise on a delta that is handed in again, its own being 1: a cosine of 0.98."""


def honest(turn: Turn) -> Handed:
    return turn.train(turn.parent)


def free_rider(turn: Turn) -> Handed:
    return turn.parent, 0.0


def noise(turn: Turn) -> Handed:
    """As long as its honest delta would have been: everybody knows how long deltas usually are."""
    trained, _ = honest(turn)
    return turn.handed(turn.noise(turn.strength * float(np.linalg.norm(trained - turn.parent))))


def scaled_parent(turn: Turn) -> Handed:
    return turn.handed(np.float32(0.1 * turn.strength) * turn.parent)


def stale(turn: Turn) -> Handed:
    """Trains the head of its last turn, as if it had not been told of any since."""
    old = turn.memory.heads.get(turn.name, turn.parent)
    trained, loss = turn.train(old)
    return turn.handed(trained - old, loss)


def copy(turn: Turn) -> Handed:
    """The earliest delta that an honest sibling leaks; in a chain round, the newest accepted one."""
    found = next(iter(turn.siblings.values()), None)
    if found is None:
        return replay_other(turn)
    return turn.handed(np.float32(turn.strength) * found)


def replay(turn: Turn) -> Handed:
    """The first delta it got accepted, in noise, ever again."""
    own = turn.memory.first.get(turn.name)
    if own is None:
        return honest(turn)
    return turn.handed(turn.in_noise(own, NOISE_ON_COPIES * turn.strength))


def replay_other(turn: Turn) -> Handed:
    """The newest accepted delta of another, in noise; nothing while there is none."""
    others = [delta for name, delta in turn.memory.newest.items() if name != turn.name]
    if not others:
        return free_rider(turn)
    return turn.handed(turn.in_noise(others[-1], NOISE_ON_COPIES * turn.strength))


def multiplied(factor: float) -> Callable[[Turn], Handed]:
    """Its honest delta so many times."""

    def hand_in(turn: Turn) -> Handed:
        trained, loss = honest(turn)
        return turn.handed(np.float32(factor * turn.strength) * (trained - turn.parent), loss)

    return hand_in


def chain_idle(turn: Turn) -> Handed:
    return honest(turn) if turn.braid else free_rider(turn)


def duplicate(turn: Turn) -> Handed:
    """The delta of its honest place in noise, so that it is no echo; a leg of its own in chain rounds."""
    found = next(iter(turn.siblings.values()), None)
    if found is None:
        return honest(turn)
    return turn.handed(turn.in_noise(found, NOISE_ON_COPIES * turn.strength))


Data = Callable[[Task, Sequence[int]], tuple[Batch, ...]]
"""(task, numbers of the deviants) → what each participant trains on."""


def labels_shifted(task: Task, deviants: Sequence[int]) -> tuple[Batch, ...]:
    """Every label of the deviants is one more, the last one the first.

    Raises:
      ConfigError: the task has no labels.
    """
    labels = task.shards[0].get("y")
    if labels is None or not np.issubdtype(labels.dtype, np.integer):
        raise ConfigError(
            f"experiment.deviation=label_flip: task {task.name} has no integer labels named y; "
            "choose another deviation"
        )
    classes = 1 + max(int(shard["y"].max()) for shard in task.shards)
    return tuple(
        {**shard, "y": ((shard["y"] + 1) % classes).astype(labels.dtype)} if number in deviants else shard
        for number, shard in enumerate(task.shards)
    )


def one_shard(task: Task, deviants: Sequence[int]) -> tuple[Batch, ...]:
    """All places of a deviant have the data of the first one; what the others had stays out of the relay."""
    shared = task.shards[deviants[0]]
    return tuple(shared if number in deviants else shard for number, shard in enumerate(task.shards))


Bid = Callable[[int, int | None], int | None]
"""(balance, honest bid), micro-coins → what is bid; None is no bid."""


@dataclass(frozen=True)
class Deviation:
    """What one does in place of honest behaviour; what is not said is honest.

    Attributes:
      bid: what it offers.
      deposits: whether it pays the deposit once it is matched.
      hand_in: what it makes of its turn.
      reveals: whether it shows what it committed to.
      report: what a validator states in place of its measurements, or None where it measures and tells them.
      data: what participants train on.
      remembers: whether `hand_in` needs earlier rounds.
      looks: whether it needs what siblings did in the present round.
      early: it deviates in the first `experiment.after` rounds, not after them.
    """

    bid: Bid = lambda balance, honest: honest
    deposits: bool = True
    hand_in: Callable[[Turn], Handed] = honest
    reveals: bool = True
    report: Misreport | None = None
    data: Data | None = None
    remembers: bool = False
    looks: bool = False
    early: bool = False


def no_bid(balance: int, honest: int | None) -> int | None:
    return None


def everything(balance: int, honest: int | None) -> int | None:
    return None if honest is None else balance


CATALOGUE: dict[str, Deviation] = {
    "none": Deviation(),
    "absent": Deviation(bid=no_bid),
    "chain_idle": Deviation(hand_in=chain_idle),
    "copy": Deviation(hand_in=copy, remembers=True, looks=True),
    "duplicate": Deviation(hand_in=duplicate, data=one_shard, looks=True),
    "free_rider": Deviation(hand_in=free_rider),
    "label_flip": Deviation(data=labels_shifted),
    "late": Deviation(bid=no_bid, early=True),
    "leaves": Deviation(bid=no_bid),
    "no_deposit": Deviation(deposits=False),
    "noise": Deviation(hand_in=noise),
    "overbid": Deviation(bid=everything),
    "replay": Deviation(hand_in=replay, remembers=True),
    "replay_other": Deviation(hand_in=replay_other, remembers=True),
    "scaled": Deviation(hand_in=multiplied(3)),
    "scaled_parent": Deviation(hand_in=scaled_parent),
    "second_leg": Deviation(data=one_shard),
    "sign_flip": Deviation(hand_in=multiplied(-1)),
    "stale": Deviation(hand_in=stale, remembers=True),
    "underbid": Deviation(bid=lambda balance, honest: None if honest is None else 0),
    "withhold": Deviation(reveals=False),
    "constant": Deviation(report=constant),
    "favour": Deviation(report=favour),
    "lie": Deviation(report=lie),
    "silent": Deviation(report=silent),
}
"""By the name that `experiment.deviation` gives; the last four are for validators."""
