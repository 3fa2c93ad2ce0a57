"""One contract for both exchanges, and what a served folder does with requests that nobody should send."""

from __future__ import annotations

import datetime
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relayjax import canonical
from relayjax.errors import ConfigError, ExchangeError, FormatError, IntegrityError, WorkdirError
from relayjax.hashing import digest
from relayjax.peers import http_server
from relayjax.peers.exchange import Exchange, FolderExchange, put
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_gate import Awaited, Gate, RefusedError, sender_of
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import Served, serving, tls_context

DELTA = "handover/00001-delta-p0.age"
RECORD = b'{"some": "envelope"}'
NAME = f"inbox/{digest(RECORD)}.json"


@dataclass
class Site:
    """A folder, who serves it, and what it waits for."""

    folder: Path
    server: RelayServer
    port: int

    def exchange(self) -> HttpExchange:
        return HttpExchange(f"http://127.0.0.1:{self.port}", timeout=5.0, attempts=3, pause=0.01)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """A request, exactly as written."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """What comes back for some bytes until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as line:
            line.sendall(data)
            answer = b""
            while part := line.recv(65_536):
                answer += part
            return answer

    def files(self) -> dict[str, bytes]:
        """All there is in the folder."""
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}


@contextmanager
def served(folder: Path, timeout: float = 5.0, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    for name in ("ledger", "store", "inbox", "handover"):
        (folder / name).mkdir(parents=True)
    awaited = Awaited(frozenset({DELTA}), 200_000)
    server = RelayServer(("127.0.0.1", 0), folder, lambda: awaited, tls=tls, timeout=timeout)
    with serving(server):
        yield Site(folder, server, server.server_address[1])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path / "relay") as site:
        yield site


@pytest.fixture(params=["folder", "http"])
def exchange(request: pytest.FixtureRequest, site: Site) -> Exchange:
    return FolderExchange(site.folder) if request.param == "folder" else site.exchange()


def test_the_contract_of_an_exchange(exchange: Exchange, site: Site) -> None:
    assert exchange.fetch(NAME, 100) is None
    put(exchange, NAME, RECORD)
    put(exchange, NAME, RECORD)
    assert exchange.fetch(NAME, len(RECORD)) == RECORD
    with pytest.raises(IntegrityError, match="more than the 3 bytes"):
        exchange.fetch(NAME, 3)
    assert exchange.fetch(NAME, len(RECORD)) == RECORD
    for data in (b"", b"x", bytes(range(256)) * 700):
        exchange.offer(DELTA, data)
        assert exchange.fetch(DELTA, len(data)) == data
    (site.folder / DELTA).write_bytes(b"somebody else's")
    assert exchange.fetch(DELTA, 100) == b"somebody else's"
    put(exchange, DELTA, b"mine again")
    assert (site.folder / DELTA).read_bytes() == b"mine again"
    (site.folder / DELTA).unlink()
    assert exchange.fetch(DELTA, 100) is None
    (site.folder / "store" / "ab").mkdir()
    assert exchange.fetch("store/ab", 100) is None
    for path in ("../key", "ledger/../../key", "/etc/passwd", "ledger//x", "ledger/.hidden", "", "store/%2e"):
        with pytest.raises(FormatError):
            exchange.fetch(path, 100)
        with pytest.raises(FormatError):
            exchange.offer(path, b"")
    assert set(site.files()) == {NAME}


