"""Does dishonesty pay in relays that really train, and what does it cost the others?

    python benchmarks/attacks.py --seeds=0          # 3 minutes on 2 cores
    python benchmarks/attacks.py --json=attacks.json --plot=attacks.png      # five seeds: 15 minutes
    python benchmarks/attacks.py --config=fashion_mnist

One participant (`--attacker`) deviates as `relayjax/relay/deviations.py` says, or one of the validators, in
the default relay of a config, ledger and all. What it earned, for all reasons and less its endowment, stands
beside what it earns in the honest relay of the same seed; the accuracy of the last head beside that of a
relay from which it is absent. Who has two places is compared with one honest place alone, the other being
empty; a validator with the honest relay; a validator that favours the attacker is counted together with it.
Who trains when and what is tested is drawn by lot, and another relay draws other lots: what is compared with
is the mean of several (`--lots`).

Fails where an attack earns at least as much as honest work, or costs more than a point of accuracy, on the
mean of the seeds.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

# One thread a process: two relays side by side use two cores better than one does.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
sys.path.insert(0, str(Path(__file__).parent))

from attacking import report
from attacking.catalogue import Cast, attacks, references
from attacking.measure import Job, measure
from rich.console import Console
from rich.progress import track

from relayjax import config


def main() -> int:
    parser = argparse.ArgumentParser(description="does dishonesty pay in relays that really train?")
    parser.add_argument("--config", default="digits", help="of the honest relay")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="of data, model and order")
    parser.add_argument("--attacks", default="", help="names as in the table; all")
    parser.add_argument("--attacker", type=int, default=3, help="participant that deviates")
    parser.add_argument("--validator", type=int, default=1, help="validator that deviates")
    parser.add_argument("--lots", type=int, default=3, help="plays of each relay that is compared with")
    parser.add_argument("--workers", type=int, default=2, help="relays side by side")
    parser.add_argument("--json", type=Path, help="write the figures to this file; what it holds is kept")
    parser.add_argument("--plot", type=Path, help="draw them into this file")
    arguments = parser.parse_args()
    chosen = config.load(arguments.config)
    cast = Cast.of(arguments.attacker, arguments.validator, chosen.relay.participants)
    known = attacks(chosen, cast)
    wanted = arguments.attacks.split(",") if arguments.attacks else [attack.name for attack in known]
    if unknown := set(wanted) - {attack.name for attack in known}:
        parser.error(
            f"no attack {', '.join(sorted(unknown))}; choose from {', '.join(a.name for a in known)}"
        )
    played = [attack for attack in known if attack.name in wanted]
    needed = {name for attack in played for name in (attack.compared, attack.without)}
    relays = {at: one for at, one in references(cast, arguments.lots).items() if at[0] in needed}
    relays |= {(attack.name, 0): attack.experiment for attack in played}
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    jobs = [Job(arguments.config, seed, *at, one) for seed in seeds for at, one in relays.items()]
    rows, console = [], Console(stderr=True)
    with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as pool:
        for row in track(pool.map(measure, jobs), "relays", total=len(jobs), console=console):
            rows.append(row)
            if arguments.json:
                report.keep(arguments.json, rows)
    found = report.outcomes(rows, played)
    title = f"{arguments.config}: p{cast.trainer} or v{cast.validator} attacks, {len(seeds)} relays each"
    Console(width=150).print(report.table(found, title))
    if arguments.plot:
        report.draw(found, arguments.plot, title)
    failed = report.failures(found)
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
