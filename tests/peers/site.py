"""A folder that is served in this process, and requests to it exactly as they are written."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relayjax.hashing import digest
from relayjax.identity import Keys
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import serving
from relayjax.peers.uploads import HEADER, Occasion, Signer

DELTA = "handover/00001-delta-p0.age"
RECORD = b'{"some": "envelope"}'
NAME = f"inbox/{digest(RECORD)}.json"
TRAINER = Keys.derive("p0", b"site")
"""Whose the delta is."""

OCCASION = Occasion("a run", "an orderer")


@dataclass
class Site:
    """A folder, who serves it, and what it waits for."""

    folder: Path
    server: RelayServer
    port: int

    def exchange(self, signer: Keys | None = TRAINER) -> HttpExchange:
        """One that signs what it puts, or does not."""
        found = HttpExchange(f"http://127.0.0.1:{self.port}", timeout=5.0, attempts=3, pause=0.01)
        found.signer = signer and Signer(signer, OCCASION)
        return found

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

    def put(self, path: str, body: bytes) -> int:
        """Puts what its owner has signed; returns the status."""
        signed = {HEADER: Signer(TRAINER, OCCASION).header(path, body)}
        return self.ask("PUT", f"/{path}", body, signed)[0]

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
    awaited = Awaited({DELTA: TRAINER.public}, 100_000, OCCASION)
    server = RelayServer(("127.0.0.1", 0), folder, lambda: awaited, tls=tls, timeout=timeout)
    with serving(server):
        yield Site(folder, server, server.server_address[1])
