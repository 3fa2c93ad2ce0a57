"""A relay whose members reach the folder over iroh only, and trainers that serve each other their pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from peers.lines import HERE
from peers.test_parcel import ORDERER, SECRET, TRAINER, Watched, pieces
from peers.test_relay_over_http import awaited
from peers.town import Member, Town
from peers.town import play as play_in

from relayjax import backend, weights
from relayjax.errors import ExchangeError
from relayjax.hashing import CHUNK
from relayjax.identity import Keys
from relayjax.peers import handover, parcel
from relayjax.peers.copying import copy
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.follower import Follower
from relayjax.peers.held import Held, held_at
from relayjax.peers.http_serving import Served, serving
from relayjax.peers.joining import join
from relayjax.peers.p2p_address import Address
from relayjax.peers.p2p_exchange import P2pExchange
from relayjax.peers.p2p_pieces import serving_pieces
from relayjax.peers.p2p_server import P2pServer
from relayjax.peers.p2p_serving import ServedToPeers
from relayjax.peers.places import exchange_at
from relayjax.peers.sending import Parcel

SIZE = 3 * CHUNK // 4 + 10
"""Parameters: four pieces of a MiB, the last one short."""


class Far(Member):
    """A member with a connection of its own."""

    def __init__(self, town: Town, name: str, address: str):
        own = Town(town.base, town.tools)
        own.exchange = P2pExchange(address)  # pyright: ignore[reportAttributeAccessIssue]
        super().__init__(own, name)


def test_all_end_with_the_same_root(town: Town) -> None:
    town.begin(rounds=1, join_all=False)
    orderer = town.orderer()
    server = P2pServer(
        HERE, bytes(32), town.folder, lambda: awaited(orderer, town.tools), report=town.told.append
    )
    with serving(server):
        address = str(Address(server.node, "127.0.0.1", server.port))
        names = (*town.participants, *town.maintainers)
        for name in names:
            role = "maintainer" if name in town.maintainers else "participant"
            assert join(exchange_at(address), town.home(name), name, role) is None
        members = [Far(town, name, address) for name in names]
        play_in(town, orderer, members)
        for member in members:
            member.follower.poll()
        me = town.home("p0").membership()
        exchange = exchange_at(address)
        follower = Follower(exchange, me.origin, me.log_key)
        copy(exchange, follower, me.origin, me.log_key, town.base / "copy")
    found = backend.verify(town.base / "copy", keys=town.home("v1").keys())
    roots = {member.follower.root.hex() for member in members}
    assert roots == {found.audit.root} and len(found.audit.history.rounds) == 1
    for settled in found.audit.history.rounds:
        assert set(settled.facts.pairs) == set(settled.facts.submissions), "an acknowledged leg was lost"
    assert not any("serving" in line for line in town.told), town.told


OTHER = Keys.derive("p1", b"parcel")


@dataclass
class Holding:
    """A folder in which a version is handed over to two trainers, and the home of the one that holds it.

    Attributes:
      theta, digest: of the version.
      addresses: where that one serves what it holds: over iroh, and over HTTP.
    """

    folder: Path
    home: Path
    theta: np.ndarray
    digest: str
    addresses: list[str]

    def hand_over(self, round: int) -> str:
        path, to = handover.parent(round, 3), [k.public.receiving for k in (ORDERER, TRAINER, OTHER)]
        Parcel(path, weights.as_bytes(self.theta), SECRET, to).put(FolderExchange(self.folder))
        return path

    def take(self, home: Path, keys: Keys, round: int, main: Exchange, *others: Exchange) -> bool:
        found = Held(home / "held", main, keys, others).take(round, 3, self.digest, len(self.theta))
        return found is not None and np.array_equal(found, self.theta)


@pytest.fixture
def holding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Holding]:
    monkeypatch.setattr(parcel, "PIECE", CHUNK)
    theta, told = np.random.default_rng(0).standard_normal(SIZE, dtype=np.float32), list[str]()
    holding = Holding(tmp_path / "relay", tmp_path / "other", theta, weights.digest(theta), [])
    holding.hand_over(1)
    assert holding.take(holding.home, OTHER, 1, FolderExchange(holding.folder))
    with (
        serving_pieces(ServedToPeers("iroh:127.0.0.1:0", home=holding.home), holding.home, told.append),
        serving_pieces(Served("127.0.0.1:0"), holding.home, told.append),
    ):
        holding.addresses += [line.split()[1] for line in told]
        yield holding


@pytest.mark.parametrize("kind", [0, 1], ids=["iroh", "http"])
def test_a_version_comes_from_whoever_holds_it(holding: Holding, tmp_path: Path, kind: int) -> None:
    path = holding.hand_over(2)  # other recipients, another round: the same pieces
    main, peer = Watched(FolderExchange(holding.folder)), Watched(exchange_at(holding.addresses[kind]))
    assert holding.take(tmp_path / "own", TRAINER, 2, main, peer)
    assert not main.moved and sorted(peer.moved) == pieces(held_at(holding.digest), 0, 1, 2, 3)
    assert holding.take(tmp_path / "own", TRAINER, 2, main, peer) and not main.moved and len(peer.moved) == 4
    assert (holding.folder / f"{path}.0").read_bytes() == (
        tmp_path / "own" / f"{held_at(holding.digest)}.0"
    ).read_bytes()


def test_what_a_holder_lacks_or_has_wrong_comes_from_the_relay(holding: Holding, tmp_path: Path) -> None:
    parts = [holding.home / part for part in pieces(held_at(holding.digest), 0, 1, 2, 3)]
    parts[1].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:-1] + b"x")
    parts[3].write_bytes(bytes(10_000_000))
    path = holding.hand_over(1)
    main, peer = Watched(FolderExchange(holding.folder)), Watched(exchange_at(holding.addresses[0]))
    gone = Watched(peer)
    gone.fails_after = 0
    assert holding.take(tmp_path / "own", TRAINER, 1, main, gone, peer)
    assert sorted(main.moved) == pieces(path, 1, 2, 3) and len(peer.moved) == 4
    whole = (tmp_path / "own" / f"{held_at(holding.digest)}.2").read_bytes()
    assert whole == (holding.folder / f"{path}.2").read_bytes(), "what was wrong is not kept"


@pytest.mark.parametrize("kind", [0, 1], ids=["iroh", "http"])
def test_who_holds_a_version_serves_its_pieces_and_nothing_else(holding: Holding, kind: int) -> None:
    OTHER.save(holding.home / "keys")
    exchange, lies = exchange_at(holding.addresses[kind]), held_at(holding.digest)
    assert exchange.fetch(f"{lies}.0", 2 * CHUNK) is not None
    for path in (lies, "keys/p1.pem", "endpoint", "held", f"held/x/{lies[5:]}.0", f"{lies}.00"):
        assert exchange.fetch(path, 2 * CHUNK) is None, path
    for path in (f"inbox/{'0' * 64}.json", f"{lies}.0", "handover/00001-delta-p0.age"):
        with pytest.raises(ExchangeError, match=r"40[34] "):
            exchange.offer(path, b"{}")
    assert not (holding.home / "inbox").exists()
