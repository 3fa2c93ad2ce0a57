"""How fast artefacts and records are hashed, beside memcpy, the plain wheel and SHA-256 in the same run.

    python benchmarks/hashing.py                                  # to 64 MB, a minute
    python benchmarks/hashing.py --largest=1000000000 --json=hashing.json --plot=hashing.png   # 3 GB of RAM

One artefact: gigabytes a second, medians of calls that take turns, and the best of them. `copy` is memcpy,
from 8 MB on with two threads; `read` only looks at each value. `wheel` is the `blake3` package as it comes,
with one thread or with as many as it likes; `chunks` is `relayjax.hashing`.

Many records: microseconds for each. `wheel` calls the package in a loop, `batch` is
`relayjax.kernels.digests` over records that lie in one buffer as in a bundle of the log, `batch, joined` over
a list that has to be joined first. `replay` checks a chain of such records as the ledger does, without
signatures; hashing is a part of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from blake3 import blake3
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from encoding import plot, subjects
from encoding.clock import Call, seconds

from relayjax import hashing, records
from relayjax.identity import Keys, sign
from relayjax.kernels import digests
from relayjax.ledger.entry import chain, verify_chain
from relayjax.records import Commit

SIZES = (1_000, 10_000, 100_000, 1_000_000, 8_000_000, 64_000_000, 400_000_000, 1_000_000_000)
RECORDS = 20_000
PANELS = {
    "one artefact": {
        "memcpy": "copy",
        "chunks": "chunks",
        "wheel, one thread": "wheel",
        "wheel, its own threads": "wheel, its own threads",
        "SHA-256": "sha256",
        "reading": "read",
    }
}


def artefact(size: int, budget: float) -> dict[str, float]:
    """Measures one artefact of so many bytes.

    Returns:
      Gigabytes a second, by name; as `NAME spread` half the range between quartiles in the same unit.
    """
    numbers = np.random.default_rng(0).standard_normal(size // 4, np.float32)
    data = numbers.data.cast("B")
    calls: dict[str, Call] = {
        **subjects.memory(numbers, np.zeros_like(numbers)),
        "chunks": partial(hashing.digest, data),
        "wheel": lambda: blake3(data).digest(),
        "wheel, its own threads": lambda: blake3(data, max_threads=blake3.AUTO).digest(),
        "sha256": lambda: hashlib.sha256(data).digest(),
    }
    figures: dict[str, float] = {}
    for name, (time, spread, best) in seconds(calls, budget).items():
        figures[name] = size / time / 1e9
        figures[f"{name} spread"] = figures[name] * spread / time
        figures[f"{name} best"] = size / best / 1e9
    return figures


def many(lengths: np.ndarray, budget: float) -> dict[str, float]:
    """Measures records of these lengths in bytes; returns microseconds for each, spreads as in `artefact`."""
    data = np.random.default_rng(0).integers(0, 256, int(lengths.sum()), np.uint8)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    messages = [data[a:b].tobytes() for a, b in pairwise(bounds)]
    out = np.zeros((lengths.size, 32), np.uint8)
    digests.digests(data, bounds, out)
    if [row.tobytes() for row in out] != [blake3(message).digest() for message in messages]:
        raise SystemExit("the batch gives other digests than the wheel")
    calls: dict[str, Call] = {
        "wheel": lambda: [blake3(message).digest() for message in messages],
        "batch": partial(digests.digests, data, bounds, out),
        "batch, joined": lambda: digests.digests(np.frombuffer(b"".join(messages), np.uint8), bounds, out),
        "sha256": lambda: [hashlib.sha256(message).digest() for message in messages],
    }
    return _microseconds(calls, lengths.size, budget)


def replay(budget: float, count: int = 2_000) -> dict[str, float]:
    """Measures what hashing is of the check of a chain; microseconds for each entry, and bytes of one."""
    keys = Keys.derive("p0", b"benchmark")
    envelopes = [sign(records.encode(Commit("p0", number + 1, "ab" * 32)), keys) for number in range(count)]
    entries = chain(envelopes)
    calls: dict[str, Call] = {
        "replay": lambda: verify_chain(entries),
        "wheel": lambda: [blake3(entry).hexdigest() for entry in entries],
    }
    return {"bytes": sum(map(len, entries)) / count, **_microseconds(calls, count, budget)}


def _microseconds(calls: dict[str, Call], count: int, budget: float) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, (time, spread, _) in seconds(calls, budget).items():
        figures[name] = time / count * 1e6
        figures[f"{name} spread"] = spread / count * 1e6
    return figures


def show(figures: dict[int, dict[str, float]], small: dict[str, dict[str, float]], title: str) -> None:
    """Prints both tables: speeds, at the largest size also against the copy and one thread of the wheel."""
    relatives = ("× copy", "× wheel", "best × wheel")
    table = Table("", *(f"{size / 1e6:g} MB" for size in figures), *relatives, title=f"GB/s {title}")
    largest = figures[max(figures)]
    for name in (name for name in largest if not name.endswith((" spread", " best"))):
        relative = [largest[name] / largest[other] for other in ("copy", "wheel")]
        relative.append(largest[f"{name} best"] / largest["wheel best"])
        cells = (*(row[name] for row in figures.values()), *relative)
        table.add_row(name, *(f"{cell:.2f}" for cell in cells))
    Console(width=150).print(table)
    names = ("wheel", "batch", "batch, joined", "sha256", "replay")
    table = Table("µs a record", *names, "wheel / batch", title=title)
    for label, row in small.items():
        cells = (f"{row[name]:.2f} ± {row[f'{name} spread']:.2f}" if name in row else "" for name in names)
        table.add_row(label, *cells, f"{row['wheel'] / row['batch']:.2f}" if "batch" in row else "")
    Console(width=150).print(table)


def main() -> None:
    """Measures, prints tables and, if asked, writes the figures and draws them."""
    parser = argparse.ArgumentParser(description="Speed of hashing.")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw throughput over size into this PNG")
    parser.add_argument("--largest", type=int, default=64_000_000, help="skip sizes of more bytes")
    parser.add_argument("--budget", type=float, default=5.0, help="seconds for a size, about")
    options = parser.parse_args()
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {load}"
    rng = np.random.default_rng(1)
    small = {
        "320 B": many(np.full(RECORDS, 320), options.budget),
        "200–500 B": many(rng.integers(200, 501, RECORDS), options.budget),
        "1–4 kB": many(rng.integers(1_000, 4_001, RECORDS // 10), options.budget),
        "log entries": replay(options.budget),
    }
    figures = {size: artefact(size, options.budget) for size in SIZES if size <= options.largest}
    show(figures, small, f"on {machine}")
    if options.json:
        kept = {str(size): _rounded(row) for size, row in figures.items()}
        records_kept = {label: _rounded(row) for label, row in small.items()}
        content = {"machine": machine, "figures": kept, "microseconds a record": records_kept}
        options.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    if options.plot:
        plot.draw(figures, machine, options.plot, PANELS, peers=("wheel", "SHA", "read"), unit="GB a second")


def _rounded(row: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in row.items()}


if __name__ == "__main__":
    main()
