"""Handwritten digits in a relay of ten participants whose labels are skewed (Dirichlet 0.1), 200 legs.

Reproduces: a relay whose legs are lightly anchored, whose prior correction fades and whose one cosine
schedule spans all legs ends within 0.5 points of pooled training with as many steps.

    relayjax run --config=configs/digits.py --workdir=runs/digits

Expected: test accuracy 0.97–0.99 (pooled 0.97–0.99, alone about 0.4), under a minute on 2 idle cores.

Variants: `smoke` (a few seconds); `plain` (the plain relay: no anchor, schedule, clipping or prior
correction, everything accepted; it forgets and collapses); `idle` (p3 returns its parent unchanged);
`derelayl` (the rules of the paper, as its authors' program plays them).
"""

from __future__ import annotations

import dataclasses

from relayjax.config import Config, Experiment, unknown_variant
from relayjax.learning.leg import LegSettings
from relayjax.learning.tasks.digits import Digits
from relayjax.mechanism.rules import DeRelayLRules, RelayJAXRules, Schedule

NAT = 1_000_000  # micro-nats

# 20 laps of ten legs; laps 0, 2, 4, 7 and 12 are braid rounds, the others ten chain rounds each.
RELAY = Schedule(rounds=155, participants=10, validators=3, braid_rounds=(1, 12, 23, 44, 85), draw=200)


def get_config(variant: str = "") -> Config:
    """The config, or one of its variants."""
    config = Config(
        task=Digits(alpha=0.1),
        leg=LegSettings(steps=200, batch_size=64, learning_rate=0.05, prior_anneal=6.0, anchor=0.001),
        relay=RELAY,
        rules=RelayJAXRules(tolerance=3 * NAT // 2),
    )
    match variant:
        case "":
            return config
        case "smoke":
            small = dataclasses.replace(RELAY, rounds=12, participants=4, braid_rounds=(1, 6))
            leg = dataclasses.replace(config.leg, steps=20)
            return dataclasses.replace(config, relay=small, leg=leg)
        case "plain":
            leg = dataclasses.replace(
                config.leg, objective="plain", anchor=0.0, schedule="constant", clip_norm=1e9
            )
            rules = RelayJAXRules(tolerance=10**12, slope_tolerance=10**12)
            relay = dataclasses.replace(RELAY, rounds=200, braid_rounds=())
            return dataclasses.replace(config, leg=leg, rules=rules, relay=relay)
        case "derelayl":
            relay = dataclasses.replace(RELAY, braid_rounds=(), draw=100)
            return dataclasses.replace(config, relay=relay, rules=DeRelayLRules())
        case "idle":
            return dataclasses.replace(config, experiment=Experiment(deviation="free_rider", deviants=(3,)))
    raise unknown_variant(variant, ("smoke", "plain", "derelayl", "idle"))
