"""A line that loses, delays, cuts, changes or swallows what passes: a TCP proxy before the relay's server.

Whatever it does, it does to pieces of what one side has sent, in both directions: requests and uploads fare
as answers do. What it draws follows from its seed; which piece that meets depends on who sends when.
"""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Lock, Thread

_PIECE = 1 << 14
_TICK = 0.05


@dataclass(frozen=True)
class Weather:
    """What a line does at present.

    Attributes:
      drop, cut, flip, late: shares of the pieces before which the connection is closed; of which the first
        part passes and the connection is closed then; in which one bit is changed; that come `delay` later.
      delay: seconds.
      rate: bytes a second, over both directions of one connection; 0 is no limit.
      swallow: nothing passes and nobody is told; connections held at the end of it are closed.
    """

    drop: float = 0.0
    cut: float = 0.0
    flip: float = 0.0
    late: float = 0.0
    delay: float = 0.0
    rate: float = 0.0
    swallow: bool = False


CLEAR = Weather()


@dataclass
class Line:
    """A line to a port of this machine; `weather` may be changed while it is in use."""

    target: tuple[str, int]
    weather: Weather = CLEAR
    seed: int = 0
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._draw, self._lock = random.Random(self.seed), Lock()

    def passes(self, piece: bytes) -> tuple[bytes, bool]:
        """What comes out of a piece, once it does, and whether the connection lives on."""
        swallowed = self.weather.swallow
        while self.weather.swallow:
            time.sleep(_TICK)
        with self._lock:
            weather, drawn = self.weather, self._draw.random()
            place, bit = self._draw.randrange(len(piece)), self._draw.randrange(8)
            fault, bounds = "none", 0.0
            for name in ("drop", "cut", "flip", "late"):
                bounds += getattr(weather, name)
                if drawn < bounds:
                    fault = name
                    break
            fault = "swallow" if swallowed else fault
            self.done[fault] += 1
        if weather.rate:
            time.sleep(len(piece) / weather.rate)
        match fault:
            case "swallow" | "drop":
                return b"", False
            case "cut":
                return piece[:place], False
            case "flip":
                changed = bytearray(piece)
                changed[place] ^= 1 << bit
                return bytes(changed), True
            case "late":
                time.sleep(weather.delay)
        return piece, True


class _Proxy(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, line: Line):
        self.line = line
        super().__init__(("127.0.0.1", 0), _Passing)

    def handle_error(self, request: object, client_address: object) -> None:
        """A broken connection is what it is for."""


class _Passing(BaseRequestHandler):
    server: _Proxy  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle(self) -> None:
        with socket.create_connection(self.server.line.target, timeout=30) as onward:
            onward.settimeout(None)
            up = Thread(target=self._pump, args=(self.request, onward), daemon=True)
            up.start()
            self._pump(onward, self.request)
            up.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Passes one direction on; when it ends, both do."""
        with suppress(OSError):
            goes_on = True
            while goes_on and (piece := source.recv(_PIECE)):
                piece, goes_on = self.server.line.passes(piece)
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def laid(line: Line) -> Iterator[int]:
    """Lays a line; yields the port at this end of it."""
    with _Proxy(line) as proxy:
        thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy.server_address[1]
        finally:
            line.weather = CLEAR
            proxy.shutdown()
            thread.join()
