"""How good is the model that a scheme ends with? Tasks × skew × schemes × seeds, in one harness.

    python benchmarks/relay_quality.py --tasks=digits --alphas=0.1 --seeds=5   # minutes on 2 cores
    python benchmarks/relay_quality.py --tasks=digits,fashion_mlp,text --json=quality.json --plot=quality.png

Every scheme trains the same model on the same shards with the same number of gradient steps, batch size and
legs. Each is tuned alike: for every task and skew its step size is the one of `RATES` that ends with the
best validation figure on seed 0. Bytes are counted before compression. Columns: accuracy and loss on the
test set; the worst participant, on its own data (of text: the worst kind's test loss); forgetting, which is
what a participant's own data loses between the end of its last leg and the end of the relay, in accuracy (of
text: in nats).
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# One thread a process: two runs side by side use two cores better than one run does.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
sys.path.insert(0, str(Path(__file__).parent))

from quality import catalogue, report
from quality.measure import Job, measure
from rich.console import Console
from rich.progress import Progress


def run(jobs: list[Job], workers: int, title: str) -> list[dict[str, Any]]:
    """Measures all jobs, side by side, with a progress bar; in the order given."""
    found: dict[Job, dict[str, Any]] = {}
    context = get_context("spawn")
    with Progress(console=Console(stderr=True)) as progress, ProcessPoolExecutor(workers, context) as pool:
        bar = progress.add_task(title, total=len(jobs))
        pending = {pool.submit(measure, job): job for job in jobs}
        for done in as_completed(pending):
            job = pending[done]
            found[job] = done.result()
            progress.advance(bar)
            if not progress.console.is_terminal:
                print(f"{len(found)} of {len(jobs)}: {job}", file=sys.stderr, flush=True)
    return [found[job] for job in jobs]


def tuned(jobs: list[Job], rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], float]:
    """(task, skew, scheme) → the step size with the best validation figure."""
    best: dict[tuple[str, str, str], tuple[float, float]] = {}
    for job, row in zip(jobs, rows, strict=True):
        place = (job.task, job.skew, job.scheme)
        best[place] = max(best.get(place, (-float("inf"), 0.0)), (row["tuning"], job.rate))
    return {place: rate for place, (_, rate) in best.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="how good is the model that a scheme ends with?")
    parser.add_argument("--tasks", default="digits", help=f"of {', '.join(catalogue.TASKS)}")
    parser.add_argument("--alphas", default="0.1", help="Dirichlet skews, or even; text has its own")
    parser.add_argument("--schemes", default="", help=f"of {', '.join(catalogue.SCHEMES)}; all")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 … n − 1")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs side by side")
    parser.add_argument("--json", type=Path, help="write the figures to this file; what it holds is kept")
    parser.add_argument("--margin", type=float, help="fail where a relay is further below pooled training")
    parser.add_argument("--plot", type=Path, help="draw them into this file")
    arguments = parser.parse_args()
    schemes = arguments.schemes.split(",") if arguments.schemes else list(catalogue.SCHEMES)
    places = [
        (task, skew, scheme)
        for task in arguments.tasks.split(",")
        for skew in (arguments.alphas.split(",") if task != "text" else ["kinds"])
        for scheme in schemes
        if catalogue.applies(scheme, task)
    ]
    tuning = [Job(*place, rate, 0) for place in places for rate in catalogue.rates(place[0], place[2])]
    first = run(tuning, arguments.workers, "step sizes")
    rates = tuned(tuning, first)
    known = dict(zip(tuning, first, strict=True))
    jobs = [Job(*place, rates[place], seed) for place in places for seed in range(arguments.seeds)]
    missing = [job for job in jobs if job not in known]
    known |= dict(zip(missing, run(missing, arguments.workers, "seeds"), strict=True))
    rows = [known[job] for job in jobs]
    if arguments.json:
        rows = report.keep(arguments.json, rows)
    Console().print(*report.tables(rows))
    if arguments.plot:
        report.draw(rows, arguments.plot)
    far = [] if arguments.margin is None else report.below_pooled(rows, arguments.margin)
    for line in far:
        print(line, file=sys.stderr)
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
