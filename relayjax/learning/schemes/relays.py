"""The relay in its three topologies, without a ledger: chain, braid and the paper's tree.

A chain leg moves one baton: from the participant that trained to the one that trains next. A braid leg moves
two, as in federated averaging: the head out to the participant, its delta back. P: parameters, N:
participants.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from relayjax.learning.evaluate import Evaluator
from relayjax.learning.placement import place
from relayjax.learning.schemes.base import Outcome, Setup
from relayjax.learning.task import examples
from relayjax.merging import Merge, compose, equal, stepped

DEFAULT_BRAIDS = (0, 2, 4, 7, 12)
"""Laps of twenty that are braid rounds: denser early on, where values are large against their noise, but no
two in a row, for hardly anything is new right after one."""


def chain(setup: Setup, braids: Collection[int] = (), merge: Merge = equal) -> Outcome:
    """Participants train one after another, in an order drawn once; some laps are braid rounds.

    Args:
      setup: what is trained.
      braids: laps, from 0, in which all train from the same head and are merged.
      merge: how.
    """
    order = np.random.default_rng(setup.seed).permutation(setup.participants)
    theta, leg, moved = setup.genesis(), 0, 0
    for lap in range(setup.laps):
        if lap in braids:
            children = [
                setup.train(theta, int(who), leg + place, leg) for place, who in enumerate(sorted(order))
            ]
            theta = _merged(setup, theta, children, merge)
            for who in order:
                setup.momentum.remember(who, theta, leg)
            moved += 2 * len(children)
            leg += len(children)
        else:
            for who in order:
                theta = setup.train(theta, int(who), leg, leg)
                setup.momentum.remember(who, theta, leg)
                leg, moved = leg + 1, moved + 1
    return setup.outcome(theta, leg, moved)


def braid(setup: Setup, merge: Merge = equal) -> Outcome:
    """Every lap is a braid round."""
    return chain(setup, range(setup.laps), merge)


def tree(setup: Setup, survivors: float = 0.5, places: int = 4) -> Outcome:
    """The paper's auction as a training run: several owners, several trainers each, the best share survives.

    Owners and trainers together are half of the participants. Children are ranked by their loss on the
    validation examples; their trainers own the next round's models (DeRelayL, arXiv 2605.02935, section on
    the simulation).

    Args:
      setup: what is trained.
      survivors: share of a round's children that are kept; at least one is.
      places: trainers an owner takes at most.
    """
    rng = np.random.default_rng(setup.seed)
    loss = _validation_loss(setup)
    heads = [(int(rng.integers(setup.participants)), setup.genesis())]
    leg = moved = 0
    while leg < setup.legs:
        others = [who for who in range(setup.participants) if who not in {owner for owner, _ in heads}]
        wanted = min(max(1, setup.participants // 2 - len(heads)), places * len(heads), setup.legs - leg)
        trainers, children = rng.permutation(others)[:wanted], []
        for place_taken, who in enumerate(trainers):
            _, theta = heads[place_taken // places]
            children.append((int(who), setup.train(theta, int(who), leg + place_taken, leg)))
        leg, moved = leg + len(children), moved + 2 * len(children)
        children.sort(key=lambda child: loss(child[1]))
        heads = children[: max(1, int(survivors * len(children)))]
    return setup.outcome(heads[0][1], leg, moved)


def _merged(setup: Setup, theta: np.ndarray, children: list[np.ndarray], merge: Merge) -> np.ndarray:
    """The next head; value-weighted merging looks at rises of the loss on the validation examples."""
    rises: list[int] = [0] * len(children)
    if merge is not equal:
        loss = _validation_loss(setup)
        parent = loss(theta)
        rises = [round(1e6 * (loss(child) - parent)) for child in children]
    merge = stepped(merge, setup.merge_step)
    return compose(theta, *merge([child - theta for child in children], rises, len(children)))


def _validation_loss(setup: Setup) -> Callable[[np.ndarray], float]:
    """The mean loss of a model on all validation examples, in nats."""
    evaluator, validation = Evaluator(setup.task, setup.leg.baton.params), place(dict(setup.task.validation))
    everything = np.arange(examples(setup.task.validation), dtype=np.int32)
    return lambda theta: evaluator.mean_loss(theta, validation, everything)
