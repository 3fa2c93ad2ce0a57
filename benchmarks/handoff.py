"""How fast a model version is saved, sealed and restored, beside raw files, Orbax and safetensors.

    python benchmarks/handoff.py                                  # to 64 MB, a minute
    python benchmarks/handoff.py --largest=1000000000 --json=handoff.json --plot=handoff.png   # 6 GB of RAM

Gigabytes of parameters a second: medians of calls that take turns, in each round on an empty directory and
after a `sync`. Everything saved is flushed to the disk. Everything restored comes from the page cache, since
it was just written; a cold disk would hide what verification costs.

raw write         one buffer into one file, and fsync: what the disk has
save              `relayjax.handoff.save` of the flat vector: Orbax, digests, manifest, fsync
save, leaves      the same from a tree of 1 600 leaves (small models: fewer); the flat vector is reused
standard, leaves  Orbax's StandardCheckpointer on that tree (it flushes no metadata), standard, flat on one
safetensors       the tree into one file, and fsync
seal              a pack sealed to two recipients into a store, durably; open reads and verifies it again

raw read          one file into a fresh buffer, by as many threads as `restore` uses; nothing is verified
restore           `relayjax.handoff.restore`: every chunk verified while it is read
orbax             Orbax restores the same checkpoint; it verifies nothing
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import jax
import numpy as np
import orbax.checkpoint as ocp
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))

from encoding import plot
from encoding.memory import resident

from relayjax import handoff
from relayjax.hashing import CHUNK
from relayjax.identity import Keys
from relayjax.kernels import threads
from relayjax.pack import ModelVersion, decode_pack, encode_pack
from relayjax.store import Artefact, LocalStore, SealManifest, open_pieces, seal_round, verify_manifest
from relayjax.weights import as_bytes, digest, empty

SIZES = (1_000, 10_000, 100_000, 1_000_000, 8_000_000, 64_000_000, 400_000_000, 1_000_000_000)
PEERS_TO = 400_000_000  # bytes; beyond, they would need too much memory
LEAVES, LEAF = 1_600, 5_000
"""How many leaves the tree has, unless each would have fewer bytes than that."""
KEYS = [Keys.derive(name, b"benchmark") for name in ("orderer", "reader")]
PANELS = {
    "saving, durably": {
        "raw write, fsync": "raw write",
        "save": "save",
        "save, from 1 600 leaves": "save, leaves",
        "seal": "seal",
        "Orbax standard, 1 600 leaves": "standard, leaves",
        "Orbax standard, flat": "standard, flat",
        "safetensors, 1 600 leaves": "safetensors",
    },
    "restoring, from the page cache": {
        "raw read": "raw read",
        "restore, verified": "restore",
        "open a sealed pack": "open",
        "Orbax, the same files": "orbax",
        "Orbax standard, 1 600 leaves": "standard restore, leaves",
        "safetensors": "safetensors load",
    },
}

Call = Callable[[Path], object]
"""Writes to a path that does not exist, or reads what lies at one."""


class Subjects:
    """One model of P = `size` parameters, as a vector and as a tree of leaves that share its memory."""

    def __init__(self, size: int, peers: bool):
        self.theta = empty(size)
        np.random.default_rng(0).standard_normal(dtype=np.float32, out=self.theta)
        self.version = ModelVersion(1, digest(self.theta), [{"name": "w", "shape": [size]}])
        cuts = np.linspace(0, size, min(LEAVES, -(-4 * size // LEAF)) + 1).astype(int)[1:-1]
        self.tree = {f"{i:04}": leaf for i, leaf in enumerate(np.split(self.theta, cuts))}
        self._flat = empty(size)
        self._flat.fill(0)
        self._peers = peers

    def saves(self) -> dict[str, Call]:
        """What is timed on an empty directory."""
        ours: dict[str, Call] = {
            "raw write": self._raw_write,
            "save": partial(handoff.save, self.theta, self.version),
            "save, leaves": self._save_leaves,
            "seal": self._seal,
        }
        if not self._peers:
            return ours
        return ours | {
            "standard, leaves": partial(_standard, jax.tree.map(jax.numpy.asarray, self.tree)),
            "standard, flat": partial(_standard, {"w": jax.numpy.asarray(self.theta)}),
            "safetensors": self._safetensors,
        }

    def restores(self) -> dict[str, tuple[str, Call]]:
        """What is timed on what a save has left: its name, and the call."""
        ours: dict[str, tuple[str, Call]] = {
            "raw read": ("raw write", self._raw_read),
            "restore": ("save", lambda path: handoff.restore(path, self.version)),
            "orbax": ("save", _orbax_restore),
            "open": ("seal", self._open),
        }
        if not self._peers:
            return ours
        return ours | {
            "standard restore, leaves": ("standard, leaves", _standard_restore),
            "safetensors load": ("safetensors", load_file),
        }

    def _raw_write(self, path: Path) -> None:
        with open(path, "wb", buffering=0) as file:
            left = as_bytes(self.theta)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())

    def _raw_read(self, path: Path) -> np.ndarray:
        numbers = np.empty_like(self.theta)
        target = numbers.data.cast("B")

        def part(first: int, last: int) -> None:
            with open(path, "rb", buffering=0) as file:
                for start in range(first * CHUNK, min(last * CHUNK, len(target)), CHUNK):
                    file.seek(start)
                    file.readinto(target[start : start + CHUNK])

        count = -(-len(target) // CHUNK)
        threads.run_ranges(part, count, threads.cores() if count > 1 else 1)
        return numbers

    def _save_leaves(self, path: Path) -> None:
        np.concatenate(list(self.tree.values()), out=self._flat)
        handoff.save(self._flat, self.version, path)

    def _safetensors(self, path: Path) -> None:
        save_file(self.tree, path)
        _flush(path)

    def _seal(self, path: Path) -> None:
        artefact = Artefact("model", encode_pack(self.theta, self.version), [keys.public for keys in KEYS])
        signed = seal_round(LocalStore(path / "store"), 1, [artefact], KEYS[0])
        (path / "manifest").write_bytes(signed)

    def _open(self, path: Path) -> np.ndarray:
        manifest = _manifest(path)
        pieces = open_pieces(LocalStore(path / "store"), manifest, manifest.seals[0].artefact, KEYS[1])
        return decode_pack(pieces, self.version)


def _manifest(path: Path) -> SealManifest:
    signed = (path / "manifest").read_bytes()
    return verify_manifest(signed, {KEYS[0].name: KEYS[0].public}, 1, str(path))


def _standard(tree: dict[str, jax.Array], path: Path) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), tree)


def _standard_restore(path: Path) -> object:
    with ocp.StandardCheckpointer() as checkpointer:
        return jax.block_until_ready(checkpointer.restore(path.absolute()))


def _orbax_restore(path: Path) -> object:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        return jax.block_until_ready(checkpointer.restore(path.absolute()))


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def measure(size: int, rounds: int, directory: Path) -> dict[str, float]:
    """Measures everything on P = `size` parameters.

    Returns:
      Gigabytes a second, by name; as `NAME spread` half the range between quartiles in the same unit, as
      `NAME best` the best; as `NAME memory` bytes of memory that a call took at its peak.
    """
    subjects = Subjects(size, 4 * size <= PEERS_TO)
    saves, restores = subjects.saves(), subjects.restores()
    samples: dict[str, list[float]] = {name: [] for name in (*saves, *restores)}
    memory: dict[str, float] = {}
    for number in range(-1, rounds):  # the first one compiles and warms up
        for name, save in saves.items():
            path = directory / name.replace(", ", "-").replace(" ", "-")
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            os.sync()
            calls = {name: save, **{key: call for key, (of, call) in restores.items() if of == name}}
            for key, call in calls.items():
                before = resident(reset=True)
                begin = time.perf_counter()
                found = call(path)
                samples[key].append(time.perf_counter() - begin)
                memory[key] = resident() - before
                del found
        if number < 0:
            samples = {name: [] for name in samples}
    figures: dict[str, float] = {}
    for name, times in samples.items():
        ordered = sorted(times)
        middle = median(ordered)
        spread = (ordered[3 * len(ordered) // 4] - ordered[len(ordered) // 4]) / 2
        figures[name] = 4 * size / middle / 1e9
        figures[f"{name} spread"] = figures[name] * spread / middle
        figures[f"{name} best"] = 4 * size / ordered[0] / 1e9
        figures[f"{name} memory"] = memory[name]
    return figures


def show(figures: dict[int, dict[str, float]], title: str) -> None:
    """Prints one table: speeds; ratios and memory at the largest size that all were measured at."""
    last = max(size for size, row in figures.items() if "safetensors" in row)
    row, megabytes = figures[last], f"{last / 1e6:g} MB"
    heads = (f"{size / 1e6:g} MB" for size in figures)
    table = Table("", *heads, f"time / raw, {megabytes}", "best / best raw", "memory / model", title=title)
    restored = {"raw read", "restore", "orbax", "open", "standard restore, leaves", "safetensors load"}
    for name in (name for name in row if not name.endswith((" spread", " best", " memory"))):
        raw = "raw read" if name in restored else "raw write"
        ratios = (
            f"{row[raw] / row[name]:.2f} ± {row[raw] / row[name] * row[f'{name} spread'] / row[name]:.2f}",
            f"{row[f'{raw} best'] / row[f'{name} best']:.2f}",
            f"{row[f'{name} memory'] / last:.2f}",
        )
        speeds = (f"{figure[name]:.3g}" if name in figure else "" for figure in figures.values())
        table.add_row(name, *speeds, *ratios)
    Console(width=150).print(table)
    leaves = row["save, leaves"] / row["standard, leaves"]
    print(f"{megabytes}: StandardCheckpointer takes {leaves:.1f} times as long as save on {LEAVES} leaves;")
    print(f"a verified restore takes {row['orbax'] / row['restore']:.2f} times as long as Orbax's own")


def main() -> None:
    """Measures, prints a table and, if asked, writes the figures and draws them."""
    parser = argparse.ArgumentParser(description="Speed of passing a model version on.")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw throughput over size into this PNG")
    parser.add_argument("--largest", type=int, default=64_000_000, help="skip sizes of more bytes")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each that are timed")
    parser.add_argument("--directory", type=Path, help="on the disk to measure; a temporary one by default")
    options = parser.parse_args()
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, jax on {jax.default_backend()}, {load}"
    figures: dict[int, dict[str, float]] = {}
    for size in (size for size in SIZES if size <= options.largest):
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            figures[size] = measure(size // 4, options.rounds, Path(directory))
        print(f"{size / 1e6:g} MB measured", file=sys.stderr, flush=True)
    show(figures, f"GB/s on {machine}")
    if options.json:
        kept = {
            str(size): {name: float(f"{value:.4g}") for name, value in row.items()}
            for size, row in figures.items()
        }
        options.json.write_text(json.dumps({"machine": machine, "figures": kept}, indent=2) + "\n")
    if options.plot:
        peers = ("Orbax", "safetensors")
        plot.draw(figures, machine, options.plot, PANELS, peers, "GB a second")


if __name__ == "__main__":
    main()
