"""An exchange whose folder somebody serves over iroh: the one over HTTP, on streams in the place of TCP.

What is asked, limited, checked and taken up again is `http_exchange.py`'s. Each exchange has a connection of
its own, encrypted, to the endpoint whose public key the address names.
"""

from __future__ import annotations

import asyncio
import http.client
import socket

from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.p2p_address import Address, bound_for, joined
from relayjax.peers.p2p_binding import PROTOCOL, bind, iroh, submit
from relayjax.peers.p2p_stream import carry

_CONNECTING = 5.0
"""Seconds to reach an endpoint: nobody there gives no sign at all."""


class P2pExchange(HttpExchange):
    """An exchange at an address such as `iroh:KEY@192.0.2.7:8219`; not to be shared between threads."""

    def __init__(self, url: str, *, timeout: float = 10.0, attempts: int = 2, pause: float = 0.1):
        """Connects to nothing yet; arguments and errors as for `HttpExchange`."""
        address = Address.parse(url)
        super().__init__(f"http://{joined(address.host, address.port)}", attempts=attempts, pause=pause)
        self.url = str(address)
        self._connection = _Connection(address, timeout)


class _Connection(http.client.HTTPConnection):
    """HTTP/1.1 on a stream."""

    def __init__(self, address: Address, timeout: float):
        super().__init__(joined(address.host, address.port), timeout=timeout, blocksize=1 << 20)
        self._address = address
        self._line: iroh.Connection | None = None

    def connect(self) -> None:
        """Opens a stream, on a new connection where there is none.

        Raises:
          OSError: nobody is there, or somebody else.
        """
        host, version = self._address.resolve()
        opening = submit(self._open(joined(host, self._address.port), bound_for(host, version)))
        stream = opening.result()
        near, far = socket.socketpair()
        near.settimeout(self.timeout)
        far.setblocking(False)
        submit(carry(stream, far))
        self.sock = near

    def close(self) -> None:
        """Gives the connection up: after a failure a new one tells soonest whether anybody is there."""
        self._line = None
        super().close()

    async def _open(self, place: str, bound: tuple[str, str]) -> iroh.BiStream:
        try:
            async with asyncio.timeout(_CONNECTING):
                if self._line is None or self._line.close_reason() is not None:
                    node = iroh.EndpointId.from_string(self._address.node)
                    direct = iroh.EndpointAddr(node, None, [place])
                    self._line = await (await _endpoint(bound)).connect(direct, PROTOCOL)
                return await self._line.open_bi()
        except TimeoutError:
            raise TimeoutError("no answer") from None
        except iroh.IrohError as error:
            raise ConnectionError("nobody with that key lets us in") from error


_endpoints = dict[tuple[str, str], iroh.Endpoint]()
"""This process's endpoints by what they are bound to; used in the loop only."""


async def _endpoint(bound: tuple[str, str]) -> iroh.Endpoint:
    if bound not in _endpoints:
        _endpoints[bound] = await bind(bound)
    return _endpoints[bound]
