"""A folder that is served over iroh: what it gives and takes, and what comes of what nobody should send."""

from __future__ import annotations

import random
import stat
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from peers.lines import HERE, PeerSite, answering, served
from peers.site import DELTA, NAME, RECORD

from relayjax import canonical
from relayjax.errors import ConfigError, ExchangeError, FormatError, IntegrityError, WorkdirError
from relayjax.hashing import digest
from relayjax.identity import Keys
from relayjax.peers import http_server, p2p_server
from relayjax.peers.exchange import put
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_serving import serving
from relayjax.peers.p2p_address import Address, bound_for, bound_to
from relayjax.peers.p2p_binding import PROTOCOL, bind, iroh, submit
from relayjax.peers.p2p_exchange import P2pExchange
from relayjax.peers.p2p_serving import ServedToPeers, endpoint_key

NODE = "ab" * 32


@pytest.fixture
def site(tmp_path: Path) -> Iterator[PeerSite]:
    with served(tmp_path / "relay") as site:
        yield site


def test_files_come_and_go_as_over_any_exchange(site: PeerSite) -> None:
    exchange, large = site.exchange(), random.Random(0).randbytes(5_000_000)
    (site.folder / "store" / "x").write_bytes(large)
    target = memoryview(bytearray(len(large)))
    assert exchange.fetch("store/x", len(large)) == large
    assert exchange.fetch_into("store/x", target) == len(large) and target == large
    assert exchange.holds("store/x", digest(large)) and not exchange.holds("store/x", digest(b""))
    assert exchange.fetch("store/y", 5) is None
    with pytest.raises(IntegrityError, match="more than the 10 bytes"):
        exchange.fetch("store/x", 10)
    put(exchange, NAME, RECORD)
    put(exchange, DELTA, large[:90_000])
    assert {NAME: RECORD, DELTA: large[:90_000]}.items() <= site.files().items()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (NAME, b"other bytes", HTTPStatus.UNPROCESSABLE_ENTITY),
        (NAME, b"x" * (canonical.SIZE_LIMIT + 1), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (DELTA, b"x" * 4_000_000, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ("handover/00001-delta-p1.age", b"", HTTPStatus.CONFLICT),
        ("ledger/checkpoint", b"", HTTPStatus.FORBIDDEN),
        (f"inbox/../{NAME}", RECORD, HTTPStatus.FORBIDDEN),
        ("lock", b"", HTTPStatus.NOT_FOUND),
    ],
)
def test_what_may_not_be_put_is_refused_and_leaves_nothing(
    site: PeerSite, path: str, body: bytes, status: int
) -> None:
    assert site.ask("PUT", f"/{path}", body)[0] == status
    assert not site.files()


def test_nothing_else_can_be_read(site: PeerSite, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"secret")
    (site.folder / "lock").write_bytes(b"secret")
    (site.folder / "store" / "out").symlink_to(tmp_path)
    for path in ("/../key", "/ledger/../../key", "//key", "/lock", "/store/out/key", "/ledger/", "/"):
        status, answer = site.ask("GET", path)
        assert status == HTTPStatus.NOT_FOUND and b"secret" not in answer, path
    assert site.raw(b"nonsense\r\n\r\n")
    assert site.raw(b"GET /x HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n").startswith(b"HTTP/1.1 431 ")


def test_a_head_without_an_end_is_given_up(site: PeerSite) -> None:
    assert site.raw(b"GET /" + b"a" * (1 << 20)) == b""
    assert site.exchange().fetch("ledger/checkpoint", 5) is None


def test_slow_senders_are_let_go_and_leave_nothing(tmp_path: Path) -> None:
    with served(tmp_path / "relay", timeout=0.3) as site:
        started = f"PUT /{NAME} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(RECORD)}\r\n\r\n".encode()
        assert site.raw(b"GET /ledger/ch") == b""
        assert site.raw(started + RECORD[:5]).startswith(b"HTTP/1.1 408 ")
        assert not site.files()
        put(site.exchange(), NAME, RECORD)
        assert set(site.files()) == {NAME}


