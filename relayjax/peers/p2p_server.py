"""Serves a folder over iroh: each stream is a connection of the server over HTTP, with its gate and limits.

What is added here is a bound on connections: how many there are, in all and of one address, how long each may
be silent, and how much each may have sent that nobody has read. An address is believed when a packet sent to
it has come back (a QUIC retry), so nobody uses up what is another's.

References:
  RFC 9000, sections 4 (flow control) and 8.1.2 (address validation using retry packets).
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

from relayjax.peers.http_gate import Awaited, sender_of
from relayjax.peers.http_server import TIMEOUT, RelayServer, Report
from relayjax.peers.p2p_binding import bind, iroh, submit
from relayjax.peers.p2p_stream import carry

_CONNECTIONS, _OF_ONE = 256, 128
_STREAMS = 16
"""Streams that one connection may have at once; a member uses one."""

_WINDOW = 2 << 20
"""Bytes that one connection may have sent and nobody read."""


class P2pServer(RelayServer):
    """Serves a folder until `shutdown` is called."""

    def __init__(
        self,
        bound: tuple[str, str],
        secret: bytes,
        folder: Path,
        awaited: Callable[[], Awaited],
        *,
        report: Report = lambda line: None,
        timeout: float = TIMEOUT,
    ):
        """Listens; arguments that are not given here as for `RelayServer`.

        Args:
          bound: what to listen at, see `p2p_address.bound_to`.
          secret: 32 bytes, the endpoint's private key.

        Raises:
          IrohError: the address is taken, or not this machine's.
        """
        self._endpoint = submit(bind(bound, secret, accepts=True)).result()
        self._sixth = bound[0].startswith("[")
        self._ending = Event()
        self._lines = Counter[str]()
        self._tasks = set[asyncio.Task[None]]()
        super().__init__(("127.0.0.1", 0), folder, awaited, report=report, timeout=timeout)

    @property
    def node(self) -> str:
        """The endpoint's public key, 64 hexadecimal digits."""
        return str(self._endpoint.id())

    @property
    def port(self) -> int:
        """Where the endpoint listens."""
        sockets = self._endpoint.bound_sockets()
        return next(int(at.rpartition(":")[2]) for at in sockets if at.startswith("[") == self._sixth)

    def server_bind(self) -> None:
        """Leaves the socket over TCP unbound: the endpoint has its own."""

    def server_activate(self) -> None:
        """Does not listen over TCP."""

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Lets others connect until `shutdown`."""
        accepting = submit(self._accept())
        self._ending.wait()
        accepting.cancel()

    def shutdown(self) -> None:
        """Ends `serve_forever`."""
        self._ending.set()

    def server_close(self) -> None:
        """Closes all connections and the endpoint."""
        super().server_close()
        submit(self._close()).result()

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        with suppress(iroh.IrohError):
            await self._endpoint.close()
        del self._endpoint  # it holds its sockets as long as it is there

    async def _accept(self) -> None:
        while incoming := await self._endpoint.accept_next():
            self._keep(self._greet(incoming))

    def _keep(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _greet(self, incoming: iroh.Incoming) -> None:
        """Lets one in whose address is certain, if there is room."""
        with suppress(iroh.IrohError, TimeoutError):
            address = await incoming.remote_addr()
            if not isinstance(address, iroh.IncomingAddr.IP):
                await incoming.refuse()
                return
            if not await incoming.remote_addr_validated():
                await incoming.retry()
                return
            host = address.addr.rpartition(":")[0].strip("[]")
            sender = sender_of(host)
            if self._lines.total() >= _CONNECTIONS or self._lines[sender] >= _OF_ONE:
                await incoming.refuse()
                return
            self._lines[sender] += 1
            try:
                await self._welcome(incoming, host)
            finally:
                self._lines[sender] -= 1
                if not self._lines[sender]:
                    del self._lines[sender]

    async def _welcome(self, incoming: iroh.Incoming, host: str) -> None:
        """Serves the streams of a connection until it ends, or none is opened any more."""
        async with asyncio.timeout(self.patience):
            line = await (await incoming.accept()).connect()
        line.set_max_concurrent_bi_streams(_STREAMS)
        line.set_max_concurrent_uni_streams(0)
        line.set_receive_window(_WINDOW)
        open_ones = set[asyncio.Task[None]]()
        try:
            while True:
                try:
                    async with asyncio.timeout(4 * self.patience):
                        stream = await line.accept_bi()
                except TimeoutError:
                    if open_ones:
                        continue
                    return
                near, far = socket.socketpair()
                far.setblocking(False)
                task = asyncio.ensure_future(carry(stream, far))
                open_ones.add(task)
                task.add_done_callback(open_ones.discard)
                self.process_request(near, (host, 0))
        finally:
            for task in open_ones:
                task.cancel()
            line.close(0, b"")
