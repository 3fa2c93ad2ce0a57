"""A relay whose orderer is in a town of its own and whose members reach a bucket only, stepped by a test."""

from __future__ import annotations

from peers.bucket import ObjectStore
from peers.town import Member, Town

from relayjax import backend
from relayjax.errors import ExchangeError
from relayjax.peers.copying import copy
from relayjax.peers.follower import Follower
from relayjax.peers.http_gate import Awaited
from relayjax.peers.object_publishing import Publisher
from relayjax.peers.orderer import Orderer


class Play:
    """The orderer, its publisher, and members in the bucket, stepped by a test."""

    def __init__(self, town: Town, store: ObjectStore, rounds: int = 2):
        self.town, self.store, self.told = town, store, list[str]()
        self.failed = 0
        town.begin(rounds=rounds, join_all=False)
        self.orderer = town.orderer()
        self.restart()
        self.publisher.step()
        self.members = [self.member(name) for name in (*town.participants, *town.maintainers)]

    @property
    def publisher(self) -> Publisher:
        return self._publisher

    def restart(self) -> None:
        """What a kill of the publisher and a new start are."""
        self._publisher = published(self.town, self.store, self.orderer, self.told)

    def member(self, name: str) -> Member:
        there = Town(self.town.base, self.town.tools)
        there.exchange = self.store.exchange()  # pyright: ignore[reportAttributeAccessIssue]
        while True:
            try:
                assert there.join(name) is None
                return Member(there, name)
            except ExchangeError:
                self.failed += 1

    def round(self, look: bool = False) -> None:
        """One step of everybody."""
        try:
            self.publisher.step(look=look)
        except ExchangeError:
            self.failed += 1
        self.orderer.act()
        for member in self.members:
            try:
                member.step()
            except ExchangeError:
                self.failed += 1

    def to_the_end(self) -> set[str]:
        """Plays on; returns the roots that everybody has."""
        for _ in range(200):
            self.round()
            size = self.orderer.log.size
            if self.orderer.state.finished and all(m.follower.size == size for m in self.members):
                break
        assert self.orderer.state.finished, (self.town.told, self.told)
        return {member.follower.root.hex() for member in self.members} | {self.orderer.log.root.hex()}


def awaited(town: Town, orderer: Orderer) -> Awaited:
    return Awaited.of(orderer.state, town.tools.workshop.codec.max_size(town.tools.trainer.leg.baton.size))


def published(town: Town, store: ObjectStore, orderer: Orderer, told: list[str]) -> Publisher:
    return Publisher(town.folder, store.bucket(), lambda: awaited(town, orderer), told.append)


def copied(town: Town, store: ObjectStore) -> str:
    """Fetches the relay from the bucket and verifies it with a maintainer's keys; returns its root."""
    member, exchange = town.home("p0").membership(), store.exchange()
    follower = Follower(exchange, member.origin, member.log_key)
    copy(exchange, follower, member.origin, member.log_key, town.base / "copy")
    found = backend.verify(town.base / "copy", keys=town.home("v1").keys())
    assert found.audit.weights > 1
    return found.audit.root


def whole(town: Town) -> None:
    """At its end no acknowledged leg was lost, and both maintainers have scored every round."""
    town.close()
    for settled in backend.verify(town.folder, keys=town.home("v1").keys()).audit.history.rounds:
        assert set(settled.facts.pairs) == set(settled.facts.submissions)
        assert set(settled.facts.scores) == {"v0", "v1"}
