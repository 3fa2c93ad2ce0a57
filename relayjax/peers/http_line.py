"""One connection to who serves a folder over HTTP, made anew whenever it breaks.

Time and memory are guarded: a download has a limit before the first byte is read, one that breaks off is
taken up where it ended, and a server that only drips, head or body, is given up. Whether a file is there
already is asked by its digest, in the place of an entity tag; a server that knows no such tags sends the
file, which is then not read.

References:
  RFC 9110, sections 8.8.3 (ETag), 13.1 (If-None-Match, If-Range) and 14 (Range).
"""

from __future__ import annotations

import http.client
import io
import re
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from socket import socket
from typing import Any, TypeVar
from urllib.parse import urlsplit

from relayjax.errors import ConfigError, ExchangeError, IntegrityError
from relayjax.peers.exchange import parts_of, room

T = TypeVar("T")

SCHEMES = ("http://", "https://")
_CHUNK = 1 << 20
_GRACE, _SLOWEST = 3.0, 1 << 14
"""Timeouts that a download may take anyway, and the bytes a second that it must bring from then on."""

_ANSWER_LIMIT = 1 << 16
_LENGTH = re.compile(r"[0-9]{1,18}")
_PARTIAL = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_STRONG = re.compile(r'"[\x21\x23-\x7e]{1,128}"')
_TRY_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_TRY_AGAIN |= {HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}


@dataclass(frozen=True)
class Address:
    """Where a folder is served.

    Attributes:
      url: in whole, without a slash at the end.
      host, port: of the server.
      prefix: what its paths start with.
      encrypted: whether by TLS.
    """

    url: str
    host: str
    port: int | None
    prefix: str
    encrypted: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """Reads an address such as `https://relay.example/digits`.

        Raises:
          ConfigError: it is none.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts = host = port = None
        if parts is None or not host or not url.startswith(SCHEMES) or parts.query or parts.fragment:
            raise ConfigError(f"{url!r}: give an address such as https://relay.example:8200")
        if parts.username is not None:
            raise ConfigError(f"{host}: no names or passwords in an address; a relay's records are signed")
        return cls(url.rstrip("/"), host, port, parts.path.rstrip("/"), parts.scheme == "https")


class _CutError(Exception):
    """The line failed; what has arrived before stands."""


@dataclass
class _Download:
    """What has arrived of a file.

    Attributes:
      room: gives a buffer of a length.
      target: is filled.
      size: bytes that are there.
      tag: the entity tag that the rest must have, too.
    """

    room: Callable[[int], memoryview]
    target: memoryview = field(default_factory=lambda: memoryview(b""))
    size: int = 0
    tag: str = ""

    def restart(self) -> None:
        self.size, self.tag = 0, ""


class _Arriving(io.RawIOBase):
    """What comes over a connection; its first part has to come within a time, however it drips."""

    def __init__(self, connection: socket):
        self._connection, self._raw = connection, connection.makefile("rb", buffering=0)
        self._timeout = connection.gettimeout()
        self._end = None if self._timeout is None else time.monotonic() + self._timeout

    def begun(self) -> None:
        """The first part is there; from now on each byte has a time of its own."""
        self._end = None
        self._connection.settimeout(self._timeout)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._end is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._connection.settimeout(left)
        return self._raw.readinto(buffer) or 0

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose head must come in time, and whose body is read to where it belongs.

    Its own `readinto` would wait until a buffer is full.
    """

    def __init__(self, sock: socket, *more: Any, **named: Any):
        super().__init__(sock, *more, **named)
        self.fp.close()
        self._arriving = _Arriving(sock)
        self.fp = io.BufferedReader(self._arriving)

    def begin(self) -> None:
        super().begin()
        self._arriving.begun()

    def readinto1(self, buffer: Any) -> int:
        """Reads what has come, at least a byte; 0 at the end."""
        count = self.fp.readinto1(buffer)
        self.length = (self.length or 0) - count
        return count


