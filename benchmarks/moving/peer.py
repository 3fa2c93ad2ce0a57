"""How a model moves over iroh beside HTTP: the same folder, the same requests, on loopback.

    cd benchmarks; python -m moving.peer --size=400000000 --rounds=5

One process serves the folder over both, another one fetches; calls take turns, each after a `sync`. GB/s are
medians ± half the range between quartiles; CPU is what both processes computed.

plain    one file, unsealed, into memory      sealed   a parcel, opened, every chunk held against its digest
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from moving.line import ORDERER, PLAIN, ROUND, SECRET, TRAINER, Taken
from relayjax import files, weights
from relayjax.peers import handover
from relayjax.peers.collecting import collect, fetch_head
from relayjax.peers.exchange import Exchange, FolderExchange, fetch_into
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_serving import Served, serving
from relayjax.peers.p2p_serving import ServedToPeers
from relayjax.peers.places import exchange_at
from relayjax.peers.sending import Parcel

LINES, WAYS = ("http", "iroh"), ("plain", "sealed")


def measure(size: int, rounds: int, directory: str | None = None) -> dict[str, list[Taken]]:
    """Moves a model of `size` bytes in each way over each line, `rounds` times after one that warms up."""
    spawn, taken = multiprocessing.get_context("spawn"), dict[str, list[Taken]]()
    with tempfile.TemporaryDirectory(dir=directory) as base:
        _prepare(Path(base), size // 4)
        ends, others = zip(*(spawn.Pipe() for _ in range(2)), strict=True)
        processes = [spawn.Process(target=_serve, args=(Path(base), others[0]), daemon=True)]
        processes[0].start()
        places = ends[0].recv()
        processes.append(spawn.Process(target=_fetch, args=(places, size, others[1]), daemon=True))
        processes[1].start()
        try:
            for number in range(-1, rounds):
                for line in LINES:
                    for way in WAYS:
                        os.sync()
                        found = _call(ends[0], ends[1], line, way)
                        if number >= 0:
                            taken.setdefault(f"{way}, {line}", []).append(found)
        finally:
            for end, process in zip(ends, processes, strict=True):
                end.send(None)
                process.join(10)
                process.kill()
    return taken


def _call(server: Connection, client: Connection, line: str, way: str) -> Taken:
    server.send("")
    before = server.recv()
    client.send((line, way))
    seconds, computed = client.recv()
    server.send("")
    return Taken(seconds, 0, 0, computed + server.recv() - before)


def _prepare(folder: Path, parameters: int) -> None:
    theta = weights.empty(parameters)
    np.random.default_rng(0).standard_normal(dtype=np.float32, out=theta)
    files.write_atomic(folder / PLAIN, weights.as_bytes(theta))
    to = [ORDERER.public.receiving, TRAINER.public.receiving]
    Parcel(handover.parent(ROUND, 2), weights.as_bytes(theta), SECRET, to).put(FolderExchange(folder))


def _serve(folder: Path, orders: Connection) -> None:
    told, awaited = list[str](), lambda: Awaited({}, 0)
    http = Served("127.0.0.1:0").open(folder, awaited, told.append)
    iroh = ServedToPeers("iroh:127.0.0.1:0", home=folder / "home").open(folder, awaited, told.append)
    with serving(http), serving(iroh):
        orders.send([line.split()[1] for line in told])
        while orders.recv() is not None:
            orders.send(time.process_time())


def _fetch(places: list[str], size: int, orders: Connection) -> None:
    exchanges = dict(zip(LINES, map(exchange_at, places), strict=True))
    theta = weights.empty(size // 4)
    theta[:] = 1  # its pages are there before the clock runs
    target = theta.data.cast("B")
    while order := orders.recv():
        line, way = order
        begin, computed = time.perf_counter(), time.process_time()
        (_plain if way == "plain" else _sealed)(exchanges[line], target)
        orders.send((time.perf_counter() - begin, time.process_time() - computed))


def _plain(exchange: Exchange, target: memoryview) -> None:
    if fetch_into(exchange, PLAIN, target) != len(target):
        raise RuntimeError("the file is not there")


def _sealed(exchange: Exchange, target: memoryview) -> None:
    path = handover.parent(ROUND, 2)
    found = fetch_head(exchange, path, TRAINER, len(target))
    if found is None or collect(exchange, path, found.head, target, range(found.head.pieces)):
        raise RuntimeError("the version is not there")


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description="A model over iroh beside HTTP.")
    parser.add_argument("--size", type=int, default=64_000_000, help="bytes of the model")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each way that are timed")
    parser.add_argument("--directory", help="on the disk to measure; a temporary one by default")
    options = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"
    taken = measure(options.size, options.rounds, options.directory)
    title = f"{options.size / 1e6:g} MB on {machine}, {os.getloadavg()[0]:.1f} at the end"
    table = Table("", "GB/s", "best", "cpu s/GB", title=title)
    for name, calls in taken.items():
        times = sorted(call.seconds for call in calls)
        speed = options.size / 1e9 / median(times)
        spread = speed * (times[3 * len(times) // 4] - times[len(times) // 4]) / 2 / median(times)
        cpu = median(call.cpu for call in calls) / options.size * 1e9
        table.add_row(
            name, f"{speed:.3g} ± {spread:.2g}", f"{options.size / 1e9 / times[0]:.3g}", f"{cpu:.2f}"
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
