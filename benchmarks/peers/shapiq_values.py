"""shapiq's paired KernelSHAP on tables of known games. Needs NumPy and shapiq, nothing of RelayJAX.

    python -m peers.shapiq_values FOLDER

FOLDER holds `spec.json` with budgets and the number of keys, and `games.npz` with the worth of all coalitions
of each game, float64 [2^N]: participant i is in coalition c if bit i of c is set. Written is `answer.json`:

    {"version": …, "games": {name: {budget: {"values": [K, N], "evaluations": …, "seconds": …}}}}
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from shapiq import KernelSHAP  # pyright: ignore[reportMissingImports]


def measure(utilities: np.ndarray, budget: int, keys: int) -> dict[str, Any]:
    """Values of every key, the most distinct coalitions that one took, and the median of the seconds."""
    participants = len(utilities).bit_length() - 1
    bits = 1 << np.arange(participants)
    values, distinct, seconds = [], [], []
    for key in range(keys):
        asked: set[int] = set()

        def worth(coalitions: np.ndarray, asked: set[int] = asked) -> np.ndarray:
            rows = np.asarray(coalitions, dtype=int) @ bits
            asked.update(rows.tolist())
            return utilities[rows]

        estimator = KernelSHAP(participants, pairing_trick=True, random_state=key)
        begin = time.perf_counter()
        found = estimator.approximate(budget, worth)
        seconds.append(time.perf_counter() - begin)
        values.append([float(found[(who,)]) for who in range(participants)])
        distinct.append(len(asked))
    return {"values": values, "evaluations": max(distinct), "seconds": statistics.median(seconds)}


def main() -> None:
    warnings.simplefilter("ignore", UserWarning)  # that a budget exceeds what there is to evaluate
    folder = Path(sys.argv[1])
    spec = json.loads((folder / "spec.json").read_text("utf-8"))
    with np.load(folder / "games.npz", allow_pickle=False) as arrays:
        games = {
            name: {budget: measure(arrays[name], budget, spec["keys"]) for budget in spec["budgets"]}
            for name in arrays.files
        }
    answer = {"version": metadata.version("shapiq"), "games": games}
    (folder / "answer.json").write_text(json.dumps(answer), "utf-8")


if __name__ == "__main__":
    main()
