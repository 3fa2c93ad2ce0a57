"""A world that trains as a live relay did: its learning curve and its participants, from the ledger."""

from __future__ import annotations

import dataclasses
import math
from statistics import linear_regression, pstdev

from relayjax.errors import WorkdirError
from relayjax.history import History
from relayjax.incentives.settings import World
from relayjax.measured import NATS, head_losses, legs_done, valuations
from relayjax.mechanism.state import Role

_FEWEST = 3
"""Rounds that a learning curve is fitted to, at least."""


def observed(past: History, world: World) -> World:
    """The world of a relay: opening loss, learning curve and how much its participants differ.

    ln(−ln(ℓ(t) / opening)) = stretch · (ln t − ln laps) is fitted by least squares over all rounds after
    which the loss lay below the opening one. What the ledger does not tell stays as it is.

    Args:
      past: of the relay.
      world: what else is assumed.

    Raises:
      WorkdirError: nothing has been valued yet, or the loss has not fallen.
    """
    if not past.state.opening:
        raise WorkdirError(
            "nothing has been valued yet; let the relay run until its first braid round is over"
        )
    opening = past.state.opening * NATS
    seats = len(past.state.named(Role.PARTICIPANT))
    points = [
        (math.log(legs / seats), math.log(-math.log(loss * NATS / opening)))
        for legs, loss in zip(legs_done(past), head_losses(past), strict=True)
        if loss is not None and 0 < loss * NATS < opening and legs
    ]
    if len(points) < _FEWEST:
        raise WorkdirError("the loss has not fallen in three rounds or more; let the relay run on")
    stretch, offset = linear_regression(*zip(*points, strict=True))
    if stretch <= 0:
        raise WorkdirError("the loss does not keep falling; audit with the assumptions instead")
    worth: dict[str, float] = {}
    for valuation in valuations(past):
        worth[valuation.trainer] = worth.get(valuation.trainer, 0.0) + valuation.value
    logarithms = [math.log(value) for value in worth.values() if value > 0]
    spread = pstdev(logarithms) if len(logarithms) > 1 else world.spread
    laps = math.exp(-offset / stretch)
    return dataclasses.replace(
        world, opening=opening, laps=laps, stretch=min(stretch, 2.0), spread=min(spread, 3.0)
    )