class HttpLine:
    """Does one operation of an exchange at a time."""

    def __init__(self, address: Address, *, timeout: float, attempts: int, pause: float):
        """Connects to nothing yet; arguments as for `HttpExchange`."""
        self.url = address.url
        self._prefix = address.prefix
        self._attempts, self._pause, self._grace = attempts, pause, _GRACE * timeout
        place = {"timeout": timeout, "blocksize": _CHUNK}
        self._connection = (
            http.client.HTTPSConnection(
                address.host, address.port, context=ssl.create_default_context(), **place
            )
            if address.encrypted
            else http.client.HTTPConnection(address.host, address.port, **place)
        )
        self._connection.response_class = _Response

    def fetch(self, path: str, limit: int) -> bytes | None:
        download = _Download(room)
        size = self._download(path, limit, download)
        return None if size is None else bytes(download.target[:size])

    def fetch_into(self, path: str, target: memoryview) -> int | None:
        return self._download(path, len(target), _Download(lambda size: target[:size]))

    def holds(self, path: str, digest: str) -> bool:
        parts_of(path)
        return self._persist(path, lambda: self._look(path, digest))

    def offer(self, path: str, data: bytes, headers: Mapping[str, str]) -> None:
        """As `Exchange.offer`, with more headers."""
        parts_of(path)
        self._persist(path, lambda: self._send(path, data, headers))

    def _download(self, path: str, limit: int, download: _Download) -> int | None:
        """Fetches a file; returns its length."""
        parts_of(path)
        begun = time.monotonic()
        return self._persist(path, lambda: self._fetch_on(path, limit, download, begun), download)

    def _persist(self, path: str, step: Callable[[], T], download: _Download | None = None) -> T:
        """Repeats a step while the line fails; new bytes renew the patience."""
        failures, held = 0, 0
        while True:
            try:
                return step()
            except (_CutError, OSError, http.client.HTTPException) as error:
                self._connection.close()
                now = download.size if download else 0
                failures, held = (1 if now > held else failures + 1), now
                if failures >= self._attempts or isinstance(error, ssl.SSLCertVerificationError):
                    problem = _shown(str(error)) or type(error).__name__
                    remedy = "see whether it is the right address and is served, or wait"
                    raise ExchangeError(f"{self.url}/{path}", problem, remedy) from error
                if failures > 1:
                    time.sleep(self._pause * 2 ** (failures - 2))
            except BaseException:
                self._connection.close()
                raise

    def _look(self, path: str, digest: str) -> bool:
        """Asks whether a file has a digest."""
        response = self._ask("GET", path, {"If-None-Match": f'"blake3-{digest}"'})
        if response.status not in (HTTPStatus.NOT_MODIFIED, HTTPStatus.NOT_FOUND, HTTPStatus.OK):
            raise self._unexpected(path, response)
        if response.status == HTTPStatus.OK:  # another file; it may be of any length
            response.close()
            self._connection.close()
        else:
            self._read_answer(response)
        return response.status == HTTPStatus.NOT_MODIFIED

    def _fetch_on(self, path: str, limit: int, download: _Download, begun: float) -> int | None:
        """Asks for what is missing of a file and reads it; returns its length.

        Raises:
          _CutError: some of it is still missing.
          IntegrityError: it is longer than its limit.
          ExchangeError: the server does not give it.
        """
        headers: dict[str, str] = {}
        if download.size and download.tag:
            headers = {"Range": f"bytes={download.size}-", "If-Range": download.tag}
        else:
            download.restart()
        response = self._ask("GET", path, headers)
        status = response.status
        if status == HTTPStatus.NOT_FOUND:
            self._read_answer(response)
            return None
        if status == HTTPStatus.PARTIAL_CONTENT and download.size:
            match = _PARTIAL.fullmatch(response.headers.get("Content-Range", ""))
            if not match or int(match[1]) != download.size or int(match[2]) + 1 != int(match[3]):
                raise _CutError("answers with another part than was asked for")
            total = int(match[3])
        elif status == HTTPStatus.OK:
            length = response.headers.get("Content-Length", "")
            if not _LENGTH.fullmatch(length):
                raise _CutError("does not state the length of what it sends")
            download.restart()
            total = int(length)
            tag = response.headers.get("ETag", "")
            download.tag = tag if _STRONG.fullmatch(tag) else ""
        else:
            if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # it has become shorter
                download.restart()
            raise self._unexpected(path, response)
        if total > limit:
            raise IntegrityError(
                f"{self.url}/{path}", f"more than the {limit} bytes it may have; it is left unread"
            )
        if not download.size:
            download.target = download.room(total)
        elif total != len(download.target):
            download.restart()
            raise _CutError("answers with a part of another file")
        if response.length != total - download.size:  # chunked, or another part
            raise _CutError("does not state the length of what it sends")
        self._receive(response, download, total, path, begun)
        return total

    def _receive(
        self, response: http.client.HTTPResponse, download: _Download, total: int, path: str, begun: float
    ) -> None:
        while download.size < total:
            count = response.readinto1(download.target[download.size : min(download.size + _CHUNK, total)])
            if not count:
                raise _CutError(f"breaks off after {download.size} of {total} bytes")
            download.size += count
            if time.monotonic() - begun > self._grace + download.size / _SLOWEST:
                raise ExchangeError(
                    f"{self.url}/{path}", "sends too slowly", "try again when the line is better"
                )
        self._read_answer(response)  # nothing is left; the connection can be used again

    def _send(self, path: str, data: bytes, more: Mapping[str, str]) -> None:
        """Puts a file."""
        headers = {"Content-Length": str(len(data)), "Content-Type": "application/octet-stream", **more}
        response = self._ask("PUT", path, headers, io.BytesIO(data))
        if response.status not in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT):
            raise self._unexpected(path, response)
        self._read_answer(response)

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: io.BytesIO | None = None
    ) -> http.client.HTTPResponse:
        headers = {"Accept-Encoding": "identity", **headers}
        with suppress(
            BrokenPipeError, ConnectionResetError
        ):  # refused before all was sent: the answer says why
            self._connection.request(method, f"{self._prefix}/{path}", body, headers)
        return self._connection.getresponse()

    def _unexpected(self, path: str, response: http.client.HTTPResponse) -> Exception:
        """The error that a status means: of the line for what may pass, else of the exchange."""
        reason = self._read_answer(response).decode("ascii", "replace")
        problem = f"{response.status} {_shown(reason)}"
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status in _TRY_AGAIN:
            return _CutError(problem)
        return ExchangeError(f"{self.url}/{path}", problem, "see whether it is the right address, or wait")

    def _read_answer(self, response: http.client.HTTPResponse) -> bytes:
        """Reads the short body of an answer; a long one is left unread, with its connection."""
        answer = response.read(_ANSWER_LIMIT)
        if not response.isclosed():
            self._connection.close()
        return answer


def _shown(text: str) -> str:
    """As much of what a stranger says as can be printed."""
    return "".join(c if c.isprintable() else "?" for c in text.strip()[:200])
