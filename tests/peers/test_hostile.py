"""Members, strangers and servers that are against the relay, where it meets in a folder and over HTTP."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from peers.line import Line, laid
from peers.town import Member, Town, play

from relayjax import backend, hashing, records
from relayjax.errors import ExchangeError, IntegrityError
from relayjax.identity import Keys, seal, sign
from relayjax.mechanism.state import Phase
from relayjax.peers import handover
from relayjax.peers.exchange import Exchange
from relayjax.peers.home import Turn
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import serving
from relayjax.peers.orderer import Orderer
from relayjax.peers.uploads import sign_uploads
from relayjax.peers.voice import Voice, encode
from relayjax.records import Bid, Close, Deposit, Join, Record, Submit


@dataclass
class Meeting:
    """A relay that has begun, its orderer, and a way for everybody else to reach it."""

    town: Town
    orderer: Orderer
    reach: Callable[[], Exchange]

    def members(self, *names: str) -> list[Member]:
        """Everybody but the orderer, or those named, each with an exchange of its own."""
        found = []
        for name in names or (*self.town.participants, *self.town.maintainers):
            own = Town(self.town.base, self.town.tools)
            own.exchange = self.reach()  # pyright: ignore[reportAttributeAccessIssue]
            found.append(Member(own, name))
        return found

    def play(self, members: list[Member], until: Callable[[], bool] | None = None) -> None:
        play(self.town, self.orderer, members, until)

    def at(self, phase: Phase) -> Callable[[], bool]:
        return lambda: self.orderer.state.round.phase is phase

    def rest(self, members: list[Member], rounds: int = 2) -> backend.Verified:
        """Plays to the end; everybody follows it to the root that is verified."""
        self.play(members)
        self.town.close()
        for member in members:
            member.follower.poll()
        found = backend.verify(self.town.folder, keys=self.town.home("v1").keys())
        assert len(found.audit.history.rounds) == rounds
        assert {member.follower.root.hex() for member in members} == {found.audit.root}
        return found


@pytest.fixture(params=["folder", "http"])
def meeting(request: pytest.FixtureRequest, town: Town) -> Iterator[Meeting]:
    town.begin(rounds=2)
    orderer = town.orderer()
    if request.param == "folder":
        yield Meeting(town, orderer, lambda: town.exchange)
        return
    size = town.tools.workshop.codec.max_size(town.tools.trainer.leg.baton.size)
    server = RelayServer(("127.0.0.1", 0), town.folder, lambda: Awaited.of(orderer.state, size))
    with serving(server):
        port = server.server_address[1]
        yield Meeting(town, orderer, lambda: HttpExchange(f"http://127.0.0.1:{port}", pause=0.01))


def said(keys: Keys, record: Record) -> tuple[str, bytes]:
    """A signed record as a file: its path and bytes."""
    data = encode(sign(records.encode(record), keys))
    return f"inbox/{hashing.digest(data)}.json", data


def test_forged_replayed_and_foreign_records_change_nothing(meeting: Meeting):
    members = meeting.members()
    meeting.play(members, until=lambda: meeting.orderer.state.round.number == 2)
    state, stranger = meeting.orderer.state, Keys.generate("stranger")
    p0 = meeting.town.home("p0").keys()
    impostor = Keys(name="p0", _signing=stranger._signing, receiving=stranger.receiving)
    public = stranger.public
    refused = {
        said(p0, Bid("p0", 1, 2_000_000)): "round 1 is not open",
        said(p0, Deposit("p0", 2, 1_000_000)): "belongs to the deposit phase",
        said(p0, Bid("p0", 2, 10**15)): "exceeds the balance",
        said(p0, Close("p0", 2, "auction")): "only the ordering maintainer",
        said(stranger, Bid("stranger", 2, 1)): "has not joined",
        said(stranger, Join("stranger", "participant", public.signing, public.receiving)): "every place",
        said(stranger, Join("stranger", "observer", public.signing, public.receiving)): "need not join",
    }
    silent = [said(impostor, Bid("p0", 2, 1_000_000)), said(p0, Bid("p1", 2, 1_000_000))]
    exchange = meeting.reach()
    for path, data in [*refused, *silent]:
        exchange.offer(path, data)
    meeting.orderer.act()
    assert meeting.orderer.state == state
    for (path, _), reason in refused.items():
        assert reason in (exchange.fetch(path.replace(".json", ".why"), 4_096) or b"").decode()
    for path, _ in silent:
        assert exchange.fetch(path.replace(".json", ".why"), 4_096) is None
    meeting.rest(members)


def test_strangers_who_are_refused_do_not_fill_the_inbox(meeting: Meeting, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("relayjax.peers.inbox.REASONS", 8)
    monkeypatch.setattr("relayjax.peers.http_gate._IN_INBOX", 20)
    members, stranger = meeting.members(), meeting.reach()
    meeting.play(members, until=meeting.at(Phase.DEPOSIT))
    for number in range(30):
        keys = Keys.generate(f"s{number}")
        public = keys.public
        stranger.offer(*said(keys, Join(public.name, "participant", public.signing, public.receiving)))
        meeting.orderer.act()
    assert len(list((meeting.town.folder / "inbox").iterdir())) <= 8
    history = meeting.rest(members).audit.history
    assert all(set(f.facts.pairs) == set(f.facts.submissions) for f in history.rounds)


def test_who_shows_something_else_than_it_has_committed_to_is_refused(meeting: Meeting):
    members = meeting.members()
    meeting.play(members, until=meeting.at(Phase.REVEAL))
    home, (p0, *others) = meeting.town.home("p0"), members
    turn, payload = home.turn(1) or (None, b"")
    assert isinstance(turn, Turn)
    other = payload[:-1] + bytes([payload[-1] ^ 1])
    wrong = [
        (dataclasses.replace(turn, delta=hashing.digest(other)), other),
        (dataclasses.replace(turn, salt="0" * 32), payload),
        (dataclasses.replace(turn, parent=turn.child), payload),
    ]
    for shown in wrong:
        home.keep_turn(*shown)
        p0.restart()
        assert p0.step() is None
        meeting.orderer.act()
        assert "submit refused" in str(p0.step()), "the reason is told"
    meeting.play(others, until=lambda: len(meeting.orderer.state.round.submissions) == 2)
    home.keep_turn(turn, payload)
    p0.restart()
    found = meeting.rest(members).audit.history
    assert set(found.rounds[0].facts.submissions) == {"p0", "p1", "p2"}


def test_who_commits_and_never_reveals_loses_its_deposit_and_stops_the_others_once(meeting: Meeting):
    members = meeting.members()
    silent, others = members[0], members[1:]
    meeting.play(members, until=meeting.at(Phase.REVEAL))
    kept = meeting.town.home("p0").turn(1)
    assert kept is not None
    meeting.play(others, until=lambda: len(meeting.orderer.state.round.submissions) == 2)
    meeting.town.outwait(meeting.orderer)
    meeting.play(others, until=lambda: meeting.orderer.state.round.number == 2)
    (first,) = meeting.orderer._chronicle.history.rounds
    assert set(first.facts.submissions) == {"p1", "p2"} and first.settle.refused == ("p0",)
    assert ("escrow:p0", "pot", 1_000_000, "deposit forfeited") in [tuple(t) for t in first.settle.transfers]
    turn, payload = kept
    late = Submit(
        "p0",
        1,
        delta=turn.delta,
        codec=meeting.orderer.state.schedule.codec,
        size=len(payload),
        salt=turn.salt,
        parent=turn.parent,
        child=turn.child,
    )
    voice = Voice(meeting.reach(), meeting.town.home("p0").keys())
    assert voice.say(late, meeting.orderer.state) is None
    meeting.orderer.act()
    assert "round 1 is not open" in str(voice.say(late, meeting.orderer.state))
    meeting.rest([silent, *others])


def test_a_delta_that_is_overwritten_all_the_time_is_outlived_by_the_others(meeting: Meeting):
    """In a folder its trainer may come too late; over HTTP nobody else can write there."""
    members, stranger = meeting.members(), meeting.reach()
    meeting.play(members, until=meeting.at(Phase.REVEAL))
    path, state = handover.delta(1, "p0"), meeting.orderer.state
    if isinstance(stranger, HttpExchange):  # a member, but not whose delta it is
        sign_uploads(stranger, meeting.town.home("p1").keys(), state)
    orderer = state.members["v0"].receiving
    garbage = [b"", b"x" * 100, seal(b"x" * 100, [orderer]), seal(b"", [Keys.generate("x").public.receiving])]
    written = 0
    for wrong in garbage * 2:
        for member in members:
            member.step()
        with suppress(ExchangeError):
            stranger.offer(path, wrong)
            written += 1
        meeting.orderer.act()
    served = isinstance(stranger, HttpExchange)
    assert served is not bool(written)
    if not served:
        assert set(meeting.orderer.state.round.submissions) >= {"p1", "p2"}
        meeting.town.outwait(meeting.orderer)
        assert meeting.orderer.state.round.phase is not Phase.REVEAL
    history = meeting.rest(members).audit.history
    assert set(history.rounds[0].facts.submissions) >= ({"p0", "p1", "p2"} if served else {"p1", "p2"})
    assert set(history.rounds[1].facts.submissions) == set(history.rounds[1].facts.pairs)


class FlippingOnce(Line):
    """Changes one bit of the first large piece that passes while it is armed: an upload's body."""

    armed = False

    def passes(self, piece: bytes) -> tuple[bytes, bool]:
        if self.armed and len(piece) > 500:
            self.armed = False
            self.done["flip"] += 1
            return piece[:-1] + bytes([piece[-1] ^ 1]), True
        return piece, True


