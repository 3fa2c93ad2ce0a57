"""An address of several that lies, drips or counts twice holds nobody up, and takes nothing from anybody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from peers.town import Town
from peers.union import Union

from relayjax.errors import ConfigError, ExchangeError
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.evidence import KEPT
from relayjax.ledger.note import SIZE_LIMIT
from relayjax.mechanism.state import Phase
from relayjax.peers import joining
from relayjax.peers.awaiting import moment
from relayjax.peers.exchange import Exchange, FolderExchange, put
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.home import Home
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.places import split
from relayjax.peers.several import Place, Several
from relayjax.peers.voice import Voice
from relayjax.records import Join

DELTA = "handover/00001-delta-p0.age"


class Liar:
    """Answers as another place does, but for some paths."""

    def __init__(self, inner: Exchange, lie: Callable[[str], bytes | None]):
        self.inner, self.lie = inner, lie

    def fetch(self, path: str, limit: int) -> bytes | None:
        lied = self.lie(path)
        return self.inner.fetch(path, limit) if lied is None else lied

    def offer(self, path: str, data: bytes) -> None:
        self.inner.offer(path, data)


class Copy(FolderExchange):
    """Takes no deltas: it does not order."""

    offered = 0

    def offer(self, path: str, data: bytes) -> None:
        self.offered += 1
        raise ExchangeError(path, "is not awaited here", "wait")


def at(lie: Callable[[str], bytes | None], honest: Exchange) -> Several:
    """Three places; the first one lies."""
    return Several([Place("liar", Liar(honest, lie)), Place("b", honest), Place("c", honest)])


def test_a_false_refusal_silences_nobody(town: Town, tmp_path: Path):
    town.begin(rounds=1, join_all=False)
    follower = town.follower("v0")
    follower.poll()
    state = follower.chronicle.state
    assert state is not None
    no = f"{moment(state)}: no".encode()
    folders = [FolderExchange(tmp_path / f"in{k}") for k in range(3)]
    lie = lambda path: no if path.endswith(".why") else None  # noqa: E731
    several = Several([Place("liar", Liar(folders[0], lie)), Place("b", folders[1]), Place("c", folders[2])])
    keys = Home(tmp_path / "p7").make_keys("p7")
    record = Join("p7", "participant", keys.public.signing, keys.public.receiving)
    assert Voice(several, keys).say(record, state) is None
    (letter,) = (tmp_path / "in1").glob("inbox/*.json")
    assert (tmp_path / "in2" / "inbox" / letter.name).exists()
    folders[1].offer(f"inbox/{letter.stem}.why", no)
    assert Voice(several, keys).say(record, state) == no.decode(), "two of three say so"


def test_who_takes_a_delta_that_is_not_for_it_keeps_it_from_nobody(tmp_path: Path):
    now = [0.0]
    folders = [
        FolderExchange(tmp_path / "liar"),
        Copy(tmp_path / "copy"),
        FolderExchange(tmp_path / "orders"),
    ]
    several = Several([Place(str(k), one, lambda: now[0]) for k, one in enumerate(folders)])
    for path in (DELTA, f"{DELTA}.0", f"{DELTA}.1"):
        put(several, path, b"leg")
        assert folders[2].fetch(path, 9) == b"leg"
    copy = folders[1]
    assert isinstance(copy, Copy) and copy.offered == 1, "its pieces are not sent there in vain"
    (tmp_path / "orders" / DELTA).unlink()
    put(several, DELTA, b"leg")
    assert folders[2].fetch(DELTA, 9) == b"leg" and copy.offered == 1
    now[0] += 60.0
    put(several, DELTA, b"leg")
    assert copy.offered == 2, "it may order by now"


def test_a_false_name_spoils_no_home(town: Town, tmp_path: Path):
    town.begin(rounds=1, join_all=False)
    member = town.home("v0").membership()

    def lie(path: str) -> bytes | None:
        note = town.exchange.fetch(CHECKPOINT, SIZE_LIMIT)
        assert note is not None
        return note.replace(member.origin.encode(), b"elsewhere/x") if path == CHECKPOINT else None

    home = Home(tmp_path / "new")
    assert joining.join(at(lie, town.exchange), home, "p9", "participant", member.log_key) is None
    assert home.membership().origin == member.origin
    alone = Several(
        [Place("liar", Liar(town.exchange, lie)), *(Place(k, FolderExchange(tmp_path / k)) for k in "bc")]
    )
    other = Home(tmp_path / "other")
    with pytest.raises(ExchangeError, match="too few of its places"):
        joining.join(alone, other, "p8", "participant", member.log_key)
    assert not other.exists


def test_evidence_has_an_end(town: Town, tmp_path: Path):
    town.begin(rounds=1, join_all=False)
    member, keys, count = town.home("v0").membership(), town.home("v0").keys(), iter(range(1_000))

    def lie(path: str) -> bytes | None:
        root = next(count).to_bytes(32, "big")
        return sign_checkpoint(Checkpoint(member.origin, 1, root), keys) if path == CHECKPOINT else None

    several, home = at(lie, town.exchange), Home(tmp_path / "new")
    joining.join(several, home, "p9", "participant", member.log_key)
    follower = joining.follow(several, home)
    for _ in range(KEPT + 9):
        follower.poll()
    assert len(list(home.path.glob("split-view-*.json"))) == KEPT


def test_artefacts_are_asked_for_elsewhere(union: Union):
    keeper = union.keeper("v2")
    liar = keeper.mirror._places[0]
    liar._exchange = Liar(liar._exchange, lambda path: b"rubbish" if path.startswith("seals/") else None)
    union.play(union.at(2, Phase.DEPOSIT))
    union.play(lambda: keeper.state.round.number >= 2, turns=9)


def test_an_address_that_is_written_in_two_ways_is_one():
    for text in (
        "http://a:1,http://a:1",
        "http://ada:1,http://ada:1/",
        "http://Ada:1,http://m:1,http://ada:1",
    ):
        with pytest.raises(ConfigError, match="given twice"):
            split(text)
    for text in ("relay,htp://mia:8217", "S3://bucket/x"):
        with pytest.raises(ConfigError, match="no such address"):
            split(text)
    with pytest.raises(ConfigError, match="give an address such as"):
        split("http://,http://mia:8217")
    assert split("a, b") == ["a, b"], "a folder's name"


@contextmanager
def dripping(at_once: bytes, dripped: bytes) -> Iterator[str]:
    """Answers everybody byte by byte, 50 a second, after what comes at once; yields the address."""
    server, stop = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve(line: socket.socket) -> None:
        with line, suppress(OSError):
            line.recv(4096)
            line.sendall(at_once)
            for byte in dripped:
                if stop.wait(0.02):
                    return
                line.send(bytes([byte]))

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        stop.set()
        server.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n"


@pytest.mark.parametrize(
    ("at_once", "dripped", "why"),
    [
        (b"", HEAD.replace(b"200 OK", b"200 " + b"O" * 100) + b"x" * 200, "timed out"),
        (HEAD, b"x" * 200, "too slowly"),
    ],
)
def test_who_drips_is_given_up(at_once: bytes, dripped: bytes, why: str):
    with dripping(at_once, dripped) as url, pytest.raises(ExchangeError, match=why):
        HttpExchange(url, timeout=0.5, attempts=1).fetch(CHECKPOINT, 1_000)


def test_who_answers_at_once_is_read():
    with dripping(HEAD + b"x" * 200, b"") as url:
        assert HttpExchange(url, timeout=0.5, attempts=1).fetch(CHECKPOINT, 1_000) == b"x" * 200
