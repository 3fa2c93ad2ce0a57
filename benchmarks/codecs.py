"""How fast deltas are encoded and applied, beside a memory copy, NumPy and JAX in the same run.

    python benchmarks/codecs.py                                   # to 64 MB, two minutes
    python benchmarks/codecs.py --largest=1000000000 --json=codecs.json --plot=codecs.png   # 5 GB of memory

Speeds are gigabytes of parameters (4 P bytes) a second: medians of calls that take turns with the copy.
`copy` is memcpy, from 8 MB on with two threads, and `read` only looks at each value; what they reach is what
the machine has. Kernels and copy reuse their buffers, JAX and NumPy make theirs. Whole codecs (`… to bytes`,
`… apply`) include the difference, all checks and fresh payloads. The child is the parent plus a thousandth of
noise.

With `--torch_python=/other/bin/python` (or PyTorch in this environment) MXINT8 is encoded once more beside
PyTorch, eager and compiled, and hivemind's blockwise 8-bit, each in a process of its own.

Beyond 400 MB only the kernels are measured, so that 5 GB of memory are enough.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from encoding import beside, plot, subjects
from encoding.clock import seconds

from relayjax.kernels import buffers

SIZES = (1_000, 10_000, 100_000, 1_000_000, 8_000_000, 64_000_000, 400_000_000, 1_000_000_000)
WHOLE = 400_000_000  # bytes of parameters; beyond, codecs and peers would need too much memory


def measure(size: int, budget: float) -> dict[str, float]:
    """Measures everything on vectors of P = `size` values.

    Returns:
      Gigabytes a second, by name; as `NAME spread` half the range between quartiles in the same unit; as
      `NAME ratio` how many times smaller than the parameters a payload is.
    """
    rng = np.random.default_rng(0)
    delta, out = buffers.empty(size, np.float32), buffers.empty(size, np.float32)
    rng.standard_normal(size, np.float32, out=delta)
    delta *= np.float32(1e-3)
    out[:] = 0
    copy = subjects.memory(delta, out)
    times = seconds(copy | subjects.kernels(delta, out), budget)
    ratios: dict[str, float] = {}
    if 4 * size <= WHOLE:
        # Each group beside a copy of its own: figures of a group compare with the copy of the same minute.
        groups = [("peers", subjects.peers(delta))]
        parent = rng.standard_normal(size, np.float32)
        calls, ratios = subjects.codecs(parent, parent + delta, out)
        groups.append(("codecs", calls))
        for name, group in groups:
            found = seconds(copy | group, budget, rounds=7)
            times |= {f"copy beside {name}" if key == "copy" else key: time for key, time in found.items()}
    figures = {f"{name} ratio": ratio for name, ratio in ratios.items()}
    for name, (time, spread, best) in times.items():
        figures[name] = 4 * size / time / 1e9
        figures[f"{name} spread"] = figures[name] * spread / time
        figures[f"{name} best"] = 4 * size / best / 1e9
    return figures


def show(figures: dict[int, dict[str, float]], title: str) -> None:
    """Prints one table: speeds, in brackets against the copy of the largest size, and ratios."""
    table = Table("", *(f"{size / 1e6:g} MB" for size in figures), "× copy", title=title)
    largest = max(size for size in figures)
    for name in next(iter(figures.values())):
        if name.endswith((" spread", " best")):
            continue
        last = max((size for size in figures if name in figures[size]), default=largest)
        row = figures[last]
        beside = _copy_beside(name, row)
        relative = f"{row[name] / row[beside]:.2f}" if beside else ""
        table.add_row(
            name, *(f"{row[name]:.2f}" if name in row else "" for row in figures.values()), relative
        )
    Console().print(table)


def _copy_beside(name: str, row: dict[str, float]) -> str | None:
    """Returns the name of the copy that was measured in turns with `name`."""
    if name.endswith("ratio") or name.startswith("copy"):
        return None
    if name.endswith((" to bytes",)) or (name.endswith(" apply") and not name.startswith("top ")):
        return "copy beside codecs"
    return "copy beside peers" if name.startswith(("jax", "np.", "on_device")) else "copy"


def main() -> None:
    """Measures, prints a table and, if asked, writes the figures and draws them."""
    parser = argparse.ArgumentParser(description="Speed of the delta codecs.")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw throughput over size into this PNG")
    parser.add_argument("--largest", type=int, default=64_000_000, help="skip sizes of more bytes")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for a size and a group, about")
    parser.add_argument("--torch_python", help="a Python that has PyTorch and hivemind; this one if it has")
    options = parser.parse_args()
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, jax on {jax.default_backend()}, {load}"
    figures: dict[int, dict[str, float]] = {}
    for size in (size for size in SIZES if size <= options.largest):
        figures[size] = measure(size // 4, options.budget)
        print(f"{size / 1e6:g} MB measured", file=sys.stderr, flush=True)
    show(figures, f"GB/s on {machine}")
    size = min(options.largest, WHOLE) // 4
    others = beside.others(size, options.torch_python, 9, Console())
    if others:
        beside.show(others, size, machine, Console())
    if options.json:
        kept = {
            str(size): {name: float(f"{value:.4g}") for name, value in row.items()}
            for size, row in figures.items()
        }
        options.json.write_text(
            json.dumps({"machine": machine, "figures": kept, "others": others}, indent=2) + "\n"
        )
    if options.plot:
        plot.draw(figures, machine, options.plot)


if __name__ == "__main__":
    main()