def test_a_delta_that_the_line_has_changed_is_handed_over_again(town: Town):
    town.begin(rounds=1)
    orderer = town.orderer()
    size = town.tools.workshop.codec.max_size(town.tools.trainer.leg.baton.size)
    server = RelayServer(("127.0.0.1", 0), town.folder, lambda: Awaited.of(orderer.state, size))
    line = FlippingOnce(("127.0.0.1", server.server_address[1]))
    with serving(server), laid(line) as port:
        meeting = Meeting(town, orderer, lambda: HttpExchange(f"http://127.0.0.1:{port}", pause=0.01))
        members = meeting.members()
        meeting.play(members, until=meeting.at(Phase.REVEAL))
        members[0].follower.poll()
        line.armed = True
        with suppress(ExchangeError):
            members[0].step()
        assert line.done["flip"] == 1
        meeting.rest(members, rounds=1)
    (settled,) = orderer._chronicle.history.rounds
    assert set(settled.facts.submissions) == {"p0", "p1", "p2"}


def test_a_server_that_gives_other_bytes_under_right_names_is_not_believed(meeting: Meeting):
    """Weights and deltas that are not what the log names are left; the right ones are taken later."""
    members = meeting.members()
    meeting.play(members, until=meeting.at(Phase.TESTING))
    folder = meeting.town.folder
    v1 = meeting.members("v1")[0]
    changed = [*(folder / "handover").iterdir(), *(f for f in (folder / "store").rglob("*") if f.is_file())]
    whole = {file: file.read_bytes() for file in changed}
    for file, data in whole.items():
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError):
        v1.step()
    for file, data in whole.items():
        file.write_bytes(data + b"x" * (1 << 21))
    with pytest.raises(IntegrityError):
        v1.step()
    for file, data in whole.items():
        file.write_bytes(data)
    meeting.rest(members)
