"""A log that tells two histories, or an old one, to members in a folder and over HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from peers.town import Tools, Town, play

from relayjax.errors import SplitViewError
from relayjax.ledger.evidence import Evidence, verify_evidence
from relayjax.ledger.note import signer_key
from relayjax.mechanism.state import Phase
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.home import Home
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import serving
from relayjax.peers.joining import follow


class Turned:
    """An exchange with whoever is at the other end at present."""

    def __init__(self, to: Exchange):
        self.to = to

    def fetch(self, path: str, limit: int) -> bytes | None:
        return self.to.fetch(path, limit)

    def offer(self, path: str, data: bytes) -> None:
        self.to.offer(path, data)


@pytest.fixture
def forked(town: Town, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> tuple[Town, Town]:
    """A relay at its first commitments, and what the same orderer has made of its first deposits besides."""
    town.begin(rounds=2)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.DEPOSIT)
    town.close()
    other = Town(tmp_path_factory.mktemp("other") / "town", tools)
    shutil.copytree(town.base, other.base)
    orderer = town.orderer()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.COMMIT)
    town.close()
    elsewhere, members = other.orderer(), other.members("p1", "p2", "v1")
    for _ in range(3):
        for member in members:
            member.step()
        elsewhere.act()
    other.outwait(elsewhere)
    play(other, elsewhere, members, until=lambda: elsewhere.state.round.phase is Phase.SCORING)
    other.close()
    return town, other


@pytest.fixture(params=["folder", "http"])
def shown(request: pytest.FixtureRequest, forked: tuple[Town, Town]) -> Iterator[Callable[[Path], Exchange]]:
    """Shows a folder to a member, as it is or over HTTP."""
    with ExitStack() as stack:

        def show(folder: Path) -> Exchange:
            if request.param == "folder":
                return FolderExchange(folder)
            server = RelayServer(("127.0.0.1", 0), folder, lambda: Awaited({}, 0))
            port = stack.enter_context(serving(server)).server_address[1]
            return HttpExchange(f"http://127.0.0.1:{port}", pause=0.01)

        yield show


def convicts(home: Home) -> str:
    """What the evidence in a member's directory proves to anybody."""
    (file,) = home.path.glob("split-view-*.json")
    member = home.membership()
    return verify_evidence(Evidence.decode(file.read_bytes()), signer_key(member.origin, member.log_key))


def test_two_histories_shown_to_two_members_convict_who_signed_them(
    forked: tuple[Town, Town], shown: Callable[[Path], Exchange]
):
    ours, theirs = shown(forked[0].folder), shown(forked[1].folder)
    turned, home = Turned(ours), forked[0].home("p0")
    p0, p1 = follow(turned, home), follow(theirs, forked[1].home("p1"))
    assert p0.poll() and p1.poll(), "each by itself sees nothing wrong"
    turned.to = theirs
    before = p0.size, p0.root
    with pytest.raises(SplitViewError, match="has rewritten"):
        p0.poll()
    assert (p0.size, p0.root) == before and "has rewritten its first" in convicts(home)
    with pytest.raises(SplitViewError, match="has rewritten"):
        follow(theirs, home).poll()
    turned.to = ours
    assert follow(turned, home).poll(), "it goes on with the history that it has believed"


def test_an_old_history_is_refused_and_the_new_one_believed_again(
    forked: tuple[Town, Town], shown: Callable[[Path], Exchange], tmp_path: Path
):
    folder, home = forked[0].folder, forked[0].home("p0")
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    orderer, members = forked[0].orderer(), forked[0].members()
    play(forked[0], orderer, members, until=lambda: orderer.state.round.phase is Phase.REVEAL)
    turned = Turned(shown(folder))
    follower = follow(turned, home)
    assert follower.poll()
    turned.to = shown(old)
    size = follower.size
    with pytest.raises(SplitViewError, match=f"had {size} entries and now shows"):
        follower.poll()
    with pytest.raises(SplitViewError, match=f"had {size} entries and now shows"):
        follow(turned, home).poll()
    assert list(home.path.glob("split-view-*.json"))
    turned.to = shown(folder)
    assert not follower.poll() and follower.size == size
    assert follow(turned, home).poll()