def test_what_lies_there_is_not_moved_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange, data = site.exchange(), b"x" * 150_000
    put(exchange, DELTA, data)
    sent: list[int] = []
    send = http_server._Handler._send
    monkeypatch.setattr(
        http_server._Handler,
        "_send",
        lambda self, file, left: (sent.append(left), send(self, file, left))[1],
    )
    assert exchange.fetch(DELTA, len(data)) is data and not sent
    assert site.exchange().fetch(DELTA, len(data)) == data and sent == [len(data)]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (NAME, b"other bytes", HTTPStatus.UNPROCESSABLE_ENTITY),
        (NAME, b"x" * (canonical.SIZE_LIMIT + 1), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (DELTA, b"x" * 400_000, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ("handover/00002-delta-p0.age", b"", HTTPStatus.CONFLICT),
        ("handover/00001-delta-p1.age", b"", HTTPStatus.CONFLICT),
        ("handover/00001-parent-0.age", b"", HTTPStatus.CONFLICT),
        ("handover/00001-candidate-p0.age", b"", HTTPStatus.CONFLICT),
        ("ledger/checkpoint", b"", HTTPStatus.FORBIDDEN),
        (f"inbox/{digest(RECORD)}.why", RECORD, HTTPStatus.FORBIDDEN),
        (f"inbox/../{NAME}", RECORD, HTTPStatus.FORBIDDEN),
        (f"inbox/%2e%2e/{NAME}", RECORD, HTTPStatus.FORBIDDEN),
        (f"inbox/{digest(RECORD).upper()}.json", RECORD, HTTPStatus.FORBIDDEN),
        ("inbox/", RECORD, HTTPStatus.NOT_FOUND),
        ("lock", b"", HTTPStatus.NOT_FOUND),
        ("", b"", HTTPStatus.NOT_FOUND),
    ],
)
def test_what_may_not_be_put_is_refused_and_leaves_nothing(
    site: Site, path: str, body: bytes, status: int
) -> None:
    assert site.ask("PUT", f"/{path}", body)[0] == status
    assert not site.files()


def test_nothing_else_can_be_read(site: Site, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"secret")
    (site.folder / "lock").write_bytes(b"secret")
    (site.folder / "ledger" / ".checkpoint.1.tmp").write_bytes(b"secret")
    (site.folder / "ledger" / "link").symlink_to(tmp_path / "key")
    (site.folder / "store" / "out").symlink_to(tmp_path)
    for path in (
        "/../key",
        "/ledger/../../key",
        "/ledger/%2e%2e/%2e%2e/key",
        "//key",
        "/lock",
        "/ledger/.checkpoint.1.tmp",
        "/ledger/link",
        "/store/out/key",
        "/ledger/",
        "/ledger",
        "/store",
        "/",
        "/ledger/a%00b",
        "/ledger/checkpoint?x=1",
        f"http://127.0.0.1:{site.port}/ledger/checkpoint",
        "/ledger/" + "a" * 3_000,
    ):
        status, answer = site.ask("GET", path)
        assert status == HTTPStatus.NOT_FOUND and b"secret" not in answer, path
    assert site.ask("DELETE", "/ledger/checkpoint")[0] == HTTPStatus.NOT_IMPLEMENTED
    assert site.ask("GET", "/ledger/checkpoint", b"body")[0] == HTTPStatus.BAD_REQUEST


