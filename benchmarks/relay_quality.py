"""How good is the model at the end of a relay? The relay, the plain relay, pooled and alone, side by side.

    python benchmarks/relay_quality.py                 # digits, 5 seeds, about 5 minutes on 2 cores
    python benchmarks/relay_quality.py --config=configs/fashion_mnist.py --seeds=1

Every scheme has the same model, shards, batch size and number of gradient steps (alone: its own legs'); the
relays run whole, with codec, ledger and acceptance. The plain relay is the config's variant `plain`. Exits
with 1 when the relay's mean accuracy lies more than `--margin` below pooled training's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from relayjax import backend, config
from relayjax.config import Config
from relayjax.relay.events import Event, Settled

SCHEMES = ("relay", "plain relay", "pooled", "alone")


def final_accuracy(settings: Config, compare: bool) -> dict[str, float]:
    """Test accuracy at the end of a relay, and of the baselines if `compare`; refused legs as well."""
    settled: list[Settled] = []

    def listen(event: Event) -> None:
        if isinstance(event, Settled):
            settled.append(event)

    with tempfile.TemporaryDirectory() as workdir, backend.open_run(settings, Path(workdir) / "run") as run:
        run.subscribe(listen)
        while not run.finished:
            run.step()
        found = {"relay": settled[-1].metrics["accuracy"], "refused": sum(len(s.refused) for s in settled)}
        if compare:
            figures = run.compare()
            found["pooled"] = figures["pooled"]["accuracy"]
            found["alone"] = statistics.fmean(one["accuracy"] for one in figures["alone"])
    return found


def measure(source: str, seed: int) -> dict[str, float]:
    """All schemes for one seed."""
    plain = config.resolve(f"{source}:plain", {}, seed)
    found = final_accuracy(config.resolve(source, {}, seed), compare=True)
    return {**found, "plain relay": final_accuracy(plain, compare=False)["relay"]}


def main() -> int:
    parser = argparse.ArgumentParser(description="how good is the model at the end of a relay?")
    parser.add_argument("--config", default="configs/digits.py", help="config file with a variant `plain`")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 … n − 1")
    parser.add_argument("--margin", type=float, default=0.005, help="allowed distance to pooled")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    rows = []
    with Progress(console=Console(stderr=True)) as progress:
        for seed in progress.track(range(arguments.seeds), description="seeds"):
            rows.append(measure(arguments.config, seed))
    table = Table(title=f"test accuracy, {arguments.config}", title_justify="left")
    for heading in ("seed", *SCHEMES, "refused legs"):
        table.add_column(heading, justify="right")
    for seed, row in enumerate(rows):
        table.add_row(str(seed), *(f"{row[scheme]:.4f}" for scheme in SCHEMES), f"{row['refused']:.0f}")
    means = {scheme: statistics.fmean(row[scheme] for row in rows) for scheme in SCHEMES}
    spread = {scheme: statistics.pstdev([row[scheme] for row in rows]) for scheme in SCHEMES}
    table.add_section()
    table.add_row("mean", *(f"{means[scheme]:.4f}" for scheme in SCHEMES), "")
    table.add_row("s.d.", *(f"{spread[scheme]:.4f}" for scheme in SCHEMES), "")
    console = Console()
    console.print(table)
    gap = means["relay"] - means["pooled"]
    console.print(f"relay − pooled: {100 * gap:+.2f} points (allowed: −{100 * arguments.margin:.2f})")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"config": arguments.config, "rows": rows}, indent=1))
    return 0 if gap >= -arguments.margin else 1


if __name__ == "__main__":
    sys.exit(main())
