"""Each maintainer publishes its copy in a bucket of its own; when who orders is gone, another goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from peers.town import Tools
from peers.union import Keeper, Union

from relayjax.errors import ExchangeError
from relayjax.mechanism.state import Phase
from relayjax.peers.several import Place

pytest.importorskip("obstore", reason="the extra `objects` is not installed")

from peers.bucket import QUICK, URL, ObjectStore

from relayjax.peers.object_bucket import Bucket
from relayjax.peers.object_exchange import ObjectExchange
from relayjax.peers.object_publishing import Publisher


class Buckets(Union):
    """A union that meets in buckets."""

    def show(self, keeper: Keeper) -> None:
        deltas = lambda: replace(keeper.awaited(), state=None)  # noqa: E731
        self.publishers = getattr(self, "publishers", {})
        self.publishers[keeper.name] = Publisher(
            keeper.folder, Bucket(self.url(keeper.name), **QUICK), deltas
        )
        self.ports.setdefault(keeper.name, 0)
        self.publish(keeper.name)

    def publish(self, name: str) -> None:
        if (self.folder(name) / "ledger" / "checkpoint").exists():
            self.publishers[name].step()

    def url(self, name: str) -> str:
        return f"{URL}-{name}"

    def places(self, but: str = "") -> list[Place]:
        clock = lambda: self.now  # noqa: E731
        names = [name for name in sorted(self.ports) if name != but]
        return [Place(name, ObjectExchange(self.url(name), **QUICK), clock) for name in names]

    def turn(self, until=lambda: False) -> None:
        for name in self.here:
            if name in self.publishers:
                with suppress(ExchangeError):
                    self.publish(name)
        super().turn(until)


@pytest.fixture
def union(store: ObjectStore, tools: Tools, tmp_path: Path) -> Iterator[Union]:
    union = Buckets(tmp_path, tools, rounds=2)
    yield union
    union.close()


def test_another_goes_on_from_its_own_copy(union: Union):
    union.play(union.at(1, Phase.REVEAL))
    first, _ = union.line()
    union.lose("v0")
    union.finish()
    assert union.orderers == [first], union.told
    history = union.check(rounds=2)
    assert [(term.number, term.orderer) for term in history.state.terms] == [(0, "v0"), (1, first)]
    assert all(set(r.facts.submissions) == set(r.facts.pairs) for r in history.rounds), "no leg got lost"
