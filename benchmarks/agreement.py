"""Does what is paid agree with what a participant was worth, and how many braid rounds does that take?

    python benchmarks/agreement.py                       # Fashion-MNIST, 5 seeds: about 40 minutes on 2 cores
    python benchmarks/agreement.py --config=digits --seeds=2 --repeats=1

The truth to agree with is leave-one-out retraining of the whole relay: what the loss on all validation
examples is without a participant, less what it is with it, averaged over `--repeats` orders of the
participants. Two figures of the loss: that of the last head, and that of the heads of all laps on average,
for whoever holds a licence uses every version. Every lap of one relay is valued as if a braid round were
played there; what a set of braid rounds would have paid for (relayjax rules: one price a nat, a noise floor
of three deviations, only what is new; royalties aside) is compared with the truth by Spearman's rank
correlation. Accuracy and bytes come from relays that really have those braid rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# One thread a process: two relays side by side use two cores better than one does.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
sys.path.insert(0, str(Path(__file__).parent))

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from agreeing.relay import EVERYBODY, Job, Played, paid, play
from rich.console import Console
from rich.progress import track
from rich.table import Table

from relayjax.agreement import spearman

LAPS = 20
PLACEMENTS: dict[str, tuple[int, ...]] = {
    "0": (0,),
    "0, 6": (0, 6),
    "0, 3, 9": (0, 3, 9),
    "0, 3, 6, 12": (0, 3, 6, 12),
    "0, 1, 3, 6, 12": (0, 1, 3, 6, 12),
    "0, 2, 4, 7, 12 (default)": (0, 2, 4, 7, 12),
    "0, 2, 5, 8, 11": (0, 2, 5, 8, 11),
    "0, 4, 8, 12, 16": (0, 4, 8, 12, 16),
    "every second": tuple(range(0, LAPS, 2)),
    "all": tuple(range(LAPS)),
}
Row = dict[str, Any]


def jobs_of(arguments: argparse.Namespace) -> list[Job]:
    """Every relay to train, the longest first."""
    jobs = []
    for seed in range(arguments.seeds):
        jobs.append(Job(arguments.config, seed, 0, valued=True))
        for repeat in range(arguments.repeats):
            absent = range(-1 if repeat else 0, 10)
            jobs += [Job(arguments.config, seed, repeat, who) for who in absent]
        jobs += [Job(arguments.config, seed, 0, braids=laps) for laps in PLACEMENTS.values()]
    return jobs


def worth(found: list[Played], seed: int) -> dict[str, np.ndarray]:
    """Leave-one-out values of one seed, mean over the repeats, [N] nats."""
    default = Job("", 0, 0).braids
    relays = {
        (one.job.repeat, one.job.absent): one
        for one in found
        if one.job.seed == seed and one.job.braids == default
    }
    figures = {"last head": lambda one: one.losses[-1], "all laps": lambda one: statistics.fmean(one.losses)}
    repeats = {repeat for repeat, _ in relays}
    return {
        name: np.mean(
            [
                [figure(relays[repeat, who]) - figure(relays[repeat, EVERYBODY]) for who in range(10)]
                for repeat in repeats
            ],
            axis=0,
        )
        for name, figure in figures.items()
    }


def rows_of(found: list[Played], seeds: int) -> list[Row]:
    """A row for each placement and seed, and for path values."""
    valued = {one.job.seed: one for one in found if one.job.valued}
    whole, rows = [one for one in found if one.job.absent == EVERYBODY and not one.job.valued], []
    for seed in range(seeds):
        truth, shares = (
            worth(found, seed),
            {name: paid(valued[seed], laps) for name, laps in PLACEMENTS.items()},
        )
        shares["path values"] = np.array(valued[seed].path)
        for name, share in shares.items():
            laps = PLACEMENTS.get(name, ())
            relay = next((one for one in whole if one.job.seed == seed and one.job.braids == laps), None)
            rows.append(
                {
                    "placement": name,
                    "seed": seed,
                    **{figure: spearman(share, value) for figure, value in truth.items()},
                    "positive": int((share > 0).sum()),
                    "accuracy": relay.test[1] if relay else None,
                    "bytes": (LAPS + len(laps)) / LAPS / 2 if relay else None,
                    "paid": share.tolist(),
                    "worth": {figure: value.tolist() for figure, value in truth.items()},
                }
            )
    return rows


def table_of(rows: list[Row]) -> Table:
    """Medians and extremes over the seeds."""
    table = Table(title="rank agreement of what is paid with leave-one-out retraining", title_justify="left")
    for heading in (
        "braid rounds at laps",
        "all laps",
        "last head",
        "paid > 0",
        "accuracy",
        "bytes / FedAvg",
    ):
        table.add_column(heading, justify="left" if heading.startswith("braid") else "right")
    for name in dict.fromkeys(row["placement"] for row in rows):
        own = [row for row in rows if row["placement"] == name]
        cells = [spread([row[figure] for row in own]) for figure in ("all laps", "last head")]
        cells.append(f"{statistics.fmean(row['positive'] for row in own):.1f} of 10")
        accuracy = [row["accuracy"] for row in own if row["accuracy"] is not None]
        cells.append(f"{statistics.fmean(accuracy):.4f}" if accuracy else "")
        cells.append(f"{own[0]['bytes']:.3f}" if own[0]["bytes"] else "")
        table.add_row(name, *cells)
    return table


def spread(figures: list[float]) -> str:
    """Median with the least and the largest."""
    return f"{statistics.median(figures):.2f} [{min(figures):.2f}–{max(figures):.2f}]"


def draw(rows: list[Row], path: Path) -> None:
    """What is paid over what retraining says, a panel a figure, a colour a seed; the default placement."""
    default = [row for row in rows if "default" in row["placement"]]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    for axis, name in zip(axes, ("all laps", "last head"), strict=True):
        for row in default:
            label = f"seed {row['seed']}: ρ = {row[name]:.2f}"
            axis.scatter(1e3 * np.array(row["worth"][name]), 100 * np.array(row["paid"]), s=26, label=label)
        axis.axvline(0, color="#c9ced6", zorder=0)
        axis.set_xlabel("loss without it − loss with it, 10⁻³ nats")
        axis.set_title(f"validation loss, {name}", loc="left")
        axis.legend(frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of the pay, %")
    figure.suptitle(
        "what a participant is paid, beside leave-one-out retraining of the whole relay", x=0.01, ha="left"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description="does what is paid agree with what a participant was worth?")
    parser.add_argument("--config", default="fashion_mnist", help="of ten participants")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 … n − 1")
    parser.add_argument(
        "--repeats", type=int, default=4, help="orders of the participants a truth is the mean of"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="relays side by side")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw the default placement into this file")
    arguments = parser.parse_args()
    jobs, console = jobs_of(arguments), Console(stderr=True)
    with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as pool:
        found = list(track(pool.map(play, jobs), "relays", total=len(jobs), console=console))
    rows = rows_of(found, arguments.seeds)
    Console().print(table_of(rows))
    if arguments.json:
        kept = {"rows": rows, "relays": [dataclasses.asdict(one) for one in found]}
        arguments.json.write_text(json.dumps(kept, indent=1), "utf-8")
    if arguments.plot:
        draw(rows, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
