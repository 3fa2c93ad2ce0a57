"""A stream of iroh in place of a connection over TCP: a socket whose other end is carried over the stream.

What works on sockets, with threads and timeouts, thus works over iroh, and the limits that it keeps hold
here. Whoever holds the socket ends the stream by closing it; what is on its way is bounded by a chunk in each
direction, the socket's own buffer, and the window of the connection.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from relayjax.peers.p2p_binding import CHUNK, iroh

_STALLED = 60.0
"""Seconds for a chunk to be taken by the other side, and for it to end a stream that we have given up."""


async def carry(stream: iroh.BiStream, far: socket.socket) -> None:
    """Carries what one side writes to the other until the near end is closed, or the stream ends.

    Args:
      stream: between two endpoints.
      far: one end of a pair of sockets, the other being in use by a thread; closed in the end.
    """
    sending, receiving = stream.send(), stream.recv()
    coming = asyncio.ensure_future(_in(receiving, far))
    try:
        if await _out(far, sending):
            coming.cancel()
        else:  # an answer may still come: it says why the other side took no more
            await asyncio.wait([coming], timeout=_STALLED)
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError):
            await coming
        with suppress(iroh.IrohError):
            await receiving.stop(0)
        far.close()


async def _out(far: socket.socket, sending: iroh.SendStream) -> bool:
    """Sends what the near end writes; returns whether that was all of it."""
    try:
        while data := await _read(far):
            async with asyncio.timeout(_STALLED):
                await sending.write_all(data)
        await sending.finish()
    except (iroh.IrohError, TimeoutError):
        with suppress(iroh.IrohError):
            await sending.reset(0)
        with suppress(OSError):
            far.shutdown(socket.SHUT_RD)  # who writes at the near end notices
        return False
    return True


async def _read(far: socket.socket) -> bytes:
    """What the near end has written; nothing once it is closed."""
    try:
        return await asyncio.get_running_loop().sock_recv(far, CHUNK)
    except OSError:  # closed before it had read all
        return b""


async def _in(receiving: iroh.RecvStream, far: socket.socket) -> None:
    """Hands what comes to the near end, as fast as that is read."""
    with suppress(iroh.IrohError, OSError):
        while data := await receiving.read(CHUNK):
            await asyncio.get_running_loop().sock_sendall(far, data)
    with suppress(OSError):
        far.shutdown(socket.SHUT_WR)
