"""The authors' simulation of DeRelayL: 256 participants who play its rules for 5 000 rounds.

Reproduces: both figures of the paper (arXiv 2605.02935), the shares of participants by version and the
coins of everybody, from 40 populations instead of one. The rules are those of a live relay
(`configs/digits.py:derelayl`): bids count rounds from 0, the owner of the genesis version is paid twice.

    relayjax simulate --config=configs/derelayl_paper.py --plot=derelayl.svg

Expected: the share of each version within 0.3 points of the paper's; at round 5 000 a mean of 1 930 000
coins, standard deviation 510 000; seconds on 2 idle cores.

Variants: `smoke` (a second); `versions` (the 100 rounds of the figure of versions); `million` (a million
participants, 100 rounds).
"""

from __future__ import annotations

import dataclasses

from relayjax.config import unknown_variant
from relayjax.simulation.settings import Population


def get_config(variant: str = "") -> Population:
    """The population, or one of its variants."""
    population = Population(participants=256, rounds=5_000, success_rate=0.9, seed=42, repetitions=40)
    match variant:
        case "":
            return population
        case "smoke":
            return dataclasses.replace(population, participants=64, rounds=50, repetitions=4)
        case "versions":
            return dataclasses.replace(population, rounds=100)
        case "million":
            return dataclasses.replace(population, participants=1_000_000, rounds=100, repetitions=1)
    raise unknown_variant(variant, ("smoke", "versions", "million"))
