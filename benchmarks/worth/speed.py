"""How long an evaluation takes, beside pyDVL taking turns, and how long a thousand legs do.

Shapes: N participants, K legs, P parameters, E validation examples.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from peers.runner import Measured, Peer, measure, quartiles

from relayjax.valuation import Composition, aumann_shapley
from relayjax.valuation import Path as PathGame
from worth import perceptron

PARTICIPANTS = 16

SETTINGS = {
    "digits, 500 rows": (64, 500, 3),
    "digits, 64 rows": (64, 64, 12),
    "1 024 inputs, 500 rows": (1024, 500, 1),
}
"""Name → inputs and validation rows of a perceptron with 128 hidden units and ten classes, and valuations in
a turn: enough for a turn to last."""

OURS, PLAIN = "RelayJAX", "RelayJAX, no tables"

Row = dict[str, Any]


def beside_pydvl(setting: str, python: str | None, evaluations: int, turns: int) -> dict[str, Row]:
    """Seconds of a valuation by permutation sampling, medians and quartiles over the turns.

    Args:
      setting: one of `SETTINGS`.
      python: that has pyDVL; None measures RelayJAX alone.
      evaluations: of a valuation; a multiple of N.
      turns: how often each has its turn.

    Returns:
      By peer: its `version`; `evaluations` it made in a valuation; `seconds` of one; `over_ours` and
      `processor_over_ours`, ratios within a turn per evaluation.
    """
    inputs, rows, times = SETTINGS[setting]
    coalitions = [[0], [1, 2, 5], list(range(PARTICIPANTS))]
    with tempfile.TemporaryDirectory() as folder:
        game = Path(folder) / "game.npz"
        np.savez(game, **perceptron.arrays(inputs, rows, PARTICIPANTS))  # pyright: ignore[reportArgumentType]
        spec = {
            "game": str(game),
            "evaluations": evaluations,
            "times": times,
            "coalitions": coalitions,
        }
        peers = [
            Peer(name, "relayjax_values", sys.executable, spec | {"tables": tables})
            for name, tables in ((OURS, True), (PLAIN, False))
        ]
        shape = {"hidden": perceptron.HIDDEN, "classes": perceptron.CLASSES}
        for threads in sorted({1, os.cpu_count() or 1}) if python else ():
            name = f"pyDVL, {threads} thread{'s' if threads > 1 else ''}"
            peers.append(Peer(name, "pydvl_values", str(python), spec | shape | {"threads": threads}))
        for place, peer in enumerate(peers):
            peer.spec["answer"] = str(Path(folder) / f"{place}.json")
        found = measure(peers, turns, together=True)
        answers = {peer.name: json.loads(Path(peer.spec["answer"]).read_text("utf-8")) for peer in peers}
    for name, answer in answers.items():
        if not np.allclose(answer["worth"], answers[OURS]["worth"], rtol=1e-3, atol=1e-5):
            raise SystemExit(
                f"{name} values another game: {answer['worth']} instead of {answers[OURS]['worth']}"
            )
    counts = {name: answer["evaluations"] for name, answer in answers.items()}
    return {name: {"version": answers[name]["version"]} | _row(name, found, counts, times) for name in found}


def _row(name: str, found: dict[str, Measured], counts: dict[str, int], times: int) -> Row:
    fewer = counts[OURS] / counts[name]

    def over(theirs: list[float], ours: list[float]) -> tuple[float, float, float]:
        return quartiles([fewer * a / b for a, b in zip(theirs, ours, strict=True)])

    return {
        "evaluations": counts[name],
        "seconds": quartiles([seconds / times for seconds in found[name].legs]),
        "over_ours": over(found[name].legs, found[OURS].legs),
        "processor_over_ours": over(found[name].processor, found[OURS].processor),
    }


def legs(count: int, together: int = 10, rows: int = 500) -> dict[str, Row]:
    """Seconds to value so many legs of a 64-128-10 perceptron by path, and by Aumann–Shapley in braid rounds.

    Args:
      count: K.
      together: legs of a round, siblings of one head.
      rows: E.

    Returns:
      By method: `seconds` once compiled, and `compilation` in seconds.
    """
    rng = np.random.default_rng(0)
    size = perceptron.size(64)
    start = perceptron.arrays(64, rows, 1)
    losses = perceptron.losses(jnp.asarray(start["inputs"]), jnp.asarray(start["labels"]))
    steps = np.float32(1e-3) * rng.standard_normal((together, size), np.float32)
    weights = jnp.full(together, 1 / together, jnp.float32)

    def models(legs: int) -> Iterator[np.ndarray]:
        head = start["base"]
        yield head
        for leg in range(legs):
            head = head + steps[leg % together]
            yield head

    def by_path(legs: int) -> None:
        PathGame.measure(losses, models(legs), np.arange(legs) % together, together).estimate()

    def by_rounds(legs: int) -> None:
        head = start["base"]
        for _ in range(math.ceil(legs / together)):
            game = Composition(losses, jnp.asarray(head), jnp.asarray(steps), weights)
            aumann_shapley(game)
            head = head + steps.mean(axis=0)

    found = {}
    for name, value in (("path", by_path), (f"Aumann–Shapley, rounds of {together}", by_rounds)):
        first, again, seconds = (_seconds(value, legs) for legs in (together, together, count))
        found[name] = {"seconds": seconds, "compilation": max(0.0, first - again)}
    return found


def _seconds(value: Callable[[int], None], legs: int) -> float:
    begin = time.perf_counter()
    value(legs)
    return time.perf_counter() - begin
