"""One contract for both exchanges, and servers that are not to be believed."""

from __future__ import annotations

import datetime
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from peers.site import DELTA, NAME, OCCASION, RECORD, TRAINER, Site, served

from relayjax.errors import ConfigError, ExchangeError, FormatError, IntegrityError
from relayjax.peers import http_server
from relayjax.peers.exchange import Exchange, FolderExchange, put
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_serving import tls_context
from relayjax.peers.uploads import Signer


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
    data = b"x" * 150_000
    put(site.exchange(), DELTA, data)
    sent: list[int] = []
    monkeypatch.setattr(http_server._Handler, "_send", lambda self, file, first, count: sent.append(count))
    taken: list[str] = []
    take = http_server._Handler._take
    monkeypatch.setattr(
        http_server._Handler,
        "_take",
        lambda self, path, length, digest: (taken.append(path), take(self, path, length, digest))[1],
    )
    put(site.exchange(), DELTA, data)
    assert not sent and not taken
    os.utime(site.folder / DELTA)  # another time of change, the same bytes
    put(site.exchange(), DELTA, data)
    assert not sent and not taken
    (site.folder / DELTA).write_bytes(b"y" * 150_000)
    put(site.exchange(), DELTA, data)
    assert taken == [DELTA] and (site.folder / DELTA).read_bytes() == data


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
        exchange.signer = Signer(TRAINER, OCCASION)
        exchange.offer(DELTA, b"x" * 200_000)
        assert HttpExchange(url).fetch(DELTA, 200_000) == b"x" * 200_000
        assert set(site.files()) == {NAME, DELTA}
        with suppress(ConnectionResetError):
            assert b"HTTP" not in site.raw(b"GET /ledger/x HTTP/1.1\r\n\r\n")
