"""Serves a relay's folder over HTTP, for members who do not see it themselves.

    GET /PATH   a file of ledger/, store/, seals/, handover/ or inbox/, whole or from some byte on
    PUT /PATH   a record into inbox/, or a delta that the present round waits for, from its trainer; see
                `http_gate.py`

There is no listing and no other method. What lies in these folders is signed or sealed, or the genesis, so
anybody may read it; a file of the inbox can only be asked for by who knows the digest of its bytes.

Requests are short and members few, so one thread a connection of the standard library's server does. What
keeps a single sender from taking all of it: each request has a deadline that grows with its body, headers and
bodies have limits, connections are counted in all and by address, and those beyond are closed. No file and no
body is held in memory: files go out by `sendfile`, bodies to the disk as they come.

References:
  RFC 9110, sections 8.8.3 (ETag), 13.1 (If-None-Match, If-Range) and 14 (Range).
"""

from __future__ import annotations

import io
import os
import re
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET, AF_INET6, AF_UNIX, IPPROTO_TCP, TCP_NODELAY
from threading import Lock
from typing import Any

from relayjax import files
from relayjax.errors import DiskError, FormatError
from relayjax.peers.exchange import FolderExchange, is_regular
from relayjax.peers.http_gate import Awaited, Gate, RefusedError, sender_of
from relayjax.peers.http_incoming import Incoming
from relayjax.peers.http_outgoing import send, tag_of
from relayjax.peers.uploads import HEADER

TIMEOUT = 15.0
"""Seconds for a request's head, which a connection may idle before, and for each piece of an answer."""

_SLOWEST = 1 << 16
"""Bytes a second that a body must bring, beside what a head may take."""

_HEAD = 1 << 15
_CHUNK = 1 << 18
_LINGER = 1.0
_CONNECTIONS, _OF_ONE = 256, 128
_LENGTH = re.compile(r"[0-9]{1,15}")
_DIGEST = re.compile(r'"blake3-([0-9a-f]{64})"')
"""An entity tag that a client makes of the digest that it looks for."""

_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")

Report = Callable[[str], None]
"""Is told in a line of what failed here; what others do wrong would only flood it."""


class RelayServer(ThreadingHTTPServer):
    """Serves a relay's folder until `shutdown` is called."""

    daemon_threads = True
    request_queue_size = 128
    readable = re.compile(r"(ledger|store|seals|handover|inbox)/.{1,512}")
    """Paths that may be asked for; others are not there."""

    def __init__(
        self,
        address: tuple[str, int],
        folder: Path,
        awaited: Callable[[], Awaited],
        *,
        tls: ssl.SSLContext | None = None,
        report: Report = lambda line: None,
        timeout: float = TIMEOUT,
    ):
        """Listens on a host and port; port 0 chooses a free one.

        Args:
          address: host and port.
          folder: of the relay.
          awaited: what may be handed over now; called from several threads.
          tls: certificate and key, where connections are encrypted.
          report: is told of what fails; called from several threads.
          timeout: seconds for a request's head, and for each piece of an answer.

        Raises:
          OSError: the address is taken, or not this machine's.
        """
        self.exchange = FolderExchange(folder)
        self.gate = Gate(folder, awaited, time.monotonic)
        self.report, self.patience = report, timeout
        self.asked = time.monotonic()
        self._tls = tls
        self._counting, self._open = Lock(), Counter[str]()
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread of its own, or closes it when there are too many."""
        sender = sender_of(client_address[0])
        with self._counting:
            full = self._open.total() >= _CONNECTIONS or self._open[sender] >= _OF_ONE
            self._open[sender] += not full
        if full:
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection, whose place is then free."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            sender = sender_of(client_address[0])
            with self._counting:
                self._open[sender] -= 1
                if not self._open[sender]:
                    del self._open[sender]

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Encrypts a connection where that is asked for, in its own thread, and serves it."""
        request.settimeout(self.patience)
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with self._tls.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke off is nobody's concern but its own; anything else is a defect."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.report(f"serving failed: {error!r}")


