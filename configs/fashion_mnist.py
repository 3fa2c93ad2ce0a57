"""Fashion-MNIST in a relay of ten participants whose labels are skewed (Dirichlet 0.1), 200 legs.

Reproduces: with the prior correction kept all the way, a relay on strongly skewed labels comes within 3
points of pooled training in 200 legs of 50 steps.

    relayjax run --config=configs/fashion_mnist.py --workdir=runs/fashion_mnist

Expected: test accuracy about 0.85 (pooled 0.89), one to two minutes on 2 cores. Needs the four IDX files:
install the Debian package dataset-fashion-mnist, or give their folder with --config.task.directory.

Variants: `smoke` (a few seconds), `cnn` (a small convolutional network), `sketches` (participants tell each
other a Gaussian of each of their labels beforehand, and rehearse from them), `sketches_long` (half as many
legs of twice the steps, for less than half of the bytes of federated averaging), `plain` (the plain relay).
"""

from __future__ import annotations

import dataclasses

from relayjax.config import Config, unknown_variant
from relayjax.learning.leg import LegSettings
from relayjax.learning.tasks.fashion_mnist import FashionMnist
from relayjax.mechanism.rules import COIN, RelayJAXRules, Schedule

NAT = 1_000_000  # micro-nats

# 20 laps of ten legs; laps 0, 2, 4, 7 and 12 are braid rounds, the others ten chain rounds each.
RELAY = Schedule(rounds=155, participants=10, validators=3, braid_rounds=(1, 12, 23, 44, 85), draw=500)


def get_config(variant: str = "") -> Config:
    """The config, or one of its variants."""
    config = Config(
        task=FashionMnist(alpha=0.1),
        leg=LegSettings(
            steps=50, batch_size=64, learning_rate=0.05, prior_anneal=0.0, anchor=0.0, relay_momentum=0.5
        ),
        relay=RELAY,
        rules=RelayJAXRules(tolerance=NAT),
    )
    match variant:
        case "":
            return config
        case "smoke":
            small = dataclasses.replace(RELAY, rounds=6, participants=4, braid_rounds=(1, 4))
            leg = dataclasses.replace(config.leg, steps=20)
            return dataclasses.replace(config, relay=small, leg=leg)
        case "cnn":
            relay = dataclasses.replace(RELAY, draw_valued=500)  # a coalition costs a pass of the network
            return dataclasses.replace(config, task=FashionMnist(alpha=0.1, model="cnn"), relay=relay)
        case "sketches" | "sketches_long":
            task = FashionMnist(alpha=0.1, sketch_rank=40)
            leg = dataclasses.replace(config.leg, rehearsal=0.5)
            told = dataclasses.replace(config, task=task, leg=leg)
            return told if variant == "sketches" else _half_as_many_legs(told)
        case "plain":
            leg = dataclasses.replace(config.leg, objective="plain", schedule="constant", clip_norm=1e9)
            relay = dataclasses.replace(RELAY, rounds=200, braid_rounds=())
            return dataclasses.replace(
                config, leg=leg, relay=relay, rules=RelayJAXRules(tolerance=10**12, slope_tolerance=10**12)
            )
    raise unknown_variant(variant, ("smoke", "cnn", "sketches", "sketches_long", "plain"))


def _half_as_many_legs(config: Config) -> Config:
    """Twice as long, in 10 laps, of which 0, 2 and 5 are braid rounds; about as many coins in all."""
    relay = dataclasses.replace(RELAY, rounds=73, braid_rounds=(1, 12, 33))
    leg = dataclasses.replace(config.leg, steps=2 * config.leg.steps)
    rules = RelayJAXRules(tolerance=NAT, emission=20 * COIN)
    return dataclasses.replace(config, relay=relay, leg=leg, rules=rules)
