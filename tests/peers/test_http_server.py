"""What a served folder does with requests that nobody should send: it refuses them, and nothing is left."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest
from peers.site import DELTA, NAME, RECORD, Site, served

from relayjax import canonical
from relayjax.errors import ConfigError, ExchangeError, WorkdirError
from relayjax.hashing import digest
from relayjax.peers import http_server
from relayjax.peers.exchange import put
from relayjax.peers.http_gate import Awaited, Gate, RefusedError, sender_of
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import Served


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (NAME, b"other bytes", HTTPStatus.UNPROCESSABLE_ENTITY),
        (NAME, b"x" * (canonical.SIZE_LIMIT + 1), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (DELTA, b"x" * 400_000, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (f"{DELTA}.0", b"", HTTPStatus.CONFLICT),  # so small a delta has no pieces
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
    return Gate(folder, lambda: Awaited({}, 0), lambda: now[0])


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
    for _ in range(11):
        asked.pass_by("c", 16 << 20)  # pieces of a large delta, and no more before their time
    assert refused(lambda: asked.pass_by("c", 16 << 20)) == HTTPStatus.TOO_MANY_REQUESTS
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


def test_where_a_folder_can_be_served(tmp_path: Path) -> None:
    told: list[str] = []

    def opened(served: Served) -> RelayServer:
        return served.open(tmp_path, lambda: Awaited({}, 0), told.append)

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
