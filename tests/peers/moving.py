"""One end of a large transfer in a process of its own; says how much memory it took beyond what it had.

python -m peers.moving seal FOLDER       seals a version into the folder, from memory
python -m peers.moving serve FOLDER      serves it, and takes a delta, until a line comes in
python -m peers.moving take PORT FOLDER  takes the version, as a trainer does
python -m peers.moving send PORT         sends the delta
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from relayjax import weights
from relayjax.hashing import CHUNK
from relayjax.identity import Keys
from relayjax.peers import handover, parcel
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.held import Held
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import serving
from relayjax.peers.sending import Parcel
from relayjax.peers.uploads import Occasion, Signer

SIZE = 16 * CHUNK
"""Parameters: 64 MiB."""

DELTA = 2 * SIZE
"""Bytes of the delta: 32 MiB."""

ORDERER, TRAINER = (Keys.derive(name, b"moving") for name in ("v0", "p0"))
TO = [ORDERER.public.receiving, TRAINER.public.receiving]
SECRET = b"s" * 32
OCCASION = Occasion("a run", ORDERER.public.receiving)


def peak(reset: bool = False) -> int:
    """The largest resident set since the last reset, bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def measured(call: Callable[[], object]) -> None:
    """Prints the bytes that a call takes at its peak."""
    before = peak(reset=True)
    call()
    print(peak() - before, flush=True)


def version() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SIZE, dtype=np.float32)


def delta() -> bytes:
    return np.random.default_rng(1).bytes(DELTA)


def seal(folder: str) -> None:
    theta, path = version(), handover.parent(1, 1)
    measured(lambda: Parcel(path, weights.as_bytes(theta), SECRET, TO).put(FolderExchange(Path(folder))))


def serve(folder: str) -> None:
    awaited = Awaited({handover.delta(1, "p0"): TRAINER.public}, DELTA, OCCASION)
    with serving(RelayServer(("127.0.0.1", 0), Path(folder), lambda: awaited)) as server:
        print(server.server_address[1], flush=True)
        measured(sys.stdin.readline)


def take(port: str, folder: str) -> None:
    digest = weights.digest(version())
    held = Held(Path(folder), HttpExchange(f"http://127.0.0.1:{port}"), TRAINER)

    def call() -> None:
        found = held.take(1, 1, digest, SIZE)
        assert found is not None and weights.digest(found) == digest

    measured(call)


def send(port: str) -> None:
    sent = Parcel(handover.delta(1, "p0"), delta(), SECRET, TO)
    exchange = HttpExchange(f"http://127.0.0.1:{port}")
    exchange.signer = Signer(TRAINER, OCCASION)
    measured(lambda: sent.put(exchange))


if __name__ == "__main__":
    parcel.PIECE = CHUNK
    {"seal": seal, "serve": serve, "take": take, "send": send}[sys.argv[1]](*sys.argv[2:])
