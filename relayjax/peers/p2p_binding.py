"""The package iroh, as far as we use it: endpoints that know direct addresses only, and their loop.

An endpoint is bound from iroh's minimal preset without relays, so that it has no list of servers, no
directory to publish itself in and none to look others up in; see `docs/p2p.md` for what it does send.

The binding is generated code around iroh's Rust library, and its calls are coroutines. All of them run in one
loop, in a thread of its own, since the rest of a relay works in plain threads.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from threading import Thread
from typing import Any, TypeVar
from weakref import WeakSet

from relayjax.errors import ConfigError

try:
    import iroh
    from iroh import iroh_ffi
except ImportError as missing:
    raise ConfigError(f"peer to peer needs `pip install relayjax[p2p]` ({missing})") from missing

T = TypeVar("T")

_ENDING = 5.0
"""Seconds for what is open when the process ends."""

_bound = WeakSet[iroh.Endpoint]()
"""All endpoints of this process; one that is given up must not be held: its port would not be free."""

PROTOCOL = b"relayjax/exchange/1"
"""What is spoken on a connection (ALPN): HTTP/1.1, each stream of its own what a connection is over TCP."""

CHUNK = 1 << 18
"""Bytes that a stream is asked for, or given, at once."""


def _write(builder: Any, value: bytes) -> None:
    """Appends bytes to a buffer of the binding in one copy.

    Its own method assigns one byte after another in a Python loop, which makes 4 MB/s of a line.
    """
    with builder._reserve(len(value)):
        end = ctypes.addressof(builder.rbuf.data.contents) + builder.rbuf.len
        ctypes.memmove(end, bytes(value), len(value))


_BUILDER = getattr(iroh_ffi, "_UniffiRustBufferBuilder", None)
if _BUILDER is not None and hasattr(_BUILDER, "_reserve"):  # else another binding, which may have learnt it
    _BUILDER.write = _write


@cache
def loop() -> asyncio.AbstractEventLoop:
    """The loop of this process's endpoints; it ends with the process."""
    found = asyncio.new_event_loop()
    thread = Thread(target=found.run_forever, name="iroh", daemon=True)
    thread.start()

    def end() -> None:
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_end(), found).result(_ENDING)
        found.call_soon_threadsafe(found.stop)
        thread.join(_ENDING)

    atexit.register(end)
    return found


async def _end() -> None:
    """Leaves nothing to the library's threads that could call back: an interpreter that ends aborts on it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for endpoint in list(_bound):
        with suppress(iroh.IrohError):
            await endpoint.close()


def submit(call: Coroutine[Any, Any, T]) -> Future[T]:
    """Has a coroutine run in the loop."""
    return asyncio.run_coroutine_threadsafe(call, loop())


async def bind(
    addresses: tuple[str, str], secret: bytes | None = None, *, accepts: bool = False
) -> iroh.Endpoint:
    """Makes an endpoint without relays and without any way to look others up.

    Args:
      addresses: to listen at, one for each version of IP, the one that matters first.
      secret: 32 bytes, its private key; None for one that nobody knows again.
      accepts: whether others may connect.

    Raises:
      IrohError: an address is taken, or not this machine's.
    """
    try:
        return await _bind(addresses, secret, accepts)
    except iroh.IrohError:
        return await _bind(addresses[:1], secret, accepts)  # a machine without the other version of IP


async def _bind(addresses: tuple[str, ...], secret: bytes | None, accepts: bool) -> iroh.Endpoint:
    builder = iroh.EndpointBuilder()
    builder.apply_minimal()
    builder.relay_mode(iroh.RelayMode.disabled())
    for address in addresses:
        builder.bind_addr(address)
    if secret is not None:
        builder.secret_key(secret)
    if accepts:
        builder.alpns([PROTOCOL])
    endpoint = await builder.bind()
    _bound.add(endpoint)
    return endpoint
