"""The contract of an exchange, kept by a bucket; stores that break off, refuse, or hold odd names."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from threading import Thread

import pytest
from peers.bucket import QUICK, SECRET, URL, ObjectStore
from peers.site import DELTA, NAME, RECORD
from peers.test_http_exchange import test_the_contract_of_an_exchange as contract

from relayjax.errors import ConfigError, ExchangeError, IntegrityError
from relayjax.hashing import digest
from relayjax.peers.exchange import put
from relayjax.peers.object_bucket import Bucket, Nothing, Object
from relayjax.peers.object_exchange import ObjectExchange
from relayjax.peers.object_listing import Listing


class Place(PurePosixPath):
    """A path in the bucket, for a test that changes what it thinks are files."""

    def write_bytes(self, data: bytes) -> None:
        Bucket(URL, **QUICK).put(str(self), data)

    def read_bytes(self) -> bytes:
        found = Bucket(URL, **QUICK).get(str(self), 1 << 20)
        assert isinstance(found, Object)
        return bytes(found.data)

    def unlink(self) -> None:
        Listing(Bucket(URL, **QUICK)).remove([str(self)])

    def mkdir(self) -> None:
        self.joinpath("x").write_bytes(b"")


@dataclass
class Site:
    """What the contract's test sees of the place."""

    store: ObjectStore
    folder: Place = field(default_factory=Place)

    def files(self) -> dict[str, bytes]:
        return {path: data for path, data in self.store.files().items() if path != "store/ab/x"}


def test_the_contract(store: ObjectStore) -> None:
    contract(store.exchange(), Site(store))  # pyright: ignore[reportArgumentType]


def test_large_objects_are_whole_or_not_there(store: ObjectStore) -> None:
    data = random.Random(1).randbytes(12_000_000)
    store.bucket().put("store/x", data)
    found = store.bucket().get("store/x", len(data))
    assert isinstance(found, Object) and found.data == data and found.tag
    with pytest.raises(IntegrityError, match="more than the 11999999 bytes"):
        store.bucket().get("store/x", len(data) - 1)
    assert set(store.files()) == {"store/x"}


def test_a_tag_says_whether_an_object_is_the_same(store: ObjectStore) -> None:
    bucket = store.bucket()
    tag = bucket.put("handover/x", b"one")
    assert bucket.same("handover/x", tag) and bucket.get("handover/x", 3, tag) is Nothing.UNCHANGED
    bucket.put("handover/x", b"two")
    assert not bucket.same("handover/x", tag) and bucket.get("handover/x", 3, tag) != Nothing.UNCHANGED
    Listing(bucket).remove(["handover/x", "handover/y"])
    assert not bucket.same("handover/x", tag)


