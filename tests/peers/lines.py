"""A folder that is served over iroh in this process, and endpoints that say and leave out what they like."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest
from peers.site import DELTA, OCCASION, TRAINER, Site

from relayjax.errors import ConfigError
from relayjax.identity import Keys
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_serving import serving
from relayjax.peers.p2p_address import Address, bound_to
from relayjax.peers.uploads import Signer

try:
    from relayjax.peers.p2p_binding import bind, iroh, submit
    from relayjax.peers.p2p_exchange import P2pExchange
    from relayjax.peers.p2p_server import P2pServer
except ConfigError as missing:  # whoever imports this is skipped
    pytest.skip(str(missing), allow_module_level=True)

HERE = bound_to("127.0.0.1", 4, 0)


@dataclass
class PeerSite(Site):
    """A folder, and who serves it over iroh."""

    server: P2pServer

    @property
    def address(self) -> str:
        return str(Address(self.server.node, "127.0.0.1", self.port))

    def exchange(self, signer: Keys | None = TRAINER, attempts: int = 3) -> P2pExchange:
        found = P2pExchange(self.address, timeout=5.0, attempts=attempts, pause=0.01)
        found.signer = signer and Signer(signer, OCCASION)
        return found

    def line(self) -> HTTPConnection:
        """A connection on which anything can be said."""
        return self.exchange()._open()._connection

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = self.line()
        try:
            with suppress(BrokenPipeError):  # refused before all was sent
                connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        connection = self.line()
        connection.connect()
        with connection.sock as line:
            with suppress(BrokenPipeError):  # the server has heard enough
                line.sendall(data)
            answer = b""
            while part := line.recv(65_536):
                answer += part
            return answer


@contextmanager
def served(folder: Path, timeout: float = 5.0, secret: bytes = bytes(32)) -> Iterator[PeerSite]:
    for name in ("ledger", "store", "inbox", "handover"):
        (folder / name).mkdir(parents=True)
    awaited = Awaited({DELTA: TRAINER.public}, 100_000, OCCASION)
    with serving(P2pServer(HERE, secret, folder, lambda: awaited, timeout=timeout)) as server:
        assert isinstance(server, P2pServer)
        yield PeerSite(folder, server, server.port)


@contextmanager
def answering(answer: Callable[[bytes, iroh.SendStream], Awaitable[None]]) -> Iterator[str]:
    """The address of an endpoint that is none of ours: it is given the head of each request, and a stream."""
    endpoint = submit(bind(HERE, accepts=True)).result()

    async def speak(incoming: iroh.Incoming) -> None:
        with suppress(iroh.IrohError):
            line = await (await incoming.accept()).connect()
            while True:
                stream = await line.accept_bi()
                head = b""
                while b"\r\n\r\n" not in head and (part := await stream.recv().read(65_536)):
                    head += part
                with suppress(iroh.IrohError):
                    await answer(head, stream.send())

    async def serve() -> None:
        async with asyncio.TaskGroup() as lines:
            while incoming := await endpoint.accept_next():
                lines.create_task(speak(incoming))

    accepting = submit(serve())
    port = int(endpoint.bound_sockets()[0].rpartition(":")[2])
    try:
        yield str(Address(str(endpoint.id()), "127.0.0.1", port))
    finally:
        accepting.cancel()
        with suppress(CancelledError):
            accepting.result()
        submit(endpoint.close()).result()
