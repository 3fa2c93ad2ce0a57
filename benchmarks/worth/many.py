"""Many participants: Aumann–Shapley values beside sampled Shapley values, where no table tells the truth.

Shapes: N participants.
"""

from __future__ import annotations

import time
from typing import Any

import jax

from relayjax.valuation import ESTIMATORS, Memo, aumann_shapley
from worth import reference
from worth.accuracy import SHAPLEY, error, rank
from worth.effort import Effort
from worth.games import Siblings

Row = dict[str, Any]


NODES = 16
"""Of the Aumann–Shapley values, as of those that a relay pays by."""


def measure(siblings: Siblings, effort: Effort) -> dict[str, Any]:
    """Errors and ranks, one key each.

    Returns:
      `own`: Aumann–Shapley values against their own definition; `rows`: everything against Shapley values;
      `truth_stderr`: what the latter are uncertain by, ‖sampling stderr‖ / ‖φ‖.
    """
    game = siblings.game
    aumann_shapley(game, nodes=NODES)  # compiles
    begin = time.perf_counter()
    along = aumann_shapley(game, nodes=NODES)
    seconds = time.perf_counter() - begin
    defined = reference.aumann_shapley_values(siblings, effort.points)
    # Owen's: the only one whose cost grows with nothing but the evaluations.
    truth = ESTIMATORS["owen"](game, jax.random.key(1), budget=effort.of_truth)
    rows: list[Row] = []

    def add(name: str, values: Any, evaluations: int, seconds: float) -> None:
        off, ranked = error(values, truth.values), rank(values, truth.values)
        rows.append(
            {"value": name, "evaluations": evaluations, "error": off, "rank": ranked, "seconds": seconds}
        )

    memo = Memo(game)
    for name, estimate in SHAPLEY.items():
        begin = time.perf_counter()
        found = estimate(memo, jax.random.key(0), budget=effort.evaluations)
        add(name, found.values, found.evaluations, time.perf_counter() - begin)
    add("aumann-shapley", along.values, along.evaluations, seconds)
    off = (truth.sampling_stderr @ truth.sampling_stderr / (truth.values @ truth.values)) ** 0.5
    return {
        "participants": game.participants,
        "own": {
            "nodes": NODES,
            "points": effort.points,
            "error": error(along.values, defined),
            "rank": rank(along.values, defined),
            "seconds": seconds,
        },
        "truth_evaluations": truth.evaluations,
        "truth_stderr": float(off),
        "rows": rows,
    }