def test_parts_of_a_file(site: Site) -> None:
    (site.folder / "ledger" / "checkpoint").write_bytes(b"0123456789")

    def part(text: str, **more: str) -> tuple[int, bytes]:
        return site.ask("GET", "/ledger/checkpoint", headers={"Range": text, **more})

    assert part("bytes=3-") == (206, b"3456789")
    assert part("bytes=3-4") == (206, b"34")
    assert part("bytes=3-99") == (206, b"3456789")
    for text in ("bytes=10-", "bytes=5-2", "bytes=999999999999999999-"):
        assert part(text)[0] == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    for text in ("bytes=0-1,3-4", "bytes=-3", "lines=1-2", "bytes=x-y", f"bytes=1-{'9' * 40}"):
        assert part(text) == (200, b"0123456789")
    assert part("bytes=3-", **{"If-Range": '"another"'}) == (200, b"0123456789")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (f"PUT /{NAME} HTTP/1.1\r\nHost: x\r\n\r\n", 411),
        (f"PUT /{NAME} HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 411),
        (f"PUT /{NAME} HTTP/1.1\r\nHost: x\r\nContent-Length: 9{'9' * 30}\r\n\r\n", 411),
        (f"PUT /{NAME} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        ("GET /ledger/checkpoint HTTP/9.9.9\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("GET /" + "a" * 20_000 + " HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
        ("GET /x HTTP/1.1\r\n" + "a: b\r\n" * 200 + "\r\n", 431),
    ],
)
def test_requests_that_are_none(site: Site, request_head: str, status: int) -> None:
    answer = site.raw(request_head.encode())
    assert answer.startswith(b"HTTP/1.1 %d " % status) or b"Error code: %d" % status in answer
    assert not site.files()


def test_slow_senders_are_let_go_and_leave_nothing(tmp_path: Path) -> None:
    with served(tmp_path / "relay", timeout=0.3) as site:
        assert site.raw(b"") == b"" and site.raw(b"GET /ledger/ch") == b""
        started = f"PUT /{NAME} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(RECORD)}\r\n\r\n".encode()
        assert site.raw(started + RECORD[:5]).startswith(b"HTTP/1.1 408 ")
        assert not site.files()
        put(site.exchange(), NAME, RECORD)
        assert set(site.files()) == {NAME}


def test_who_opens_too_many_connections_has_them_closed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_OF_ONE", 3)
    lines = [socket.create_connection(("127.0.0.1", site.port), timeout=10) for _ in range(4)]
    try:
        assert lines[3].recv(1) == b""
        lines[0].sendall(b"GET /ledger/x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert lines[0].recv(12) == b"HTTP/1.1 404"
    finally:
        for line in lines:
            line.close()


def gate(folder: Path, now: list[float]) -> Gate:
    return Gate(folder, lambda: Awaited(frozenset(), 0), lambda: now[0])


def refused(act: Callable[[], object]) -> int:
    with pytest.raises(RefusedError) as caught:
        act()
    return int(caught.value.status)


def test_one_sender_is_slowed_down_and_others_are_not(tmp_path: Path) -> None:
    now = [0.0]
    asked = gate(tmp_path, now)
    for _ in range(200):
        asked.pass_by("a", 0)
    assert refused(lambda: asked.pass_by("a", 0)) == HTTPStatus.TOO_MANY_REQUESTS
    asked.pass_by("b", 0)
    now[0] = 1.0
    for _ in range(20):
        asked.pass_by("a", 0)
    assert refused(lambda: asked.pass_by("a", 0)) == HTTPStatus.TOO_MANY_REQUESTS
    asked.pass_by("c", 400 << 20)  # one large delta, and no second one before its time
    assert refused(lambda: asked.pass_by("c", 0)) == HTTPStatus.TOO_MANY_REQUESTS
    assert sender_of("2001:db8:1:2:3::1") == sender_of("2001:db8:1:2:ffff::2") != sender_of("2001:db8:1:3::")
    assert sender_of("::ffff:10.0.0.1") == sender_of("10.0.0.1") != sender_of("10.0.0.2")


def test_bodies_are_held_up_to_a_limit_and_one_of_any_size(tmp_path: Path) -> None:
    asked = gate(tmp_path, [0.0])
    with asked.holding(1 << 34):
        assert refused(lambda: asked.holding(1).__enter__()) == HTTPStatus.SERVICE_UNAVAILABLE
    with asked.holding(1 << 29), asked.holding(1 << 29):
        pass


def test_a_full_inbox_takes_no_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayjax.peers.http_gate._IN_INBOX", 2)
    for data in (b"1", b"2"):
        site.exchange().offer(f"inbox/{digest(data)}.json", data)
    with pytest.raises(ExchangeError, match="the inbox is full"):
        site.exchange().offer(NAME, RECORD)
    assert len(site.files()) == 2


def test_nobody_there_and_addresses_that_are_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ExchangeError, match="refused"):
        HttpExchange(f"http://127.0.0.1:{port}", attempts=2, pause=0.01).fetch("ledger/checkpoint", 10)
    for url in ("ftp://x", "http://", "http://x:y", "http://x/?a=b", "http://x/#a", "https://me:pw@x"):
        with pytest.raises(ConfigError):
            HttpExchange(url)


@contextmanager
def lying(*answers: bytes) -> Iterator[str]:
    """A server that gives these answers, one a connection, whatever it is asked; the last one for ever."""
    left = list(answers)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            with suppress(OSError):
                self.request.sendall(left.pop(0) if len(left) > 1 else left[0])

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def answer(head: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {head}\r\n\r\n".encode() + body


CUT = answer('200 OK\r\nContent-Length: 10\r\nETag: "a"', b"01234")


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([answer(f"200 OK\r\nContent-Length: {10**15}", b"x" * 100_000)], IntegrityError),
        ([answer("200 OK\r\nContent-Length: 11", b"x" * 11)], IntegrityError),
        ([answer("200 OK", b"x" * 100_000)], ExchangeError),
        ([answer("200 OK\r\nContent-Length: -5", b"x")], ExchangeError),
        ([answer("200 OK\r\nContent-Length: 9", b"x")], ExchangeError),
        ([answer("200 OK\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n")], ExchangeError),
        ([answer("206 Partial\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5", b"hello")], ExchangeError),
        ([CUT, answer("206 P\r\nContent-Range: bytes 5-99/100\r\nContent-Length: 95")], IntegrityError),
        (
            [CUT, answer("206 P\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6", b"456789")],
            ExchangeError,
        ),
        ([CUT, answer("304 Not Modified")], ExchangeError),
        ([answer("304 Not Modified")], ExchangeError),
        ([answer("302 Found\r\nLocation: /inbox/x\r\nContent-Length: 0")], ExchangeError),
        ([answer("500 Oops\r\nContent-Length: 0")], ExchangeError),
        ([answer("403 No\r\nContent-Length: 3", b"\x1b[2")], ExchangeError),
        ([b"SSH-2.0-x\r\n"], ExchangeError),
        ([b""], ExchangeError),
    ],
)
def test_a_server_that_lies_is_not_believed(answers: list[bytes], error: type[Exception]) -> None:
    with lying(*answers) as url, pytest.raises(error) as caught:
        HttpExchange(url, timeout=5.0, attempts=3, pause=0.01).fetch("ledger/checkpoint", 10)
    assert str(caught.value).isprintable()


