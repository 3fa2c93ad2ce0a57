"""An exchange whose folder somebody serves over iroh: the one over HTTP, on streams in the place of TCP.

What is asked, limited, checked and taken up again is `http_line.py`'s. An exchange has one connection,
encrypted, to the endpoint whose public key the address names, and on it a stream for each thread.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
from functools import partial

from relayjax.peers import http_line
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.p2p_address import Address, bound_for, joined
from relayjax.peers.p2p_binding import PROTOCOL, bind, iroh, submit
from relayjax.peers.p2p_stream import carry

_CONNECTING = 5.0
"""Seconds to reach an endpoint: nobody there gives no sign at all."""


class P2pExchange(HttpExchange):
    """An exchange at an address such as `iroh:KEY@192.0.2.7:8219`. May be used from several threads."""

    def __init__(self, url: str, *, timeout: float = 10.0, attempts: int = 2, pause: float = 0.1):
        """Connects to nothing yet; arguments and errors as for `HttpExchange`."""
        address = Address.parse(url)
        super().__init__(f"http://{joined(address.host, address.port)}")
        self.url = str(address)
        way = _Way(address)
        self._open = partial(_Line, way, timeout=timeout, attempts=attempts, pause=pause)


class _Way:
    """The connection of an exchange; it is made when a stream is asked for and there is none."""

    def __init__(self, address: Address):
        self.address = address
        self._connection: iroh.Connection | None = None

    def stream(self) -> iroh.BiStream:
        """Opens a stream.

        Raises:
          ExchangeError: the address has a name that there is not.
          OSError: nobody is there, or somebody else.
        """
        host, version = self.address.resolve()
        return submit(self._stream(joined(host, self.address.port), bound_for(host, version))).result()

    def leave(self) -> None:
        """Has the next stream make a connection anew, which tells soonest whether anybody is there."""
        self._connection = None

    async def _stream(self, place: str, bound: tuple[str, str]) -> iroh.BiStream:
        try:
            async with asyncio.timeout(_CONNECTING):
                connection = self._connection
                if connection is None or connection.close_reason() is not None:
                    node = iroh.EndpointId.from_string(self.address.node)
                    direct = iroh.EndpointAddr(node, None, [place])
                    connection = await (await _endpoint(bound)).connect(direct, PROTOCOL)
                    self._connection = connection
                return await connection.open_bi()
        except TimeoutError:
            raise TimeoutError("no answer") from None
        except iroh.IrohError as error:
            raise ConnectionError("nobody with that key lets us in") from error


class _Line(http_line.HttpLine):
    """One stream at a time."""

    def __init__(self, way: _Way, *, timeout: float, attempts: int, pause: float):
        at = way.address
        place = http_line.Address(str(at), at.host, at.port, prefix="", encrypted=False)
        super().__init__(place, timeout=timeout, attempts=attempts, pause=pause)
        plain, self._connection = self._connection, _Stream(way, timeout)
        self._connection.response_class = plain.response_class


class _Stream(http.client.HTTPConnection):
    """HTTP/1.1 on a stream."""

    def __init__(self, way: _Way, timeout: float):
        super().__init__(way.address.host, way.address.port, timeout=timeout, blocksize=1 << 20)
        self._way = way

    def connect(self) -> None:
        """Opens a stream; errors as for `_Way.stream`."""
        stream = self._way.stream()
        near, far = socket.socketpair()
        near.settimeout(self.timeout)
        far.setblocking(False)
        submit(carry(stream, far))
        self.sock = near

    def close(self) -> None:
        """Ends the stream; it is closed after a failure, mostly."""
        self._way.leave()
        super().close()


_endpoints = dict[tuple[str, str], iroh.Endpoint]()
"""This process's endpoints by what they are bound to; used in the loop only."""


async def _endpoint(bound: tuple[str, str]) -> iroh.Endpoint:
    if bound not in _endpoints:
        _endpoints[bound] = await bind(bound)
    return _endpoints[bound]
