"""Reading from a connection that may send little by little, or without an end."""

from __future__ import annotations

import io
import time
from socket import socket
from typing import Any


class Incoming(io.RawIOBase):
    """What a connection sends, within a time and up to a number of bytes."""

    def __init__(self, connection: socket):
        """Reads nothing before something is allowed."""
        self._connection = connection
        self._end, self._left = 0.0, 0

    def allow(self, seconds: float, size: int) -> None:
        """Allows so much from now on."""
        self._end, self._left = time.monotonic() + seconds, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads what has come, at least a byte; 0 at the end.

        Raises:
          TimeoutError: the time is over, or more was sent than is allowed.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0 or self._left <= 0:
            raise TimeoutError
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count
