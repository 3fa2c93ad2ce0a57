"""Does the check for echoes tell replays from honest work, and what do attacks earn that pass it?

    python benchmarks/novelty.py --tasks=digits --seeds=0      # two minutes on 2 cores
    python benchmarks/novelty.py --json=novelty.json --plot=novelty.png      # all of it: an hour or two

The default relay of a config runs without a ledger, its deltas through its codec. In each braid round,
every attack of `echoing/attacks.py` takes the place of every participant's honest delta. It is refused
where it is an echo; what passes, and does not raise the loss too much, is valued as a relay values it, in
a composition of its own (`relayjax/valuation/sharing.py`), and paid where that lies beyond the noise
floor, all with the numbers of the config's rules. A nat is paid the same in every round, so pay is nats:
those of an attack over those of honest work in the same rounds. `--least=1` takes out no more than the
nearest accepted delta (see `relayjax/valuation/novelty.py`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from echoing import report
from echoing.measure import measure
from rich.console import Console
from rich.progress import track

from relayjax.valuation.novelty import LEAST


def main() -> int:
    parser = argparse.ArgumentParser(description="does the check for echoes tell replays from honest work?")
    parser.add_argument("--tasks", default="digits,fashion_mnist", help="configs of ten participants")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="of data, model and order")
    parser.add_argument("--least", type=float, default=LEAST, help="|cosine| that explains what others left")
    parser.add_argument("--json", type=Path, help="write the figures to this file; what it holds is kept")
    parser.add_argument("--plot", type=Path, help="draw ROC curve and likeness into this file")
    arguments = parser.parse_args()
    jobs = [(task, int(seed)) for task in arguments.tasks.split(",") for seed in arguments.seeds.split(",")]
    rows = []
    for task, seed in track(jobs, "relays", console=Console(stderr=True)):
        rows += measure(task, seed, arguments.least)
        if arguments.json:
            report.keep(arguments.json, rows)
    if arguments.json:
        rows = report.keep(arguments.json, rows)
    Console().print(*report.tables(rows))
    if arguments.plot:
        report.draw(rows, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
