"""Time of the valuation estimators on one CPU or accelerator, and of the block sizes they could use.

The game: N siblings of a 64-128-10 perceptron, 250 validation examples, all drawn by `jax.random`.

    python benchmarks/valuation.py --json=valuation.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from rich.console import Console
from rich.table import Table

from relayjax.valuation import Composition, Estimate, antithetic_shapley, aumann_shapley, exact_shapley

INPUTS, HIDDEN, CLASSES = 64, 128, 10
SIZES = (INPUTS * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES)


def logits(inputs: jax.Array, theta: jax.Array) -> jax.Array:
    """The perceptron's outputs, float32 [E, classes]."""
    w1, b1, w2, b2 = jnp.split(theta, np.cumsum(SIZES)[:-1])
    hidden = jax.nn.relu(inputs @ w1.reshape(INPUTS, HIDDEN) + b1)
    return hidden @ w2.reshape(HIDDEN, CLASSES) + b2


def losses(inputs: jax.Array, labels: jax.Array, theta: jax.Array) -> jax.Array:
    """Cross-entropy of each example, float32 [E], nats."""
    log_odds = jax.nn.log_softmax(logits(inputs, theta))
    return -jnp.take_along_axis(log_odds, labels[:, None], axis=1)[:, 0]


def game(participants: int, examples: int, block: int) -> Composition:
    """A composition whose labels a teacher draws and whose deltas lean towards that teacher."""
    keys = jax.random.split(jax.random.key(0), 4)
    inputs = jax.random.normal(keys[0], (examples, INPUTS))
    base, teacher = 0.1 * jax.random.normal(keys[1], (2, sum(SIZES)))
    labels = logits(inputs, teacher).argmax(axis=1)
    lean = jax.random.uniform(keys[2], (participants, 1))
    deltas = lean * (teacher - base) + 0.05 * jax.random.normal(keys[3], (participants, sum(SIZES)))
    weights = jnp.full(participants, 1 / participants)
    return Composition(Partial(losses, inputs, labels), base, deltas, weights, block)


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median time of a call that is compiled already."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the valuation estimators over block sizes.")
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--examples", type=int, default=250)
    parser.add_argument("--budget", type=int, default=362, help="coalitions of the antithetic estimator")
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()

    def antithetic(game: Composition) -> Estimate:
        return antithetic_shapley(game, jax.random.key(1), budget=args.budget)

    rows = []
    exact = exact_shapley(game(args.participants, args.examples, block=1)).values
    for estimator in (exact_shapley, antithetic, aumann_shapley):
        for block in args.blocks:
            value = partial(estimator, game(args.participants, args.examples, block))
            estimate = value()
            error = np.linalg.norm(estimate.values - exact) / np.linalg.norm(exact)
            noise = estimate.stderr.mean() / np.abs(estimate.values).mean()
            figures = milliseconds(value, args.repeats), error, noise
            rows.append((estimate.method, block, estimate.evaluations, *(float(f"{x:.3g}") for x in figures)))

    names = ("method", "block", "evaluations", "ms", "from exact", "stderr/value")
    table = Table(*names, title=f"N = {args.participants}, E = {args.examples}, {jax.devices()[0]}")
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))


if __name__ == "__main__":
    main()
