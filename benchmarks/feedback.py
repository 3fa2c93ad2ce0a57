"""What lossy deltas cost a relay: digits, ten participants, Dirichlet(0.1), test accuracy at the end.

    python benchmarks/feedback.py [--seeds=3] [--codecs=top_percent,sign] [--no-braids]

Each codec runs three ways: forgetting what its payloads leave out; with error feedback that each trainer
keeps for itself and adds to its next leg; with error feedback that is handed along with the model. Then the
next trainer starts from the model and what it lacks, so it trains what an exact relay would train, and what
others see follows behind. After a braid round what is handed along is the mean of its legs' residuals, as the
head is the mean of their children. The legs are those of `configs/digits.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from relayjax import codec, config
from relayjax.codec import Codec, feedback
from relayjax.learning import schemes
from relayjax.learning.schemes import Setup

WAYS = ("forgotten", "kept", "handed along")


@dataclass(eq=False)
class Deltas:
    """A codec with the residuals of its legs.

    Attributes:
      codec: of the deltas.
      way: one of `WAYS`.
      kept: by trainer, float32 [P + C].
      carried: what is handed along to the legs that start where the present one does, float32 [P + C].
      left: what those legs have left out, float32 [P + C] each.
      sizes: bytes of every payload.
    """

    codec: Codec
    way: str
    kept: dict[int, np.ndarray] = field(default_factory=dict)
    carried: np.ndarray | None = None
    left: list[np.ndarray] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """Hands along what the legs before, side by side or one, have left out."""
        if self.left:
            self.carried = np.stack(self.left).mean(axis=0, dtype=np.float32)
            self.left = []

    def seen(self, parent: np.ndarray, child: np.ndarray, residual: np.ndarray, trainer: int) -> np.ndarray:
        """What others see of a child, float32 [P + C]; keeps what they do not."""
        encoded = feedback.encode(self.codec, parent, child, residual)
        self.sizes.append(len(encoded.payload))
        assert encoded.residual is not None
        self.kept[trainer] = encoded.residual
        self.left.append(encoded.residual)
        return encoded.child


@dataclass(frozen=True, eq=False)
class CodedSetup(Setup):
    """A setup whose legs go through a codec with error feedback."""

    deltas: Deltas | None = None

    def train(self, theta: np.ndarray, participant: int, number: int, start: int) -> np.ndarray:
        deltas = self.deltas
        if deltas is None:
            return super().train(theta, participant, number, start)
        if number == start:  # the first of the legs that start here
            deltas.begin()
        residual, received = np.zeros_like(theta), theta
        if deltas.way == "kept":
            residual = deltas.kept.get(participant, residual)
        elif deltas.way == "handed along" and deltas.carried is not None:
            received = theta + deltas.carried
        child = self.trained(received, participant, number, start)
        return deltas.seen(theta, child, residual, participant)


def measure(name: str | None, way: str, seed: int, legs: int, braids: Collection[int]) -> tuple[float, float]:
    """Trains one relay; returns its test accuracy and how many times smaller than the model deltas were."""
    settings = config.load("digits")
    task = settings.task.build(settings.relay.participants, seed)
    deltas = None if name is None else Deltas(codec.get(name), way)
    setup = CodedSetup(task, settings.leg, legs, seed, deltas=deltas)
    outcome = schemes.chain(setup, braids)
    params = setup.leg.baton.params.unflatten(jnp.asarray(outcome.params))
    predicted = jax.jit(task.metrics)(params, task.test)["accuracy"]
    smaller = 4 * setup.leg.baton.size / np.mean(deltas.sizes) if deltas else 1.0
    return float(np.mean(predicted)), float(smaller)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description="What lossy deltas cost a relay on skewed digits.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--legs", type=int, default=200)
    parser.add_argument("--codecs", default=",".join(name for name in codec.NAMES if name != "lossless"))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--braids", action=argparse.BooleanOptionalAction, default=True, help="some laps are")
    options = parser.parse_args()
    braids = schemes.DEFAULT_BRAIDS if options.braids else ()
    names, ways = options.codecs.split(","), options.ways.split(",")
    rows = [(None, "exact"), *((name, way) for name in names for way in ways)]
    seeds = range(options.seeds)
    table = Table("codec", "residual", "× smaller", *(f"seed {seed}" for seed in seeds))
    for name, way in rows:
        found = [measure(name, way, seed, options.legs, braids) for seed in seeds]
        accuracies = [f"{accuracy:.3f}" for accuracy, _ in found]
        table.add_row(name or "none", way, f"{found[0][1]:.1f}", *accuracies)
        print(name or "none", way, *accuracies, flush=True)
    Console().print(table)


if __name__ == "__main__":
    main()
