"""How fast is a leg on this accelerator, and what is gained by compiling it whole?

    python benchmarks/leg.py [--json=FILE]

A leg of S steps as one compiled call (`lax.scan` inside) against a Python loop over one compiled step, the
same model, data, optimizer and loss in the same run. Medians; steps and examples a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from relayjax.learning.layout import Layout
from relayjax.learning.leg import Leg, LegSettings
from relayjax.learning.placement import Shard, place_shards
from relayjax.learning.task import Task
from relayjax.learning.tasks.digits import Digits

STEPS = 200


def looped(task: Task, layout: Layout, settings: LegSettings, shard: Shard) -> Callable[[np.ndarray], Any]:
    """The leg as one might write it first: a Python loop that calls one jitted step."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(settings.clip_norm),
        optax.sgd(settings.learning_rate, momentum=settings.momentum),
    )

    @jax.jit
    def step(theta: jax.Array, state: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        drawn = shard.start + jax.random.randint(key, (settings.batch_size,), 0, shard.size)
        batch = jax.tree.map(lambda array: array[drawn], shard.data)
        gradient = jax.grad(lambda flat: jnp.mean(task.losses(layout.unflatten(flat), batch)))(theta)
        updates, state = optimizer.update(gradient, state, theta)
        return jnp.asarray(optax.apply_updates(theta, updates)), state

    def run(theta: np.ndarray) -> Any:
        moved, state = jnp.array(theta), optimizer.init(jnp.asarray(theta))
        for key in jax.random.split(jax.random.key(0), settings.steps):
            moved, state = step(moved, state, key)
        return moved - theta

    return run


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median time of a call, compiled before."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="how fast is a leg on this accelerator?")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    device = jax.devices()[0]
    rows = []
    for width, batch_size in ((64, 32), (256, 64), (1024, 256)):
        task = Digits(hidden=(width,)).build(10, seed=0)
        settings = LegSettings(steps=STEPS, batch_size=batch_size, objective="plain", anchor=0.0)
        params = task.init(jax.random.key(0))
        layout = Layout.of(params)
        theta, shard = np.asarray(layout.flatten(params)), place_shards(task)[0]
        leg, key, loop = Leg(task, layout, settings), jax.random.key(1), looped(task, layout, settings, shard)
        scanned = seconds(lambda: leg(theta, shard, key, 0, 200), arguments.repeats)  # noqa: B023
        stepped = seconds(lambda: loop(theta), arguments.repeats)  # noqa: B023
        rows.append({"width": width, "batch": batch_size, "leg": scanned, "loop": stepped, "P": layout.size})
    table = Table(
        title=f"a leg of {STEPS} steps on {device.device_kind} ({device.platform})", title_justify="left"
    )
    for heading in ("hidden", "batch", "parameters", "leg, ms", "steps/s", "examples/s", "loop / leg"):
        table.add_column(heading, justify="right")
    for row in rows:
        rate = STEPS / row["leg"]
        figures = (f"{1e3 * row['leg']:.1f}", f"{rate:,.0f}", f"{rate * row['batch']:,.0f}")
        table.add_row(
            str(row["width"]), str(row["batch"]), f"{row['P']:,}", *figures, f"{row['loop'] / row['leg']:.2f}"
        )
    Console().print(table)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"device": device.device_kind, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