def test_what_lies_there_is_not_moved_again(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange, data = store.exchange(), b"x" * 150_000
    put(exchange, DELTA, data)
    looked: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("get", "put"):
            patch.setattr(exchange.bucket, name, lambda *_, name=name: looked.append(name))
        put(exchange, DELTA, data)
        assert exchange.holds(DELTA, digest(data)) and not exchange.holds(DELTA, digest(b"")) and not looked
    store.bucket().put(DELTA, b"y" * 150_000)
    assert not exchange.holds(DELTA, digest(data))
    put(exchange, DELTA, data)
    assert store.exchange().fetch(DELTA, len(data)) == data
    buffer = memoryview(bytearray(200_000))
    assert exchange.fetch_into(DELTA, buffer) == len(data) and buffer[: len(data)] == data


def test_a_listing_has_all_names_below_a_folder_and_no_others(store: ObjectStore) -> None:
    bucket = store.bucket()
    for path in ("inbox/a", "inbox/b/c", "inbox0", "inboxes/d", "ledger/x"):
        bucket.put(path, b"")
    assert Listing(bucket).names("inbox") == [b"inbox/a", b"inbox/b/c"]
    assert Listing(bucket).names("nothing") == []


def test_wrong_credentials_a_missing_bucket_and_nobody_there(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.bucket().put(NAME, RECORD)
    store.bucket().put("ledger/checkpoint", b"note")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        wrong = store.exchange()
        for attempt in (
            lambda: wrong.fetch("ledger/checkpoint", 100),
            lambda: wrong.offer(NAME, RECORD),
            lambda: Listing(wrong.bucket).names("inbox"),
            lambda: Listing(wrong.bucket).remove([NAME]),
        ):
            with pytest.raises(ExchangeError, match=r"forbidden|403|PERMISSION_DENIED") as raised:
                attempt()
            assert SECRET not in str(raised.value) and "\n" not in str(raised.value)
    nowhere = ObjectExchange("s3://nobucket/relay", **QUICK)
    assert nowhere.fetch("ledger/checkpoint", 100) is None
    with pytest.raises(ExchangeError, match="404"):
        nowhere.offer(NAME, RECORD)
    store.stop()
    for attempt in (
        lambda: store.exchange().fetch(NAME, 100),
        lambda: store.exchange().offer(NAME, RECORD),
        lambda: Listing(store.bucket(), timeout=10.0).names("inbox"),
    ):
        with pytest.raises(ExchangeError, match=r"refused|connect") as raised:
            attempt()
        assert " ms" not in str(raised.value) and "elapsed" not in str(raised.value)
    store.start()
    assert store.exchange().fetch(NAME, 100) == RECORD


def test_addresses_that_are_none() -> None:
    for url in (
        "s3://",
        "s3://B",
        "s3://me:pw@bucket/x",
        "s3://bucket/../x",
        "s3://bucket/x?a=b",
        "s4://bucket",
    ):
        with pytest.raises(ConfigError, match="give an address"):
            Bucket(url)
    assert Bucket("s3://bucket/a/b/").prefix == "a/b/" and Bucket("s3://bucket").prefix == ""


def test_without_the_extra_it_is_said_what_to_install() -> None:
    program = "import sys\nsys.modules['obstore.store'] = None\n"
    program += "from relayjax.peers.places import exchange_at\nexchange_at('s3://bucket/relay')\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ConfigError: a bucket needs `pip install relayjax[objects]`" in done.stderr


@dataclass
class Answers:
    """What a store says to each request for one object, or for a listing."""

    data: bytes = b""
    cut: int = 1 << 30
    forbidden: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@contextmanager
def answering(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """A store as S3 describes it, as far as single objects and listings go; it breaks off where it should."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if "list-type" in self.path:
                keys = "".join(
                    f"<Contents><Key>relay/{k}</Key><Size>1</Size></Contents>" for k in answers.names
                )
                self._whole(200, f"<ListBucketResult>{keys}</ListBucketResult>".encode())
            elif any(path.endswith(f"/{name}") for name in answers.forbidden):
                self._whole(403, b"<Error><Code>AccessDenied</Code></Error>")
            else:
                self._part()

        def do_DELETE(self) -> None:
            answers.removed.append(self.path)
            self._whole(204, b"")

        def do_HEAD(self) -> None:
            self._whole(200, b"")

        def _whole(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _part(self) -> None:
            asked = self.headers.get("Range", "")
            answers.ranges.append(asked)
            first = int(re.findall(r"\d+", asked)[0]) if asked else 0
            size = len(answers.data)
            self.send_response(206 if asked else 200)
            self.send_header("ETag", '"one"')
            self.send_header("Last-Modified", "Sat, 28 Nov 2026 10:00:00 GMT")
            self.send_header("Content-Length", str(size - first))
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
            self.end_headers()
            self.wfile.write(answers.data[first : first + answers.cut])
            self.wfile.flush()
            if size - first > answers.cut:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        for name, value in ObjectStore(Path(), server.server_address[1]).environment.items():
            monkeypatch.setenv(name, value)
        try:
            yield answers
        finally:
            server.shutdown()
            thread.join()


def test_a_download_goes_on_where_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(1).randbytes(2_000_000)
    with answering(Answers(data, cut=300_000), monkeypatch) as answers:
        assert ObjectExchange(URL, **QUICK).fetch("store/x", len(data)) == data
        assert len(answers.ranges) == 7 and all(answers.ranges[1:]), answers.ranges


def test_nothing_is_read_of_an_object_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = pytest.raises(IntegrityError, match="more than the 1000 bytes")
    with answering(Answers(bytes(50_000_000)), monkeypatch), limited:
        ObjectExchange(URL, **QUICK).fetch("store/x", 1_000)


def test_forbidden_is_not_there_once_something_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(Answers(b"note", forbidden={"x.why"}), monkeypatch) as answers:
        exchange = ObjectExchange(URL, **QUICK)
        with pytest.raises(ExchangeError, match="forbidden"):
            exchange.fetch("inbox/x.why", 100)
        assert exchange.fetch("ledger/checkpoint", 100) == b"note"
        assert exchange.fetch("inbox/x.why", 100) is None
        answers.forbidden.add("checkpoint")
        with pytest.raises(ExchangeError, match="forbidden"):
            exchange.fetch("ledger/checkpoint", 100)


def test_names_that_no_path_has_are_listed_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = ["inbox//", "inbox/a", "inbox/a//b", "inbox/../x", "inbox/b&#13;c", "inbox/%2e%2e"]
    with answering(Answers(names=sorted(odd)), monkeypatch) as answers:
        listing = Listing(Bucket(URL, **QUICK))
        names = listing.names("inbox")
        assert len(names) == len(odd) and b"inbox/b\rc" in names
        listing.remove(names)
        assert len(answers.removed) == len(odd)
