"""From deltas back to weights: every version is its parent plus the deltas its settlement accepted.

No accelerator is needed: codec and composition are exact on the host. P: parameters, K: accepted deltas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from relayjax.codec import Codec
from relayjax.errors import FormatError, IntegrityError
from relayjax.history import History, SettledRound
from relayjax.mechanism.base import loss_rises
from relayjax.mechanism.state import Round, Topology, Version
from relayjax.merging import Merge, compose, merge_of
from relayjax.records import Submit
from relayjax.weights import digest

Fetch = Callable[[Submit], bytes]
"""Opens the encoded delta that a submission names."""


@dataclass(frozen=True, eq=False)
class Siblings:
    """The accepted work of a braid round, as its merge takes it.

    Attributes:
      trainers: whose it is, sorted.
      parent: weights that all of them started from, float32 [P].
      weights: of each delta, float32 [K].
      deltas: float32 [P] each, as they go into the composition.
    """

    trainers: tuple[str, ...]
    parent: np.ndarray
    weights: np.ndarray
    deltas: list[np.ndarray]

    @property
    def by_trainer(self) -> dict[str, np.ndarray]:
        """Trainer → its delta as it goes into the composition, float32 [P]."""
        return dict(zip(self.trainers, self.deltas, strict=True))

    @property
    def composed(self) -> np.ndarray:
        """Weights of the composition, float32 [P]."""
        return compose(self.parent, self.weights, self.deltas)


def rebuild(
    history: History, number: int, known: Mapping[int, np.ndarray], fetch: Fetch, codec: Codec
) -> np.ndarray:
    """Weights of one version, from the nearest known ancestor.

    Args:
      history: of the run.
      number: of the version.
      known: weights of some versions by number, float32 [P]; the genesis or any ancestor will do.
      fetch: opens deltas.
      codec: of the deltas.

    Returns:
      float32 [P].

    Raises:
      IntegrityError: the deltas do not lead to the version that the ledger names.
    """
    missing = []
    for version in history.state.lineage(number):
        if version.number in known:
            theta = known[version.number]
            break
        missing.append(version)
    else:
        raise IntegrityError(f"version {number}", "no ancestor's weights are at hand")
    merge = merge_of(history.state.schedule)
    for version in reversed(missing):
        theta = _child(history.rounds[version.round - 1], version, theta, fetch, codec, merge)
    return theta


def walk(
    history: History, genesis: np.ndarray, fetch: Fetch, codec: Codec
) -> Iterator[tuple[Version, np.ndarray]]:
    """All versions in order with their weights, each kept no longer than a later one needs it.

    Args:
      history: of the run.
      genesis: weights of version 0, float32 [P].
      fetch: opens deltas.
      codec: of the deltas.

    Raises:
      IntegrityError: see `rebuild`.
    """
    versions, merge = history.state.versions, merge_of(history.state.schedule)
    last_child = {version.parent: version.number for version in versions}
    held = {0: genesis}
    yield versions[0], genesis
    for version in versions[1:]:
        settled = history.rounds[version.round - 1]
        theta = _child(settled, version, held[version.parent], fetch, codec, merge)
        held[version.number] = theta
        held = {n: weights for n, weights in held.items() if last_child.get(n, 0) > version.number}
        yield version, theta


def siblings(settled: SettledRound, parent: np.ndarray, fetch: Fetch, codec: Codec, merge: Merge) -> Siblings:
    """Opens what a braid round accepted.

    Args:
      settled: the round.
      parent: weights that it started from, float32 [P].
      fetch: opens deltas.
      codec: of the deltas.
      merge: of the schedule.
    """
    facts, trainers = settled.facts, settled.settle.accepted
    deltas = [codec.decode(fetch(facts.submissions[name]), parent) for name in trainers]
    return merged(facts, trainers, parent, deltas, merge)


def merged(
    facts: Round, trainers: Sequence[str], parent: np.ndarray, deltas: Sequence[np.ndarray], merge: Merge
) -> Siblings:
    """Merges what a braid round accepted.

    Args:
      facts: of the round, its scores among them.
      trainers: who was accepted, sorted.
      parent: weights that all of them started from, float32 [P].
      deltas: of each, float32 [P].
      merge: of the schedule.
    """
    rises = loss_rises(facts)
    weights, moved = merge(deltas, [rises[name] for name in trainers], len(facts.pairs))
    return Siblings(tuple(trainers), parent, weights, moved)


def _child(
    settled: SettledRound, version: Version, parent: np.ndarray, fetch: Fetch, codec: Codec, merge: Merge
) -> np.ndarray:
    try:
        if settled.topology is Topology.BRAID:
            theta = siblings(settled, parent, fetch, codec, merge).composed
        else:
            theta = codec.apply(fetch(settled.facts.submissions[version.owners[0]]), parent)
    except FormatError as error:
        raise IntegrityError(f"delta of version {version.number}", str(error)) from error
    if digest(theta) != version.digest:
        raise IntegrityError(
            f"version {version.number}", "its deltas lead to other weights than the ledger names"
        )
    return theta
