"""Asks shapiq, under a Python of its own, for the values of games whose tables are known.

Shapes: N participants, K keys.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent


def shapiq_values(
    python: str, utilities: Mapping[str, np.ndarray], budgets: Sequence[int], keys: int
) -> tuple[str, dict[str, dict[int, dict[str, Any]]]]:
    """Runs `peers/shapiq_values.py`.

    Args:
      python: that has shapiq.
      utilities: worth of all coalitions of each game, float64 [2^N].
      budgets: most evaluations.
      keys: K, seeds 0, 1, …

    Returns:
      Its version; and of every game and budget `values` float64 [K, N], `evaluations` and `seconds`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.json").write_text(json.dumps({"budgets": list(budgets), "keys": keys}), "utf-8")
        with (folder / "games.npz").open("wb") as file:
            np.savez(file, **utilities)  # pyright: ignore[reportArgumentType]
        environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
        subprocess.run([python, "-m", "peers.shapiq_values", str(folder)], env=environment, check=True)
        answer = json.loads((folder / "answer.json").read_text("utf-8"))
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for game, by_budget in answer["games"].items():
        found[game] = {int(budget): cell for budget, cell in by_budget.items()}
        for cell in found[game].values():
            cell["values"] = np.array(cell["values"])
    return answer["version"], found
