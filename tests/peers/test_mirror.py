"""The orderer's machine is gone, folder and all: another goes on from its own copy, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from peers.town import Tools
from peers.union import Union

from relayjax.mechanism.state import Phase


@pytest.fixture
def union(tools: Tools, tmp_path: Path) -> Iterator[Union]:
    union = Union(tmp_path, tools, rounds=2)
    yield union
    union.close()


def test_nobody_is_lost(union: Union):
    union.finish()
    assert union.orderers == ["v0"], union.told
    history = union.check(rounds=2)
    assert all(set(r.facts.submissions) == set(r.facts.pairs) for r in history.rounds)
    assert all(set(r.facts.scores) == {"v0", "v1", "v2"} for r in history.rounds)


@pytest.mark.parametrize("phase", list(Phase))
def test_the_founder_vanishes_in_any_phase(union: Union, phase: Phase):
    union.play(union.at(1 if phase else 2, phase))
    seen = {name: (union.people[name].follower.size, union.people[name].follower.root) for name in union.here}
    first, _ = union.line()
    union.lose("v0")
    union.finish()
    assert union.orderers == [first], union.told
    for name in union.here:
        size, root = seen[name]
        assert union.people[name].follower.tree.root(size) == root, "what was believed is in the final log"
    history = union.check(rounds=2)
    assert [(term.number, term.orderer) for term in history.state.terms] == [(0, "v0"), (1, first)]
    assert all(set(r.facts.submissions) == set(r.facts.pairs) for r in history.rounds), "no leg got lost"
