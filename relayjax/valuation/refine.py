"""Spends a budget of coalitions step by step, until the values are precise enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import jax
import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.estimate import Estimate
from relayjax.valuation.games.base import Game
from relayjax.valuation.memo import Memo


class Estimator(Protocol):
    """Shares out what a game's coalitions are worth.

    Deterministic in the key. Under a larger budget it evaluates what it evaluates under a smaller one, and
    more: with a `Memo` for a game, only the difference is paid for.
    """

    def __call__(self, game: Game, key: jax.Array, *, budget: int) -> Estimate:
        """The values.

        Args:
          game: any game.
          key: `jax.random.key`.
          budget: most distinct coalitions to evaluate, the empty and the full one included.

        Raises:
          ConfigError: the budget is too small for any estimate; the message says what suffices.
        """
        ...


def refine(
    estimator: Estimator,
    game: Game,
    key: jax.Array,
    *,
    budget: int,
    target_stderr: float | None = None,
    first: int | None = None,
    progress: Callable[[Estimate], None] = lambda estimate: None,
) -> Estimate:
    """Doubles what is spent until the largest standard error meets a target or the budget is used up.

    It also stops when nine tenths of the variance come from the draw of validation examples: no coalition
    can mend that, only more examples.

    Args:
      estimator: any that evaluates coalitions.
      game: any game; a `Memo` goes on from what it remembers.
      key: `jax.random.key`.
      budget: most distinct coalitions to evaluate.
      target_stderr: largest standard error wanted, nats; None spends the whole budget at once.
      first: what to spend first; by default 4 (N + 1).
      progress: is told of every intermediate estimate.

    Raises:
      ConfigError: the target is not positive, or the budget is too small for the estimator.
    """
    if target_stderr is not None and not target_stderr > 0:
        raise ConfigError(f"target_stderr is {target_stderr}; give a positive number of nats, or None")
    memo = game if isinstance(game, Memo) else Memo(game)
    spent = budget if target_stderr is None else min(budget, first or 4 * (game.participants + 1))
    while True:
        estimate = estimator(memo, key, budget=spent)
        progress(estimate)
        settled = target_stderr is not None and (
            estimate.stderr.max() <= target_stderr
            or bool(np.all(10 * estimate.sampling_stderr**2 <= estimate.stderr**2))
        )
        if settled or spent == budget:
            return estimate
        spent = min(budget, 2 * spent)
