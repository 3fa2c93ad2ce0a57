"""A server and a client in processes of their own, and what each of them took."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from encoding.memory import resident

from relayjax import files, weights
from relayjax.identity import Keys
from relayjax.peers import handover, parcel
from relayjax.peers.collecting import collect, fetch_head
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.held import Held
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import serving
from relayjax.peers.sending import Parcel
from relayjax.peers.stepping import put_step

ORDERER, TRAINER = (Keys.derive(name, b"transfer") for name in ("v0", "p0"))
SECRET = b"benchmark of transfers, no secret"
PLAIN, ROUND = "store/plain", 2
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Taken:
    """What a call took.

    Attributes:
      seconds: until it had everything.
      client, server: memory of each process at its peak beyond what it had before, bytes.
      cpu: seconds that the threads of both processes computed, in the system's calls, too.
    """

    seconds: float
    client: int
    server: int
    cpu: float


def prepare(folder: Path, size: int) -> tuple[dict[str, float], float]:
    """Puts a model of `size` parameters there: in plain, as a parcel in round 2, as a step from round 1's.

    Returns:
      Seconds to seal the parcel and to make the step, by name; the step's bytes over the parcel's.
    """
    base, moved = weights.empty(size), np.empty(size, np.float32)
    rng = np.random.default_rng(0)
    rng.standard_normal(dtype=np.float32, out=base)
    rng.standard_normal(dtype=np.float32, out=moved)
    moved *= 1e-3
    np.add(base, moved, out=moved)  # as after a leg
    exchange, to = FolderExchange(folder), [ORDERER.public.receiving, TRAINER.public.receiving]
    files.write_atomic(folder / PLAIN, weights.as_bytes(moved))
    (folder / "digests").write_text(f"{weights.digest(base)} {weights.digest(moved)}")
    Parcel(handover.parent(1, 1), weights.as_bytes(base), SECRET, to).put(exchange)
    begin = time.perf_counter()
    sent = Parcel(handover.parent(ROUND, 2), weights.as_bytes(moved), SECRET, to)
    sent.put(exchange)
    sealed = time.perf_counter()
    old, path = weights.digest(base), handover.step(ROUND, weights.digest(base), 2)
    if not put_step(
        exchange, ORDERER, handover.parent(1, 1), old, path, sent.head, weights.as_bytes(moved), to
    ):
        raise RuntimeError("this step should be smaller than the model")
    stepped = time.perf_counter()

    def total(path: str) -> int:
        names = [path, *(parcel.piece_path(path, number) for number in range(sent.head.pieces))]
        return sum((folder / name).stat().st_size for name in names)

    figures = {"seal and put, flushed": sealed - begin, "make and put a step, flushed": stepped - sealed}
    return figures, total(path) / total(sent.path)


@contextmanager
def line(folder: Path, own: Path, size: int) -> Iterator[Callable[[str], Taken]]:
    """A served folder and a client that fetches from it in one of the ways of `Client.ways`."""
    spawn = multiprocessing.get_context("spawn")
    server, server_end = spawn.Pipe()
    client, client_end = spawn.Pipe()
    processes = [spawn.Process(target=_serve, args=(folder, server_end), daemon=True)]
    processes[0].start()
    port = server.recv()
    processes.append(spawn.Process(target=_fetch, args=(folder, own, size, port, client_end), daemon=True))
    processes[1].start()

    def call(way: str) -> Taken:
        os.sync()
        server.send("reset")
        server.recv()
        client.send(way)
        seconds, used, client_cpu = client.recv()
        if isinstance(used, str):
            raise RuntimeError(f"{way}: {used}")
        server.send("peak")
        peak, server_cpu = server.recv()
        return Taken(seconds, used, peak, client_cpu + server_cpu)

    try:
        yield call
    finally:
        client.send("")
        server.send("")
        for process in processes:
            process.join(10)
            process.kill()


def _serve(folder: Path, orders: Connection) -> None:
    with serving(RelayServer(("127.0.0.1", 0), folder, lambda: Awaited({}, 0))) as server:
        orders.send(server.server_address[1])
        before, begin = 0, 0.0
        while order := orders.recv():
            if order == "reset":
                before, begin = resident(reset=True), time.process_time()
            orders.send((resident() - before, time.process_time() - begin))


def _fetch(folder: Path, own: Path, size: int, port: int, orders: Connection) -> None:
    client = Client(folder, own, size, port)
    while way := orders.recv():
        prepared = client.ways[way]
        prepared.before()
        client.touch()
        before, begin, computed = resident(reset=True), time.perf_counter(), _cpu()
        found = prepared.call()
        seconds, computed = time.perf_counter() - begin, _cpu() - computed
        used: int | str = resident() - before
        if isinstance(found, np.ndarray) and weights.digest(found) != client.digest:
            used = "the weights are other ones"
        del found
        orders.send((seconds, used, computed))


@dataclass(frozen=True)
class Way:
    """A way to fetch, and what has to be so before."""

    before: Callable[[], object]
    call: Callable[[], object]


class Client:
    """Fetches a model."""

    def __init__(self, folder: Path, own: Path, size: int, port: int):
        self._own, self._size, self._port = own, size, port
        self._base, self.digest = (folder / "digests").read_text().split()
        self._exchange = HttpExchange(f"http://127.0.0.1:{port}")
        self._held = Held(own / "held", self._exchange, TRAINER)
        empty = self._forget
        self.ways = {
            "plain, to memory": Way(empty, self._plain_to_memory),
            "plain, to a file": Way(empty, self._plain_to_file),
            "plain, to a file, flushed": Way(empty, lambda: self._plain_to_file(flushed=True)),
            "sealed, to memory": Way(empty, self._sealed_to_memory),
            "sealed, held": Way(empty, self._sealed_and_held),
            "step, held": Way(self._hold_base, self._sealed_and_held),
            "held already": Way(self._hold_newest, self._sealed_and_held),
        }
        if shutil.which("curl"):
            self.ways["curl, to a file"] = Way(empty, self._curl)

    def touch(self) -> None:
        """Takes memory and gives it back: the host of a virtual machine takes what lies free for a while."""
        np.ones(3 * self._size, np.float32)

    def _forget(self) -> None:
        files.remove_tree(self._own / "held")
        (self._own / "plain").unlink(missing_ok=True)

    def _hold_base(self) -> None:
        self._forget()
        if self._held.take(1, 1, self._base, self._size) is None:
            raise RuntimeError("the base is not there")

    def _hold_newest(self) -> None:
        self._forget()
        self._sealed_and_held()

    def _sealed_and_held(self) -> np.ndarray:
        found = self._held.take(ROUND, 2, self.digest, self._size)
        if found is None:
            raise RuntimeError("the version is not there")
        return found

    def _sealed_to_memory(self) -> np.ndarray:
        path = handover.parent(ROUND, 2)
        found = fetch_head(self._exchange, path, TRAINER, 4 * self._size)
        theta = weights.empty(self._size)
        if found is None or found.head.digest != self.digest:
            raise RuntimeError("the version is not there")
        if collect(self._exchange, path, found.head, theta.data.cast("B"), range(found.head.pieces)):
            raise RuntimeError("pieces are missing")
        return theta

    def _plain(self) -> tuple[socket.socket, bytes, int]:
        """A connection after the head of an answer, the bytes that came with it, and those still to come."""
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.sendall(f"GET /{PLAIN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4_096)
        body = head.partition(b"\r\n\r\n")[2]
        return connection, body, 4 * self._size - len(body)

    def _plain_to_memory(self) -> np.ndarray:
        theta = weights.empty(self._size)
        target = theta.data.cast("B")
        connection, body, _ = self._plain()
        with connection:
            target[: len(body)] = body
            target = target[len(body) :]
            while target:
                target = target[connection.recv_into(target[:_BLOCK]) :]
        return theta

    def _plain_to_file(self, flushed: bool = False) -> None:
        connection, body, left = self._plain()
        buffer = memoryview(bytearray(_BLOCK))
        with connection, open(self._own / "plain", "wb", buffering=0) as file:
            file.write(body)
            while left:
                count = connection.recv_into(buffer[: min(left, _BLOCK)])
                left -= file.write(buffer[:count])
            if flushed:
                os.fsync(file.fileno())

    def _curl(self) -> None:
        address = f"http://127.0.0.1:{self._port}/{PLAIN}"
        subprocess.run(["curl", "-sfo", self._own / "plain", address], check=True)


def _cpu() -> float:
    """Seconds computed by this process and by those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