def test_what_was_cut_is_joined_only_if_it_is_the_same_file() -> None:
    rest = answer("206 P\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5", b"56789")
    other = answer("200 OK\r\nContent-Length: 3", b"new")
    for second, found in (
        (rest, b"0123456789"),
        (other, b"new"),
        (answer("404 N\r\nContent-Length: 0"), None),
    ):
        with lying(CUT, second) as url:
            assert HttpExchange(url, pause=0.01).fetch("ledger/checkpoint", 10) == found


def test_where_a_folder_can_be_served(tmp_path: Path) -> None:
    told: list[str] = []

    def opened(served: Served) -> RelayServer:
        return served.open(tmp_path, lambda: Awaited(frozenset(), 0), told.append)

    with opened(Served("127.0.0.1:0")) as server:
        port = server.server_address[1]
        assert told == [f"serving    http://127.0.0.1:{port}"]
        with pytest.raises(WorkdirError, match="another address"):
            opened(Served(f"127.0.0.1:{port}"))
    for wrong in (
        Served("nowhere"),
        Served("127.0.0.1:0", certificate="cert.pem"),
        Served("127.0.0.1:0", "x", "y"),
    ):
        with pytest.raises(ConfigError):
            opened(wrong)


def self_signed(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(built.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, private


def test_over_tls_and_only_with_a_certificate_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    with pytest.raises(ConfigError, match="no certificate"):
        tls_context(key, certificate)
    with served(tmp_path / "relay", tls=tls_context(certificate, key)) as site:
        url = f"https://127.0.0.1:{site.port}"
        with pytest.raises(ExchangeError, match="certificate"):
            HttpExchange(url).offer(NAME, RECORD)
        assert not site.files()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        exchange = HttpExchange(url)
        put(exchange, NAME, RECORD)
        exchange.offer(DELTA, b"x" * 200_000)
        assert HttpExchange(url).fetch(DELTA, 200_000) == b"x" * 200_000
        assert set(site.files()) == {NAME, DELTA}
        with suppress(ConnectionResetError):
            assert b"HTTP" not in site.raw(b"GET /ledger/x HTTP/1.1\r\n\r\n")
