"""Fixtures: what is compiled once, and a town to play in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from peers.site import Site, served
from peers.town import Tools, Town
from peers.union import Union

from relayjax import codec
from relayjax.config import Config
from relayjax.learning.leg import Leg
from relayjax.learning.placement import place_shards
from relayjax.peers.workshop import Workshop
from relayjax.relay.timing import Stopwatch
from relayjax.relay.training import Trainer

if TYPE_CHECKING:
    from peers.bucket import ObjectStore


@pytest.fixture(scope="session")
def tools(tiny_config: Callable[..., Config]) -> Tools:
    config = tiny_config({"relay.rounds": "4", "relay.braid_rounds": "1,3"})
    task = config.task.build(config.relay.participants, config.seed)
    workshop = Workshop(config, task, codec.get(config.relay.codec))
    trainer = Trainer(Leg(task, config.leg), workshop.codec, Stopwatch())
    return Tools(config, workshop, trainer, place_shards(task), workshop.validator())


@pytest.fixture
def town(tools: Tools, tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path, tools)
    yield town
    town.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path / "relay") as site:
        yield site


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An object store, and an environment in which clients find it."""
    from peers.bucket import object_store

    with object_store(tmp_path) as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        yield store


@pytest.fixture
def union(tools: Tools, tmp_path: Path) -> Iterator[Union]:
    union = Union(tmp_path, tools, rounds=2)
    yield union
    union.close()
