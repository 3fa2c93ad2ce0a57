"""What a run's legs turned out to gain."""

from __future__ import annotations

import dataclasses

import pytest

from relayjax.history import History
from relayjax.measured import legs, trainings
from relayjax.mechanism.state import Topology


def test_gains_are_what_legs_outside_braid_rounds_took_off_the_loss(played_run: History):
    """Rounds 1 and 5 of 8 are braids; in round 3 the loss rose, in round 4 too, in round 7 nothing came."""
    found = trainings(played_run)
    chain = [leg for leg in legs(played_run) if leg.round not in (1, 5)]
    assert found.matched == len(chain) == 6
    assert len(found.gains) == 5
    assert found.success_rate == pytest.approx(5 / 6)
    third, fourth = (next(i for i, leg in enumerate(chain) if leg.round == number) for number in (3, 4))
    assert found.gains[third] == pytest.approx(-0.15)
    assert found.gains[fourth] == pytest.approx(0.0 if chain[fourth].trainer == "p3" else -0.04)
    assert found.mean == pytest.approx(sum(found.gains) / 5)
    assert found.deviation > 0


def test_every_leg_of_a_tree_counts(played_derelayl: History):
    found = trainings(played_derelayl)
    assert found.matched == sum(len(settled.facts.pairs) for settled in played_derelayl.rounds) > 6
    assert found.success_rate == 1.0
    assert found.gains == pytest.approx([int(leg.trainer[1:]) / 1_000 for leg in legs(played_derelayl)])


def test_a_run_of_braids_alone_has_none(played_run: History):
    braids = tuple(settled for settled in played_run.rounds if settled.topology is Topology.BRAID)
    found = trainings(dataclasses.replace(played_run, rounds=braids))
    assert braids and found.gains == () and found.success_rate == 0.0
