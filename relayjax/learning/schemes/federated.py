"""The peers: federated averaging and its relatives. A leg moves two models, the global one and its own.

N: participants, P: parameters.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from relayjax.learning.schemes.base import Outcome, Setup
from relayjax.learning.task import examples


def fedavg(setup: Setup) -> Outcome:
    """Federated averaging: all train a leg from the global model, which becomes their mean weighted by data.

    With an anchor in the leg's settings it is FedProx. References: McMahan et al., arXiv 1602.05629,
    algorithm 1; Li et al., arXiv 1812.06127.
    """
    sizes = np.array([examples(shard) for shard in setup.task.shards], np.float64)
    weights = (sizes / sizes.sum()).astype(np.float32)
    theta, leg = setup.genesis(), 0
    for _ in range(setup.laps):
        deltas = [setup.train(theta, who, leg + who, leg) - theta for who in range(setup.participants)]
        theta = theta + sum(weight * delta for weight, delta in zip(weights, deltas, strict=True))
        leg += setup.participants
    return setup.outcome(theta, leg, 2 * leg)


def diloco(setup: Setup, outer_rate: float = 0.7, outer_momentum: float = 0.9) -> Outcome:
    """DiLoCo: AdamW legs whose moments stay with each participant; an outer Nesterov step on the mean delta.

    The moments count as carried in the leg's settings, but they never move: each participant keeps its own.
    So only parameters are counted. References: Douillard et al., arXiv 2311.08105, algorithm 1.
    """
    settings = dataclasses.replace(setup.settings, optimizer="adamw", optimizer_state="carried")
    own_moments = dataclasses.replace(setup, settings=settings)
    size = own_moments.leg.baton.params.size
    theta = own_moments.genesis()
    kept = [theta[size:]] * setup.participants
    momentum, leg = np.zeros(size, np.float32), 0
    for _ in range(setup.laps):
        moved = np.zeros(size, np.float32)
        for who in range(setup.participants):
            child = own_moments.train(np.concatenate([theta[:size], kept[who]]), who, leg + who, leg)
            kept[who] = child[size:]
            moved += (child[:size] - theta[:size]) / np.float32(setup.participants)
        momentum = np.float32(outer_momentum) * momentum + moved
        step = np.float32(outer_rate) * (moved + np.float32(outer_momentum) * momentum)
        theta = np.concatenate([theta[:size] + step, theta[size:]])
        leg += setup.participants
    return Outcome(theta[:size], leg, 4 * size * 2 * leg)
