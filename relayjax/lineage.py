"""From deltas back to weights: every version is its parent plus the deltas its settlement accepted.

No accelerator is needed: codec and composition are exact on the host. P: parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from relayjax.codec import Codec
from relayjax.errors import FormatError, IntegrityError
from relayjax.history import History, SettledRound
from relayjax.mechanism.base import loss_rises
from relayjax.mechanism.state import Topology, Version
from relayjax.merging import MERGES, Merge, compose
from relayjax.records import Submit
from relayjax.weights import digest

Fetch = Callable[[Submit], bytes]
"""Opens the encoded delta that a submission names."""


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
    merge = MERGES[history.state.schedule.merge]
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
    versions, merge = history.state.versions, MERGES[history.state.schedule.merge]
    last_child = {version.parent: version.number for version in versions}
    held = {0: genesis}
    yield versions[0], genesis
    for version in versions[1:]:
        settled = history.rounds[version.round - 1]
        theta = _child(settled, version, held[version.parent], fetch, codec, merge)
        held[version.number] = theta
        held = {n: weights for n, weights in held.items() if last_child.get(n, 0) > version.number}
        yield version, theta


def _child(
    settled: SettledRound, version: Version, parent: np.ndarray, fetch: Fetch, codec: Codec, merge: Merge
) -> np.ndarray:
    submissions = [settled.facts.submissions[name] for name in version.owners]
    try:
        if settled.topology is Topology.BRAID:
            deltas = [codec.decode(fetch(submission), parent) for submission in submissions]
            rises = loss_rises(settled.facts)
            accepted = [rises[name] for name in version.owners]
            theta = compose(parent, *merge(deltas, accepted, len(settled.facts.pairs)))
        else:
            theta = codec.apply(fetch(submissions[0]), parent)
    except FormatError as error:
        raise IntegrityError(f"delta of version {version.number}", str(error)) from error
    if digest(theta) != version.digest:
        raise IntegrityError(
            f"version {version.number}", "its deltas lead to other weights than the ledger names"
        )
    return theta
