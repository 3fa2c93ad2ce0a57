"""Sending a file that may be replaced or cut meanwhile, without having it in memory."""

from __future__ import annotations

import io
import os
import ssl
from socket import socket

_CHUNK = 1 << 18


def tag_of(found: os.stat_result) -> str:
    """An entity tag: files are replaced and never changed, so inode and time tell them apart."""
    return f'"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"'


def send(connection: socket, file: io.FileIO, first: int, count: int) -> bool:
    """Sends a part of a file; each piece has the connection's timeout.

    Args:
      connection: after the head of the answer.
      file: a plain one.
      first, count: the bytes to be sent.

    Returns:
      Whether they were there.
    """
    if not isinstance(connection, ssl.SSLSocket):
        return connection.sendfile(file, first, count) == count
    file.seek(first)
    while count and (part := file.read(min(_CHUNK, count))):
        connection.sendall(part)
        count -= len(part)
    return not count
