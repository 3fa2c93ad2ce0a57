"""How fast the ledger is: durable appends, verification of all of it, proofs from its files.

    python benchmarks/ledger.py [--entries=N] [--json=FILE] [--directory=DIR]

appends   entries a second that are durable, signatures and chain made before, in batches of several sizes;
          the median of several runs.
verify    seconds for `verify_log` with two processes: every bit of every file, the tree, the chain, the
          signature of each record. Where others use the machine, too, CPU seconds tell more; beside them,
          what as many bare Ed25519 verifications take. Memory is the peak resident set of each process.
proofs    milliseconds for an inclusion proof from the files of the log, nothing cached by us, and for
          verifying it; over random entries.

A log of a million entries takes some minutes to sign; with --directory it is kept there for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from encoding.memory import resident

from relayjax import records
from relayjax.identity import Keys, sign
from relayjax.ledger import Log, verify_log
from relayjax.ledger.disk import read_checkpoint
from relayjax.ledger.entry import FIRST_PREV, Entry, digest
from relayjax.ledger.merkle import verify_inclusion
from relayjax.ledger.tiled import TileReader
from relayjax.records import Commit, Join

ORIGIN = "relay.example/benchmark"
BATCHES = (16, 64, 256, 1024)
MEMBERS = 12
WORKERS = 2
REPEATS = 5
SIGNATURES = 10_000
PROOFS = 400
_LOG = Keys.derive("log", b"benchmark")
_MEMBERS = [Keys.derive(f"p{i}", b"benchmark") for i in range(MEMBERS)]


def entries(count: int) -> Iterator[bytes]:
    """Yields chained entries: members join, then commit, one after the other."""
    prev = FIRST_PREV
    for index in range(count):
        keys = _MEMBERS[index % MEMBERS]
        if index < MEMBERS:
            record = Join(keys.name, "trainer", keys.public.signing, keys.public.receiving)
        else:
            record = Commit(keys.name, index // MEMBERS, blake3(b"%d" % index).hexdigest())
        entry = Entry(index, prev, sign(records.encode(record), keys)).encode()
        prev = digest(entry)
        yield entry


def appends(directory: Path, batch: int, repeats: int) -> dict[str, float]:
    """Entries a second, and milliseconds a batch, that are durable when `append` returns."""
    made = list(entries(max(512, 4 * batch)))
    speeds: list[float] = []
    for repeat in range(repeats):
        log = Log.create(directory / f"{batch}-{repeat}", ORIGIN, _LOG)
        start = time.perf_counter()
        for first in range(0, len(made), batch):
            log.append(made[first : first + batch], _LOG)
        speeds.append(len(made) / (time.perf_counter() - start))
    return {
        "entries a second": statistics.median(speeds),
        "slowest": min(speeds),
        "fastest": max(speeds),
        "ms a batch": 1e3 * batch / statistics.median(speeds),
    }


def build(path: Path, count: int) -> None:
    """Writes a log of so many entries, unless it is there."""
    if (path / "checkpoint").exists():
        return
    log, waiting = Log.create(path, ORIGIN, _LOG), []
    for entry in entries(count):
        waiting.append(entry)
        if len(waiting) == 8192:
            log.append(waiting, _LOG)
            waiting = []
    log.append(waiting, _LOG)


def verify(path: Path, workers: int) -> dict[str, float]:
    """Seconds for verifying a log in processes of its own, and their peak memory."""
    code = f"import benchmarks.ledger as b; b.verify_here({str(path)!r}, {workers})"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def verify_here(path: str, workers: int) -> None:
    """Verifies a log and prints what that took as JSON."""
    start = time.perf_counter()
    verify_log(Path(path), ORIGIN, _LOG.public, workers=workers)
    seconds = time.perf_counter() - start
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    signature, key = (
        _LOG.sign(path.encode()),
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(_LOG.public.signing)),
    )
    start = time.process_time()
    for _ in range(SIGNATURES):
        key.verify(signature, path.encode())
    _, checkpoint = read_checkpoint(Path(path), ORIGIN, _LOG.public.signing)
    figures = {
        "seconds": seconds,
        "CPU seconds": sum(usage.ru_utime + usage.ru_stime for usage in (own, children)),
        "of them for signatures": (time.process_time() - start) / SIGNATURES * checkpoint.size,
        "MiB": resident() / 2**20,
        "MiB of a worker": children.ru_maxrss / 1024,
    }
    print(json.dumps(figures))


def proofs(path: Path, count: int) -> dict[str, float]:
    """Milliseconds for inclusion proofs from the files, and for verifying them."""
    _, checkpoint = read_checkpoint(path, ORIGIN, _LOG.public.signing)
    chosen = random.Random(0).choices(range(checkpoint.size), k=count)
    proving: list[float] = []
    verifying: list[float] = []
    for index in chosen:
        start = time.perf_counter()
        reader = TileReader(lambda name: (path / name).read_bytes(), checkpoint.size)
        proof = reader.prove_inclusion(index)
        proving.append(1e3 * (time.perf_counter() - start))
        leaf = reader.node(0, index)
        start = time.perf_counter()
        verify_inclusion(leaf, index, checkpoint.size, proof, checkpoint.root)
        verifying.append(1e3 * (time.perf_counter() - start))
    return {
        "ms to prove": statistics.median(proving),
        "slowest": max(proving),
        "ms to verify": statistics.median(verifying),
    }


def main() -> None:
    """Measures, prints tables and, if asked, writes the figures."""
    parser = argparse.ArgumentParser(description="Speed of the ledger.")
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the log that is verified")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--directory", type=Path, help="keep the log there, or take it from there")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        path = (options.directory or Path(temporary)) / f"log-{options.entries}"
        build(path, options.entries)
        figures = {
            "appends": {str(batch): appends(Path(temporary), batch, REPEATS) for batch in BATCHES},
            "verify": {str(WORKERS): verify(path, WORKERS)},
            "proofs": {str(options.entries): proofs(path, PROOFS)},
        }
    titles = {"appends": "batch", "verify": "workers", "proofs": "entries"}
    for name, rows in figures.items():
        table = Table(titles[name], *next(iter(rows.values())), title=name)
        for first, row in rows.items():
            table.add_row(first, *(f"{value:,.2f}" for value in row.values()))
        Console().print(table)
    if options.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        result = {"machine": machine, "load average": load, "entries": options.entries, "figures": figures}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
