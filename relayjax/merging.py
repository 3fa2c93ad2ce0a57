"""Merging a braid round's deltas: which numbers of whose delta go into the next head, and with what weight.

    equal            parent + Σ δ_i / places
    value_weighted   parent + Σ w_i δ_i,  w_i ∝ 1 / (1 + rise_i − least rise),  Σ w_i = accepted / places
    sign_consensus   as equal, but a parameter moves only with those deltas that share the sign of their sum
                     (TIES-Merging, arXiv 2306.01708, section 3, steps 2 and 3)

All weights are multiplied by the schedule's step: 1 is the mean, more goes further along it, as an outer step
size does in federated optimization (arXiv 2003.00295, section 2).

All of it is agreed: it works on the host, in a fixed order, with sums, products and quotients that IEEE 754
defines to the bit. P: parameters, K: accepted deltas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

Merge = Callable[[Sequence[np.ndarray], Sequence[int], int], tuple[np.ndarray, list[np.ndarray]]]
"""(deltas, float32 [P] each, sorted by trainer; rises of the validation loss, micro-nats; matched trainers) →
(weights, float32 [K]; the deltas as they go in, float32 [P] each), from which `compose` makes the head."""


def equal(
    deltas: Sequence[np.ndarray], rises: Sequence[int], places: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Every place weighs 1 / places; a refused delta leaves its place empty: larger weights overshoot."""
    return np.full(len(deltas), np.float32(1) / np.float32(places), np.float32), list(deltas)


def value_weighted(
    deltas: Sequence[np.ndarray], rises: Sequence[int], places: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The less a candidate raises the loss, the more it weighs; the sum of weights is that of `equal`."""
    raw = np.array([1 / (1 + (rise - min(rises)) / 1e6) for rise in rises], np.float64)
    total = math.fsum(raw)  # rounded once: `sum` compensates in some versions of Python, and not in others
    return (raw * (len(deltas) / places / total)).astype(np.float32), list(deltas)


def sign_consensus(
    deltas: Sequence[np.ndarray], rises: Sequence[int], places: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Numbers that pull against the majority's sign are left out."""
    total = np.zeros_like(deltas[0])
    for delta in deltas:
        total += delta
    sign = np.sign(total)
    agreed = [np.where(np.sign(delta) == sign, delta, np.float32(0)) for delta in deltas]
    return equal(agreed, rises, places)


MERGES: dict[str, Merge] = {
    "equal": equal,
    "sign_consensus": sign_consensus,
    "value_weighted": value_weighted,
}
"""By the name a schedule uses."""


class Merging(Protocol):
    """What a schedule says of it."""

    @property
    def merge(self) -> str:
        """One of `MERGES`."""
        ...

    @property
    def merge_step(self) -> int:
        """Factor of all weights, ppm."""
        ...


def share_of(schedule: Merging, places: int) -> float:
    """What each of so many deltas weighs if none is known to be worth more."""
    return schedule.merge_step / 1e6 / places


def merge_of(schedule: Merging) -> Merge:
    """The merge that a schedule asks for."""
    return stepped(MERGES[schedule.merge], schedule.merge_step)


def stepped(merge: Merge, step: int) -> Merge:
    """A merge that goes further, or less far: by a factor in ppm."""

    def further(
        deltas: Sequence[np.ndarray], rises: Sequence[int], places: int
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        weights, moved = merge(deltas, rises, places)
        return weights * np.float32(step / 1e6), moved

    return further


def compose(parent: np.ndarray, weights: np.ndarray, deltas: Sequence[np.ndarray]) -> np.ndarray:
    """The next head of a braid round: parent + Σ weight · delta, one float32 product and sum at a time.

    Args:
      parent: float32 [P].
      weights: of each delta, float32 [K].
      deltas: float32 [P] each, in the order of their trainers' names.

    Returns:
      float32 [P].
    """
    child = parent.copy()
    for weight, delta in zip(weights, deltas, strict=True):
        child += weight * delta
    return child
