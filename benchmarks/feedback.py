"""What lossy deltas cost a relay: digits, ten participants, Dirichlet(0.1), test accuracy at the end.

    python benchmarks/feedback.py [--seeds=3] [--codecs=top_percent,sign] [--legs=200]

Each codec runs three ways: forgetting what its payloads leave out; with error feedback that each trainer
keeps for itself; with error feedback that is handed along with the model. The legs are those of
`configs/digits.py`.
"""

from __future__ import annotations

import argparse
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
    """A codec as a scheme uses it, with its residuals.

    Attributes:
      codec: of the deltas.
      way: one of `WAYS`.
      trainer: whose delta is encoded next.
      residuals: by trainer; where they are handed along, all under one name.
      sizes: bytes of every payload.
    """

    codec: Codec
    way: str
    trainer: int = 0
    residuals: dict[int, np.ndarray | None] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def encode(self, parent: np.ndarray, child: np.ndarray) -> bytes:
        owner = self.trainer if self.way == "kept" else -1
        held = self.residuals.get(owner)
        if held is None:
            held = np.zeros_like(child)  # all codecs alike, those that could do without as well
        encoded = feedback.encode(self.codec, parent, child, held)
        self.residuals[owner] = None if self.way == "forgotten" else encoded.residual
        self.sizes.append(len(encoded.payload))
        return encoded.payload

    def apply(self, payload: bytes, parent: np.ndarray) -> np.ndarray:
        return self.codec.apply(payload, parent)


@dataclass(frozen=True, eq=False)
class CodedSetup(Setup):
    """A setup that tells its codec who trains."""

    deltas: Deltas | None = None

    def train(self, theta: np.ndarray, participant: int, number: int, start: int) -> np.ndarray:
        if self.deltas is not None:
            self.deltas.trainer = participant
        return super().train(theta, participant, number, start)


def measure(name: str | None, way: str, seed: int, legs: int) -> tuple[float, float]:
    """Trains one relay; returns its test accuracy and how many times smaller than the model deltas were."""
    settings = config.load("digits")
    task = settings.task.build(settings.relay.participants, seed)
    deltas = None if name is None else Deltas(codec.get(name), way)
    setup = CodedSetup(task, settings.leg, legs, seed, codec=deltas, deltas=deltas)
    outcome = schemes.chain(setup, schemes.DEFAULT_BRAIDS)
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
    options = parser.parse_args()
    names, ways = options.codecs.split(","), options.ways.split(",")
    rows = [(None, "exact"), *((name, way) for name in names for way in ways)]
    seeds = range(options.seeds)
    table = Table("codec", "residual", "× smaller", *(f"seed {seed}" for seed in seeds))
    for name, way in rows:
        found = [measure(name, way, seed, options.legs) for seed in seeds]
        accuracies = [f"{accuracy:.3f}" for accuracy, _ in found]
        table.add_row(name or "none", way, f"{found[0][1]:.1f}", *accuracies)
        print(name or "none", way, *accuracies, flush=True)
    Console().print(table)


if __name__ == "__main__":
    main()
