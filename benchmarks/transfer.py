"""How fast a model moves over HTTP, sealed and verified, beside plain HTTP; and where a relay's time goes.

    python benchmarks/transfer.py                          # 64 MB, and a relay of 10 participants
    python benchmarks/transfer.py --size=400000000 --participants=50 --json=transfer.json

A folder is served over loopback by one process, another one fetches from it. Gigabytes a second: medians of
calls that take turns, each after a `sync`, ± half the range between quartiles; what is served lies in the
page cache. `cpu` is what both processes computed, so it hangs less on what else the machine does. Memory: the
largest resident set of a call beyond what the process had before it. Before each call the client takes more
memory than any of them needs, and gives it back: of a virtual machine's first touch none shall suffer more.

plain, to memory        one file, unsealed, by the same server; a loop over a raw socket into the vector
plain, to a file        the same loop, written a MiB at a time; flushed: and fsync; curl: by that tool
sealed, to memory       a parcel: opened, every chunk held against the digest, in the vector
sealed, held            the same as a trainer does it: it keeps the sealed pieces, not flushed, too
step, held              the same where it holds the version before: one lossless difference moves
held already            the same where it has been given this very version before: nothing moves

Ciphers: what one thread does on pieces of 16 MiB, and two threads together.

A relay of a tiny model (digits, one hidden layer of 8) with many participants in this process over a folder,
all through the code that separate members run: seconds by phase, and by what they went to; what was compiled
once is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from threading import Thread

import pyrage
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from moving import relay
from moving.line import TRAINER, Taken, line, prepare

from relayjax import hashing
from relayjax.store.manifest import PIECE

WAYS = ("plain, to memory", "plain, to a file", "plain, to a file, flushed", "curl, to a file")
WAYS += ("sealed, to memory", "sealed, held", "step, held", "held already")

SHARE = "bytes over the parcel's"


def moved(size: int, rounds: int, directory: str | None) -> dict[str, dict[str, float]]:
    """Measures all ways on a model of `size` bytes; returns figures by way."""
    taken: dict[str, list[Taken]] = {}
    with tempfile.TemporaryDirectory(dir=directory) as base:
        folder, own = Path(base) / "relay", Path(base) / "own"
        own.mkdir()
        seconds, share = prepare(folder, size // 4)
        with line(folder, own, size // 4) as call:
            for number in range(-1, rounds):  # the first one warms up
                for way in WAYS:
                    if way.startswith("curl") and not _has_curl():
                        continue
                    found = call(way)
                    if number >= 0:
                        taken.setdefault(way, []).append(found)
    figures = {way: _figures(size, calls) for way, calls in taken.items()}
    figures |= {name: {"GB/s": size / time / 1e9} for name, time in seconds.items()}
    figures["step, held"][SHARE] = share
    return figures


def _figures(size: int, calls: list[Taken]) -> dict[str, float]:
    times = sorted(call.seconds for call in calls)
    middle = median(times)
    spread = (times[3 * len(times) // 4] - times[len(times) // 4]) / 2
    return {
        "GB/s": size / middle / 1e9,
        "spread": size / middle / 1e9 * spread / middle,
        "best": size / times[0] / 1e9,
        "cpu s/GB": median(call.cpu for call in calls) / size * 1e9,
        "client MiB": max(call.client for call in calls) / 2**20,
        "server MiB": max(call.server for call in calls) / 2**20,
    }


def ciphers() -> dict[str, dict[str, float]]:
    """What seals, opens and hashes a piece, GB/s: one thread, and two of them together."""
    data = os.urandom(PIECE)
    cipher, nonce, target = AESGCM(bytes(32)), bytes(12), bytearray(PIECE)
    sealed, aged = cipher.encrypt(nonce, data, None), pyrage.encrypt(data, [TRAINER.receiving.to_public()])
    calls: dict[str, Callable[[], object]] = {
        "age package, seal": lambda: pyrage.encrypt(data, [TRAINER.receiving.to_public()]),
        "age package, open": lambda: pyrage.decrypt(aged, [TRAINER.receiving]),
        "AES-256-GCM of OpenSSL, seal": lambda: cipher.encrypt(nonce, data, None),
        "AES-256-GCM of OpenSSL, open": lambda: cipher.decrypt_into(nonce, sealed, None, target),
        "digests of chunks": lambda: hashing.chunk_digests(data),
    }
    return {name: {"one": _speed(call, 1), "two": _speed(call, 2)} for name, call in calls.items()}


def _speed(call: Callable[[], object], count: int) -> float:
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        threads = [Thread(target=call) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        times.append(time.perf_counter() - begin)
    return count * PIECE / median(times) / 1e9


def _has_curl() -> bool:
    from shutil import which

    return which("curl") is not None


def show(size: int, figures: dict[str, dict[str, float]], machine: str) -> None:
    """Prints how the model moved."""
    columns = ("best", "cpu s/GB", "client MiB", "server MiB")
    heads = ("GB/s", "× plain, to memory", "× plain, to a file", *columns)
    table = Table("", *heads, title=f"{size / 1e6:g} MB over HTTP on {machine}")
    for way, row in figures.items():
        cells = [f"{row['GB/s']:.3g}" + (f" ± {row['spread']:.2g}" if "spread" in row else "")]
        for other in ("plain, to memory", "plain, to a file"):
            cells.append(f"{row['GB/s'] / figures[other]['GB/s']:.2f}")
        cells += [f"{row[name]:.3g}" if name in row else "" for name in columns]
        table.add_row(way, *cells)
    Console(width=150).print(table)
    print(f"the step has {figures['step, held'][SHARE]:.2f} of the parcel's bytes")


def main() -> None:
    """Measures, prints tables and, if asked, writes the figures."""
    parser = argparse.ArgumentParser(description="Speed of large transfers, and where a relay's time goes.")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--size", type=int, default=64_000_000, help="bytes of the model")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each way that are timed")
    parser.add_argument("--participants", type=int, default=10, help="of the relay; 0 for none")
    parser.add_argument("--directory", help="on the disk to measure; a temporary one by default")
    options = parser.parse_args()
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {load}"
    content: dict[str, object] = {"machine": machine, "bytes": options.size}
    speeds = ciphers()
    table = Table("GB/s", "one thread", "two threads", title=f"pieces of 16 MiB on {machine}")
    for name, row in speeds.items():
        table.add_row(name, f"{row['one']:.2f}", f"{row['two']:.2f}")
    Console(width=150).print(table)
    figures = moved(options.size, options.rounds, options.directory)
    show(options.size, figures, machine)
    content |= {"ciphers": _rounded(speeds), "figures": _rounded(figures)}
    if options.participants:
        found = relay.measure(options.participants, options.directory)
        relay.show(found, f"{options.participants} participants on {machine}")
        content["relay"] = {"participants": options.participants, **found.rounded()}
    if options.json:
        options.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _rounded(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        label: {name: float(f"{value:.4g}") for name, value in row.items()} for label, row in rows.items()
    }


if __name__ == "__main__":
    main()
