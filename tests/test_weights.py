"""Weights: one vector, one digest; composition is exact to the bit; versions follow from deltas."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relayjax import codec, lineage
from relayjax.errors import IntegrityError
from relayjax.history import History
from relayjax.mechanism.state import Round, Topology, Version
from relayjax.merging import compose, equal
from relayjax.records import Score, Submit
from relayjax.weights import digest

FLOATS = st.floats(-100, 100, width=32)
VECTORS = hnp.arrays(np.float32, 8, elements=FLOATS)
CODEC = codec.get("lossless")


def test_the_digest_is_that_of_little_endian_float32():
    theta = np.array([1.0, -2.5, 0.0], np.float32)
    assert digest(theta) == blake3(bytes.fromhex("0000803f000020c000000000")).hexdigest()
    assert digest(theta.astype(">f4")) == digest(theta) == digest(np.stack([theta, theta]).T[:, 0])


@given(VECTORS, st.lists(VECTORS, max_size=4), st.integers(1, 5))
def test_composition_is_one_float32_operation_at_a_time_in_order(parent, deltas, places):
    kept = parent.copy()
    child = compose(parent, *equal(deltas, [0] * len(deltas), places))
    assert (parent == kept).all() and child.dtype == np.float32
    weight = np.float32(1) / np.float32(places)
    for index in range(len(parent)):
        total = parent[index]
        for delta in deltas:
            total = np.float32(total + np.float32(weight * delta[index]))
        assert total.tobytes() == child[index].tobytes()


def test_a_refused_delta_leaves_its_place_empty():
    parent, ones = np.zeros(2, np.float32), np.ones(2, np.float32)
    assert compose(parent, *equal([ones, ones], [0, 0], 4)).tolist() == [0.5, 0.5]


class Story:
    """A braid of two, a leg from it, then two rival legs from its parent: versions 0 to 4."""

    def __init__(self) -> None:
        dice = np.random.default_rng(0)
        self.genesis = dice.normal(size=16).astype(np.float32)
        self.blobs: dict[str, bytes] = {}
        self.weights = {0: self.genesis}
        self.versions = [Version(0, digest(self.genesis), -1, 0, ())]
        self.rounds: list[tuple[Topology, Round, tuple[str, ...]]] = []
        deltas = [dice.normal(size=16).astype(np.float32) for _ in range(6)]
        self._round(Topology.BRAID, 0, {"a": deltas[0], "b": deltas[1], "refused": deltas[5]}, ("a", "b"))
        self._round(Topology.CHAIN, 1, {"b": deltas[2]}, ("b",))
        self._round(Topology.TREE, 1, {"c": deltas[3]}, ("c",))
        self._round(Topology.CHAIN, 2, {"a": deltas[4]}, ("a",))

    def _round(self, topology: Topology, parent: int, deltas: dict[str, np.ndarray], owners: tuple) -> None:
        number, base, submissions = len(self.rounds) + 1, self.weights[parent], {}
        children = {}
        for name, delta in deltas.items():
            payload = CODEC.encode(base, base + delta)
            children[name] = CODEC.apply(payload, base)
            blob = blake3(payload).hexdigest()
            self.blobs[blob] = payload
            submissions[name] = Submit(
                name, number, blob, "lossless", len(payload), "00", digest(base), digest(children[name])
            )
        if topology is Topology.BRAID:
            decoded = [CODEC.decode(self.blobs[submissions[name].delta], base) for name in owners]
            theta = compose(base, *equal(decoded, [0] * len(decoded), len(deltas)))
        else:
            theta = children[owners[0]]
        self.weights[number] = theta
        self.versions.append(Version(number, digest(theta), parent, number, owners))
        children = tuple((name, 0) for name in sorted(deltas))
        score = Score("v", number, "00" * 16, ((str(parent), 0),), children, (), (), ())
        facts = Round(
            number, b"", pairs=dict.fromkeys(deltas, parent), submissions=submissions, scores={"v": score}
        )
        self.rounds.append((topology, facts, owners))

    def history(self, opening: History) -> History:
        state = dataclasses.replace(opening.state, versions=tuple(self.versions), heads=(4,))
        first = opening.rounds[0]
        rounds = (
            dataclasses.replace(
                first, topology=t, facts=f, settle=dataclasses.replace(first.settle, accepted=o)
            )
            for t, f, o in self.rounds
        )
        return dataclasses.replace(opening, state=state, rounds=tuple(rounds))

    def fetch(self, submission: Submit) -> bytes:
        return self.blobs[submission.delta]


@pytest.fixture
def story() -> Story:
    return Story()


def test_any_version_is_rebuilt_from_any_ancestor(story, played_run):
    past = story.history(played_run)
    for number in range(5):
        for known in ({0: story.genesis}, {0: story.genesis, 1: story.weights[1]}, dict(story.weights)):
            rebuilt = lineage.rebuild(past, number, known, story.fetch, CODEC)
            assert digest(rebuilt) == past.state.versions[number].digest


def test_all_versions_are_walked_in_order(story, played_run):
    walked = list(lineage.walk(story.history(played_run), story.genesis, story.fetch, CODEC))
    assert [version.number for version, _ in walked] == [0, 1, 2, 3, 4]
    assert all((theta == story.weights[version.number]).all() for version, theta in walked)


def test_a_delta_that_leads_elsewhere_is_found_at_its_version(story, played_run):
    past = story.history(played_run)
    submission = past.rounds[1].facts.submissions["b"]
    story.blobs[submission.delta] = CODEC.encode(story.weights[1], story.weights[1] + np.float32(1))
    with pytest.raises(IntegrityError, match="version 2"):
        lineage.rebuild(past, 4, {0: story.genesis}, story.fetch, CODEC)
    story.blobs[submission.delta] = b"damaged"
    with pytest.raises(IntegrityError, match="version 2"):
        list(lineage.walk(past, story.genesis, story.fetch, CODEC))


def test_without_any_ancestor_there_is_nothing_to_build_on(story, played_run):
    with pytest.raises(IntegrityError, match="no ancestor"):
        lineage.rebuild(story.history(played_run), 3, {2: story.weights[2]}, story.fetch, CODEC)
