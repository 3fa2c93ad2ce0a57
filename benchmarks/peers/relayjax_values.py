"""RelayJAX's permutation sampling of the same values, with tables or without.

A "leg" is as many valuations as the description says. Each makes its game and the game's tables anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from worth import perceptron

from peers.protocol import serve
from relayjax.valuation import Composition, Estimate, permutation_shapley
from relayjax.valuation.games.subset_sums import TABLE_BYTES


def setup(spec: dict[str, Any]) -> tuple[str, Callable[[], Any], Callable[[], int | None]]:
    """See `protocol.serve`. Writes what some coalitions are worth and how many a valuation evaluates."""
    with np.load(spec["game"], allow_pickle=False) as arrays:
        placed = {name: jax.device_put(arrays[name]) for name in arrays.files}
    losses = perceptron.losses(placed["inputs"], placed["labels"])
    siblings = placed["base"], placed["deltas"], placed["weights"]
    room = TABLE_BYTES if spec["tables"] else 0

    def value() -> Estimate:
        game = Composition(losses, *siblings, table_bytes=room)
        return permutation_shapley(game, jax.random.key(0), budget=spec["evaluations"])

    members = np.zeros((len(spec["coalitions"]), len(placed["deltas"])), bool)
    for row, coalition in zip(members, spec["coalitions"], strict=True):
        row[coalition] = True
    worth = Composition(losses, *siblings, table_bytes=room).utility(members)
    answer = {
        "version": metadata.version("relayjax"),
        "evaluations": value().evaluations,
        "worth": worth.tolist(),
    }
    Path(spec["answer"]).write_text(json.dumps(answer), "utf-8")
    device = jax.devices()[0].device_kind
    return device, lambda: [value() for _ in range(spec["times"])], lambda: None


if __name__ == "__main__":
    serve(setup)
