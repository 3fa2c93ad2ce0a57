"""What anybody may send to a witness: requests to cosign, and whatever else a socket carries."""

from __future__ import annotations

import contextlib
import functools
import socket
from threading import Thread

from fuzz.ledger_targets import COSIGNER, LOG, NOTE, ORIGIN, TREE
from fuzz.target import KEYS, Target, folder

from relayjax.errors import FormatError
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.note import sign_note
from relayjax.ledger.witness import Refusal, Request
from relayjax.ledger.witness_server import WitnessServer
from relayjax.ledger.witness_store import Witness

_BUFFERED = 8_192
"""Bytes that a socket takes without anybody reading."""


@functools.cache
def _server() -> WitnessServer:
    """One that has cosigned size 3 already; port 0 is any free one, on which nobody calls."""
    directory = folder()
    witness = Witness(directory, "witness.example/w1", COSIGNER, [LOG], lambda: 1_700_000_000.0)
    witness.add_checkpoint(_body(0, 3))
    return WitnessServer(("127.0.0.1", 0), witness)


def _body(old: int, size: int) -> bytes:
    proof = tuple(TREE.prove_consistency(old, size)) if old else ()
    return Request(old, proof, sign_checkpoint(Checkpoint(ORIGIN, size, TREE.root(size)), KEYS)).encode()


def _cosign(data: bytes) -> None:
    """A request as it came, and one whose checkpoint a log has signed that is not to be trusted."""
    head, _, text = data.partition(b"\n\n")
    bodies = [data]
    with contextlib.suppress(FormatError, UnicodeDecodeError):
        bodies.append(head + b"\n\n" + sign_note(text.decode().partition("\n\n")[0] + "\n", ORIGIN, KEYS))
    witness = _server().witness
    last = dict(witness._last)
    for body in bodies:
        try:
            witness.add_checkpoint(body)
        except Refusal as refusal:
            assert 400 <= refusal.status < 500
        witness._last.update(last)  # each request finds it as the first one did


def _serve(data: bytes) -> None:
    """All that a connection carries until the sender closes it; short answers stay unread."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if len(data) <= _BUFFERED:
            ours.sendall(data)
            ours.shutdown(socket.SHUT_WR)
        else:
            for talk in (_send, _hear):
                Thread(target=talk, args=(ours, data), daemon=True).start()
        with contextlib.suppress(ConnectionError):
            _server().finish_request(theirs, ("test", 0))


def _send(ours: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # it may close on us, as it should
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)


def _hear(ours: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while ours.recv(1 << 16):
            pass


def _http(path: str, body: bytes = b"", method: str = "POST") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: w\r\n{length}\r\n".encode() + body


TARGETS = [
    Target("cosign", _cosign, lambda: [_body(3, 3), _body(3, 9), _body(0, 3), Request(3, (), NOTE).encode()]),
    Target(
        "http",
        _serve,
        lambda: [
            _http("/add-checkpoint", _body(3, 3)),
            _http("/" + "0" * 64 + "/checkpoint", method="GET"),
            _http("/add-checkpoint", b"old 0\n\n") + _http("/", method="GET"),
        ],
    ),
]
