"""Sequences of legs, walked so that a beginning which several have in common is trained once.

The sequences are the branches of a tree, visited depth first: what is held at any time are the states at
which the branch being walked parts from another, not all those along it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

State = TypeVar("State")

Train = Callable[[State, int, int], State]
"""(state, participant, position) → the state after that leg.

It must leave the state it is given as it was, for others go on from it, and depend on nothing but its
arguments: draw batches and keys from (participant, position).
"""


def walk(
    sequences: Sequence[Sequence[int]],
    start: State,
    train: Callable[[State, int, int], State],
    arrive: Callable[[State, int, list[int]], None],
) -> None:
    """Trains every distinct beginning of the sequences once.

    Args:
      sequences: legs by number; empty ones are passed over.
      start: the state before the first leg.
      train: (state, leg, its place in the sequence) → the state after it.
      arrive: is told of every state trained: (state, how many legs led to it, which sequences begin so).
    """
    waiting = _branches(sequences, start, 0, range(len(sequences)))
    while waiting:
        state, depth, rows = waiting.pop()
        state = train(state, sequences[rows[0]][depth], depth)
        arrive(state, depth + 1, rows)
        waiting += _branches(sequences, state, depth + 1, rows)


def distinct(sequences: Sequence[Sequence[int]]) -> int:
    """How many distinct beginnings the sequences have: the legs that `walk` trains."""
    count = 0

    def arrive(state: None, depth: int, rows: list[int]) -> None:
        nonlocal count
        count += 1

    walk(sequences, None, lambda state, leg, place: None, arrive)
    return count


def _branches(
    sequences: Sequence[Sequence[int]], state: State, depth: int, rows: Sequence[int]
) -> list[tuple[State, int, list[int]]]:
    """Where sequences that have `depth` legs in common go from there, the first to be walked last."""
    groups: dict[int, list[int]] = {}
    for row in rows:
        if depth < len(sequences[row]):
            groups.setdefault(sequences[row][depth], []).append(row)
    return [(state, depth, group) for group in reversed(groups.values())]
