"""Nothing is compiled any more when somebody has paid for, or pledged to, what is to be computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.monitoring
import numpy as np
import pytest
from peers.town import Tools, Town, play

from relayjax import settings
from relayjax.learning.leg import Leg
from relayjax.mechanism.state import Phase
from relayjax.peers.orderer import Orderer
from relayjax.peers.participant import Participant
from relayjax.peers.warming import measures, warm_trainer, warm_validator
from relayjax.relay.timing import Stopwatch
from relayjax.relay.training import Trainer

_COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def counted() -> Iterator[list[str]]:
    """What is compiled meanwhile."""
    found: list[str] = []

    def note(event: str, duration_secs: float, **_: str | int) -> None:
        if event == _COMPILED:
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def fresh(town: Town) -> Trainer:
    """A trainer that has compiled nothing yet."""
    config, task = town.tools.config, town.tools.workshop.task
    return Trainer(Leg(task, config.leg), town.tools.workshop.codec, Stopwatch())


def test_a_trainer_that_was_warmed_compiles_nothing_in_the_commit_phase(town: Town):
    town.begin(rounds=1)
    orderer, members = town.orderer(), town.members("p1", "p2", "v1")
    home, shard, trainer = town.home("p0"), town.tools.shards[0], fresh(town)
    with counted() as before:
        warm_trainer(trainer, shard)
    assert before
    participant = Participant(home, home.keys(), town.exchange, trainer, shard)
    play(town, orderer, [*members, *town.members("p0")], lambda: orderer.state.round.phase is Phase.COMMIT)
    with counted() as meanwhile:
        assert participant.act(orderer.state) is None
    assert home.turn(1) and not meanwhile


def test_compiling_a_leg_changes_nothing_that_it_computes(town: Town):
    cold, warm, shard = fresh(town), fresh(town), town.tools.shards[0]
    warm_trainer(warm, shard)
    theta, key = np.full(warm.leg.baton.size, 0.01, np.float32), jax.random.key(3)
    assert np.array_equal(cold.train(theta, shard, key, (1, 5))[0], warm.train(theta, shard, key, (1, 5))[0])


@pytest.mark.parametrize("braids", [(), (1,), (1, 2)])
def test_a_validator_that_was_warmed_compiles_nothing_in_a_test(
    tools: Tools, tmp_path_factory: pytest.TempPathFactory, braids: tuple[int, ...]
):
    named = {"relay.rounds": "2", "relay.braid_rounds": ",".join(map(str, braids))}
    config = settings.override(tools.config, named)
    workshop = dataclasses.replace(tools.workshop, config=config)
    own = dataclasses.replace(tools, config=config, workshop=workshop, validator=workshop.validator())
    town = Town(tmp_path_factory.mktemp("town"), own)
    town.begin(rounds=2)
    with counted() as before:
        warm_validator(own.validator, own.workshop)
    assert before
    orderer, members = town.orderer(), town.members()
    compiled: list[str] = []
    watch(orderer, compiled)
    play(town, orderer, members)
    town.close()
    assert not compiled


def watch(orderer: Orderer, compiled: list[str]) -> None:
    """Notes what the orderer compiles for its reports."""
    report = orderer._validating.report

    def noting(*arguments: object) -> object:
        with counted() as found:
            said = report(*arguments)  # pyright: ignore[reportArgumentType]
        compiled.extend(found)
        return said

    orderer._validating.report = noting  # pyright: ignore[reportAttributeAccessIssue]


def test_who_starts_while_others_measure_does_not_measure_made_up_work_first(town: Town):
    town.begin(rounds=1)
    orderer, members, at = town.orderer(), town.members(), dict[Phase, bool]()

    def noted() -> bool:
        at[orderer.state.round.phase] = measures(orderer.state)
        return orderer.state.finished

    play(town, orderer, members, until=noted)
    assert not measures(orderer.state)
    assert not any(at[phase] for phase in at if phase < Phase.TESTING) and at[Phase.TESTING]
