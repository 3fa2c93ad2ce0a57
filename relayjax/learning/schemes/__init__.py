"""Ways to train one model with many participants, in one harness: same task, legs, steps, counted bytes.

The relays here keep no ledger and pay nobody: they are for measuring what a policy does to the model.
"""

from __future__ import annotations

from relayjax.learning.schemes.base import Outcome, Setup, Turn
from relayjax.learning.schemes.federated import diloco, fedavg
from relayjax.learning.schemes.references import alone, pooled
from relayjax.learning.schemes.relays import DEFAULT_BRAIDS, braid, chain, tree

__all__ = [
    "DEFAULT_BRAIDS",
    "Outcome",
    "Setup",
    "Turn",
    "alone",
    "braid",
    "chain",
    "diloco",
    "fedavg",
    "pooled",
    "tree",
]
