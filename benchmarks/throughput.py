"""How fast a leg trains here, beside bare JAX and PyTorch in the same run, and where a leg's time goes.

    python benchmarks/throughput.py                                   # about 5 minutes on 2 cores
    python benchmarks/throughput.py --sizes=large                     # on a GPU
    python benchmarks/throughput.py --torch_python=/other/bin/python  # PyTorch from another environment

Peers (`peers/`): the same transformer in flax and optax, once compiled as a whole leg, once as a loop of
compiled steps; and in PyTorch, eager and compiled. All take turns. Figures are medians, with the quartiles in
brackets; "time / ours" compares legs of one turn, and so does "processor / ours", the time that a peer kept
the host's processor busy, which other programs on the machine disturb less.

Model-FLOPs utilisation (MFU) counts `flops_per_token` against the vendor's peak for bfloat16. Where there is
none, the peak is that of large matrices multiplied in the same run, and on a CPU both are counted per second
of the processor's time, for the same reason. The figures are kept in
`benchmarks/baselines/throughput-DEVICE.json` if there are none yet, or with --save; otherwise they are
compared with those.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from peers import other_python
from peers.runner import Measured, Peer, measure, quartiles
from peers.sizes import SIZES, Size, vendor_peak
from rich.console import Console
from rich.table import Table

from relayjax import settings
from relayjax.learning.models import flops_per_token

BASELINES = Path(__file__).parent / "baselines"
OURS, MATMUL = "RelayJAX", "matrix product"
Row = dict[str, Any]


def peers_of(size: Size, torch_python: str | None, on_cpu: bool) -> list[Peer]:
    """Who is measured at a size."""
    model = dataclasses.asdict(size.model) | {"hidden": size.model.hidden_width}
    spec = {
        "model": model,
        "leg": dataclasses.asdict(size.leg),
        "settings": {"model": settings.encode(size.model), "leg": settings.encode(size.leg)},
        "examples": 2048,
    }
    kinds = {OURS: "relayjax", "JAX, scan": "scan", "JAX, loop": "loop"}
    peers = [Peer(name, "jax_legs", sys.executable, spec | {"kind": kind}) for name, kind in kinds.items()]
    if torch_python:
        for name, compiled in (("PyTorch, compiled", True), ("PyTorch, eager", False)):
            peers.append(Peer(name, "torch_leg", torch_python, spec | {"compiled": compiled}))
    product = {"size": 1024, "count": 20} if on_cpu else {"size": 8192, "count": 50}
    return [*peers, Peer(MATMUL, "matmul", sys.executable, product | {"dtype": size.model.compute})]


def rows_of(size: Size, found: dict[str, Measured], product: dict[str, Any]) -> tuple[dict[str, Row], float]:
    """The figures of each peer, and the peak that they are measured against, operations a second."""
    matmul = found.pop(MATMUL)
    on_cpu = matmul.device == "cpu"
    known = vendor_peak(matmul.device) if size.model.compute == "bfloat16" else None
    products = 2 * product["size"] ** 3 * product["count"]
    peak = known or products / min(matmul.processor if on_cpu else matmul.legs)
    arithmetic = size.tokens * flops_per_token(size.model)
    rows = {}
    for name, peer in found.items():
        speeds = quartiles([size.tokens / seconds for seconds in peer.legs])
        busy = statistics.median(peer.processor if on_cpu else peer.legs)
        rows[name] = {
            "tokens_per_second": speeds,
            "time_over_ours": _over(peer.legs, found[OURS].legs),
            "processor_over_ours": _over(peer.processor, found[OURS].processor),
            "utilisation": arithmetic / busy / peak,
            "memory_bytes": peer.memory[0],
            "memory_source": peer.memory[1],
            "compilation_seconds": peer.compilation,
            "first_step_seconds": max(0.0, peer.start - peer.median * (1 - 1 / size.steps)),
        }
    return rows, peak


def _over(theirs: list[float], ours: list[float]) -> tuple[float, float, float]:
    """Quartiles of the ratio within a turn."""
    return quartiles([a / b for a, b in zip(theirs, ours, strict=True)])


def speed_table(name: str, size: Size, rows: dict[str, Row], peak: float) -> Table:
    """The peers of a size, a row each."""
    model = size.model
    shape = f"{model.layers} layers, width {model.width}, context {model.context}, {model.compute}"
    title = f"{name}: {shape}; {size.steps} steps of {size.batch_size}; peak {peak / 1e9:,.0f} GFLOP/s"
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    headings = ("tokens/s", "time / ours", "processor / ours", "MFU", "MB", "compile, s", "first step, s")
    for heading in headings:
        table.add_column(heading, justify="right")
    for peer, row in rows.items():
        ratios = ("time_over_ours", "processor_over_ours")
        table.add_row(
            peer,
            _range(row["tokens_per_second"], ",.0f"),
            *("" if peer == OURS else _range(row[ratio], ".3f") for ratio in ratios),
            f"{row['utilisation']:.1%}",
            f"{row['memory_bytes'] / 1e6:,.0f}",
            f"{row['compilation_seconds']:.1f}",
            f"{row['first_step_seconds']:.1f}",
        )
    return table


def _range(values: tuple[float, float, float], form: str) -> str:
    """A median and its quartiles."""
    low, middle, high = (format(value, form) for value in values)
    return f"{middle} [{low}–{high}]"


def stage_table(seconds: dict[str, float]) -> Table:
    """A leg's stages, as a share of training."""
    table = Table(title="a leg in a run of the size small, without overlap", title_justify="left")
    for heading in ("stage", "ms", "of train"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage, value in seconds.items():
        table.add_row(stage, f"{1e3 * value:.2f}", f"{value / seconds['train']:.2%}")
    return table


def comparison(now: dict[str, Any], before: dict[str, Any]) -> Table:
    """Speeds of a run over those of an earlier one."""
    table = Table(title=f"this run / the baseline ({before['versions']['jax']})", title_justify="left")
    for heading in ("size", "peer", "tokens/s", "time / ours"):
        table.add_column(heading, justify="left" if heading in ("size", "peer") else "right")
    for size, figures in now["sizes"].items():
        for peer, row in figures["peers"].items():
            if old := before["sizes"].get(size, {}).get("peers", {}).get(peer):
                pairs = [(row[key][1], old[key][1]) for key in ("tokens_per_second", "time_over_ours")]
                table.add_row(size, peer, *(f"{new / then:.2f}" for new, then in pairs))
    return table


def find_platform() -> str:
    """cpu, gpu or tpu; asked in another process, because who asks takes hold of the accelerator."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="how fast does a leg train here?")
    parser.add_argument("--sizes", help=f"of {', '.join(SIZES)}; what suits the accelerator if not given")
    parser.add_argument("--repeats", type=int, default=11, help="legs of every peer")
    parser.add_argument("--torch_python", help="a Python that has PyTorch; this one if it has")
    parser.add_argument("--spin", action="store_true", help="threads of OpenMP spin; for a quiet machine")
    parser.add_argument("--save", action="store_true", help="keep the figures as the baseline")
    return parser.parse_args()


def main() -> None:
    arguments, console = parse(), Console()
    on_cpu = find_platform() == "cpu"
    torch_python = other_python.find(arguments.torch_python, "torch", console)
    names = (arguments.sizes or ("tiny,small" if on_cpu else "small,medium,large")).split(",")
    for name in names:
        if name not in SIZES:
            sys.exit(f"--sizes: there is no size {name!r}; there are {', '.join(SIZES)}")
        if on_cpu and SIZES[name].model.attention == "cudnn":
            sys.exit(f"--sizes: {name} needs an NVIDIA GPU, and JAX sees none here")
    versions = {name: metadata.version(name) for name in ("relayjax", "jax", "flax", "optax")}
    figures: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": versions,
        "load_before": os.getloadavg(),
        "sizes": {},
    }
    for name in names:
        size = SIZES[name]
        peers = peers_of(size, torch_python, on_cpu)
        found = measure(peers, arguments.repeats, together=on_cpu, spinning=arguments.spin)
        figures["device"] = found[MATMUL].device
        rows, peak = rows_of(size, found, peers[-1].spec)
        figures["sizes"][name] = {"peers": rows, "peak_flops": peak}
        console.print(speed_table(name, size, rows, peak))
    from peers.stages import stages  # not before: it takes hold of the accelerator

    figures["stages_seconds"] = stages(SIZES["small"], arguments.repeats)
    console.print(stage_table(figures["stages_seconds"]))
    figures["load_after"] = os.getloadavg()
    console.print(
        f"load of the machine: {figures['load_before'][0]:.1f} before, {figures['load_after'][0]:.1f} after"
    )
    path = BASELINES / f"throughput-{re.sub('[^a-z0-9]+', '-', figures['device'].lower())}.json"
    if path.exists():
        console.print(comparison(figures, json.loads(path.read_text("utf-8"))))
    if arguments.save or not path.exists():
        path.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        console.print(f"kept in {path}")


if __name__ == "__main__":
    main()