def test_who_cuts_an_upload_leaves_nothing(site: PeerSite) -> None:
    connection = site.line()
    for _ in range(3):
        connection.connect()
        head = f"PUT /{NAME} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(RECORD)}\r\n\r\n".encode()
        connection.sock.sendall(head + RECORD[:5])
        connection.close()
    put(site.exchange(), NAME, RECORD)
    assert site.files() == {NAME: RECORD}


def test_there_are_only_so_many_streams_and_lines(site: PeerSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_CONNECTIONS", 2)
    lines = [site.line() for _ in range(3)]
    for line in lines[:2]:
        line.connect()
        line.sock.sendall(b"GET /ledger/x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert line.sock.recv(12) == b"HTTP/1.1 404"
    lines[2].connect()
    lines[2].sock.sendall(b"GET /ledger/x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert lines[2].sock.recv(12) == b""
    monkeypatch.setattr(p2p_server, "_CONNECTIONS", 3)
    with pytest.raises(ExchangeError, match="lets us in"):
        site.exchange(attempts=1).fetch("ledger/x", 5)
    for line in lines:
        line.close()


def test_a_download_goes_on_where_its_stream_was_cut() -> None:
    data, asked = random.Random(1).randbytes(1_000_000), list[bytes]()

    async def answer(head: bytes, stream: iroh.SendStream) -> None:
        asked.append(head)
        first = int(head.partition(b"bytes=")[2].partition(b"-")[0] or 0)
        status = b"206 Partial Content" if first else b"200 OK"
        part = b"Content-Range: bytes %d-%d/%d\r\n" % (first, len(data) - 1, len(data)) if first else b""
        left = b"Content-Length: %d\r\n\r\n" % (len(data) - first)
        begin = b'HTTP/1.1 %s\r\nETag: "x"\r\n%s%s' % (status, part, left)
        await stream.write_all(begin + data[first : first + 300_000])
        if first + 300_000 < len(data):
            await stream.finish()

    with answering(answer) as address:
        assert P2pExchange(address, timeout=5.0, attempts=2, pause=0.01).fetch("store/x", len(data)) == data
    assert len(asked) == 4 and b"bytes=300000-" in asked[1]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", ExchangeError),
        (b"nonsense", ExchangeError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", IntegrityError),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000, ExchangeError),
        (
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n",
            ExchangeError,
        ),
    ],
)
def test_who_answers_is_believed_nothing(said: bytes, error: type[Exception]) -> None:
    async def answer(head: bytes, stream: iroh.SendStream) -> None:
        await stream.write_all(said)
        await stream.finish()

    with answering(answer) as address, pytest.raises(error):
        P2pExchange(address, timeout=2.0, attempts=2, pause=0.01).fetch("store/x", 100)


def test_a_part_that_is_longer_than_it_says_is_refused() -> None:
    async def answer(head: bytes, stream: iroh.SendStream) -> None:
        if b"Range" in head:
            said = b"206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 3\r\n\r\n56789"
        else:
            said = b'200 OK\r\nETag: "x"\r\nContent-Length: 10\r\n\r\n01234'
        await stream.write_all(b"HTTP/1.1 " + said)
        await stream.finish()

    with answering(answer) as address, pytest.raises(ExchangeError, match="length"):
        P2pExchange(address, timeout=2.0, attempts=2, pause=0.01).fetch("store/x", 100)


def test_only_who_has_the_key_is_spoken_to(site: PeerSite) -> None:
    other = Address(str(Keys.derive("x", b"x").public.signing), "127.0.0.1", site.server.port)
    with pytest.raises(ExchangeError, match="nobody with that key"):
        P2pExchange(str(other), attempts=1).fetch("ledger/x", 5)


def test_another_protocol_is_refused(site: PeerSite) -> None:
    async def connect() -> None:
        endpoint = await bind(HERE)
        there = iroh.EndpointAddr(
            iroh.EndpointId.from_string(site.server.node), None, [f"127.0.0.1:{site.server.port}"]
        )
        assert await endpoint.connect(there, PROTOCOL)
        with pytest.raises(iroh.IrohError):
            await endpoint.connect(there, b"h3")
        await endpoint.close()

    submit(connect()).result()


def test_an_endpoint_keeps_its_key_and_that_is_no_other(tmp_path: Path) -> None:
    told, folder = list[str](), tmp_path / "relay"
    folder.mkdir()
    place = "iroh:127.0.0.1:0"
    for _ in range(2):
        served = ServedToPeers(place, home=tmp_path / "home")
        with served.open(folder, lambda: Awaited({}, 0), told.append) as server:
            place = f"iroh:127.0.0.1:{server.port}"  # free again when it is closed
    file = tmp_path / "home" / "endpoint"
    assert told[0] == told[1] and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert endpoint_key(tmp_path / "home") != endpoint_key(tmp_path / "other")
    file.write_bytes(b"short")
    with pytest.raises(FormatError, match="32 bytes"):
        endpoint_key(tmp_path / "home")


def test_over_the_other_version_of_ip(tmp_path: Path) -> None:
    told = list[str]()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "x").write_bytes(b"there")
    served = ServedToPeers("iroh:[::1]:0", home=tmp_path / "home")
    with serving(served.open(tmp_path, lambda: Awaited({}, 0), told.append)):
        assert "@[::1]:" in told[0]
        assert P2pExchange(told[0].split()[1]).fetch("store/x", 5) == b"there"


def test_a_taken_address_is_said(site: PeerSite, tmp_path: Path) -> None:
    place = f"iroh:127.0.0.1:{site.server.port}"
    with pytest.raises(WorkdirError, match="can't listen there"):
        ServedToPeers(place, home=tmp_path / "home").open(tmp_path, lambda: Awaited({}, 0), print)
    with pytest.raises(ConfigError, match="HOST:PORT"):
        ServedToPeers("iroh:nowhere", home=tmp_path).open(tmp_path, lambda: Awaited({}, 0), print)


def test_addresses() -> None:
    for text in (
        f"iroh:{NODE}@192.0.2.7:8219",
        f"iroh:{NODE}@[2001:db8::7]:8219",
        f"iroh:{NODE}@a.example:1",
    ):
        assert str(Address.parse(text)) == text
    for text in (
        "iroh:",
        f"iroh:{NODE}",
        f"iroh:{NODE}@host",
        f"iroh:{NODE}@host:0",
        f"iroh:{NODE}@host:65536",
        f"iroh:{NODE.upper()}@host:1",
        f"iroh:{NODE[1:]}@host:1",
        f"iroh:{NODE}@host:1/path",
        f"iroh:{NODE}@ho st:1",
    ):
        with pytest.raises(ConfigError, match="give an address"):
            Address.parse(text)
    with pytest.raises(ExchangeError, match="right name"):
        Address(NODE, "no.such.name.invalid", 1).resolve()


def test_what_is_bound_is_no_more_than_is_needed() -> None:
    assert bound_to("192.0.2.7", 4, 5) == ("192.0.2.7:5", "[::1]:0")
    assert bound_to("2001:db8::7", 6, 5) == ("[2001:db8::7]:5", "127.0.0.1:0")
    assert bound_for("127.0.0.1", 4) == ("127.0.0.1:0", "[::1]:0")
    assert bound_for("::1", 6) == ("[::1]:0", "127.0.0.1:0")
    assert bound_for("192.0.2.7", 4) == ("0.0.0.0:0", "[::1]:0")
    assert bound_for("2001:db8::7", 6) == ("[::]:0", "127.0.0.1:0")


def test_without_the_extra_it_is_said_what_to_install() -> None:
    program = "import sys\nsys.modules['iroh'] = None\n"
    program += f"from relayjax.peers.places import exchange_at\nexchange_at('iroh:{NODE}@127.0.0.1:1')\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ConfigError: peer to peer needs `pip install relayjax[p2p]`" in done.stderr