class _Handler(BaseHTTPRequestHandler):
    server: RelayServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    server_version = "relayjax"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        if self.connection.family != AF_UNIX:  # else a short body waits until its head is acknowledged, 40 ms
            self.connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, True)
        self.rfile.close()
        self._incoming = Incoming(self.connection)
        self.rfile = io.BufferedReader(self._incoming)

    def handle_one_request(self) -> None:
        self._incoming.allow(self.server.patience, _HEAD)
        super().handle_one_request()

    def do_GET(self) -> None:
        self.server.asked = time.monotonic()
        try:
            if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "a GET has no body")
            self._serve(self._path())
        except RefusedError as refused:
            self._refuse(refused)

    def do_PUT(self) -> None:
        self.server.asked = time.monotonic()
        try:
            path = self._path()
            limit, length = self.server.gate.limit(path), self._length()
            if length > limit:
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {limit} bytes can be put")
            self.server.gate.pass_by(sender_of(self.client_address[0]), length)
            digest = self.server.gate.vouched(path, length, self.headers.get(HEADER, ""))
            with self.server.gate.holding(length):
                self._take(path, length, digest)
        except RefusedError as refused:
            self._refuse(refused)
        else:
            self._answer(HTTPStatus.CREATED, b"", {})

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _path(self) -> str:
        """The path asked for: no escapes are known, so nothing needs to be decoded."""
        path = self.path.removeprefix("/")
        if not self.server.readable.fullmatch(path):
            raise RefusedError(HTTPStatus.NOT_FOUND, f"there is {self.server.readable.pattern}")
        return path

    def _serve(self, path: str) -> None:
        with self._opened(path) as file:
            found = os.fstat(file.fileno())
            tag = tag_of(found)
            headers = {"ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
            if self._has(path, tag):
                self._answer(HTTPStatus.NOT_MODIFIED, None, headers)
                return
            first, last, status = 0, found.st_size - 1, HTTPStatus.OK
            match = _RANGE.fullmatch(self.headers.get("Range", ""))
            if match and self.headers.get("If-Range", tag) == tag:
                first, last = int(match[1]), min(last, int(match[2] or last))
                status = HTTPStatus.PARTIAL_CONTENT
                if not first <= last:
                    headers["Content-Range"] = f"bytes */{found.st_size}"
                    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                    self._answer(status, b"no such bytes\n", headers)
                    return
                headers["Content-Range"] = f"bytes {first}-{last}/{found.st_size}"
            self._head(status, last + 1 - first, headers)
            self._send(file, first, last + 1 - first)

    def _has(self, path: str, tag: str) -> bool:
        """Whether the client has the file, by its entity tag or by its digest."""
        stated = self.headers.get("If-None-Match", "")
        match = _DIGEST.fullmatch(stated)
        return stated == tag or (match is not None and self.server.exchange.holds(path, match[1]))

    def _opened(self, path: str) -> io.FileIO:
        """Opens a plain file, which stays what it is when somebody replaces it."""
        try:
            file = self.server.exchange.locate(path)
            if is_regular(file):
                return io.FileIO(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
        except (OSError, FormatError):
            pass
        raise RefusedError(HTTPStatus.NOT_FOUND, "not there")

    def _send(self, file: io.FileIO, first: int, count: int) -> None:
        self.connection.settimeout(self.server.patience)
        if not send(self.connection, file, first, count):  # the other side must notice
            self.close_connection = True

    def _length(self) -> int:
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not _LENGTH.fullmatch(length):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
        return int(length)

    def _body(self, length: int) -> Iterator[bytes]:
        """Yields what is sent, as it comes."""
        self._incoming.allow(self.server.patience + length / _SLOWEST, length)
        while length:
            try:
                part = self.rfile.read1(min(_CHUNK, length))
            except OSError:
                part = b""
            if not part:
                raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the body ended early or took too long")
            length -= len(part)
            yield part

    def _take(self, path: str, length: int, digest: str | None) -> None:
        """Writes what is sent."""
        try:
            target = self.server.exchange.locate(path)
            temporary = files.write_aside(target, self._body(length))
            try:
                self.server.gate.check(path, temporary, digest)
                files.publish(temporary, target)
            except BaseException:
                files.remove(temporary)
                raise
        except (DiskError, FormatError) as error:
            self.server.report(f"{path} not written: {error}")
            raise RefusedError(HTTPStatus.INSUFFICIENT_STORAGE, "it could not be written") from error

    def _refuse(self, refused: RefusedError) -> None:
        self.close_connection |= refused.status != HTTPStatus.NOT_FOUND or self.command != "GET"
        headers = {"Content-Type": "text/plain"}
        if refused.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers["Retry-After"] = "1"
        self._answer(refused.status, f"{refused}\n".encode(), headers)
        if self.command == "PUT":  # a line closed over unread bytes is reset, and the answer lost
            self._incoming.allow(_LINGER, 4 * _CHUNK)
            with suppress(OSError):
                while self.rfile.read1(_CHUNK):
                    pass

    def _answer(self, status: HTTPStatus, body: bytes | None, headers: dict[str, str]) -> None:
        self._head(status, None if body is None else len(body), headers)
        if body:
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int | None, headers: dict[str, str]) -> None:
        self.connection.settimeout(self.server.patience)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
            self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
