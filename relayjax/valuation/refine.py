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

    It also stops when nine tenths of the variance of every value come from the draw of validation examples:
    more coalitions cannot mend that, only more examples. A step whose budget the estimator refuses is passed
    over. A standard error that the first step guesses from little is itself uncertain, by a third or so:
    where the target must hold, let it be lower by as much.

    Args:
      estimator: any; of the registry or one's own.
      game: any game; a `Memo` goes on from what it remembers.
      key: `jax.random.key`.
      budget: most distinct coalitions to evaluate.
      target_stderr: largest standard error wanted, nats; None spends the whole budget at once.
      first: what to spend first; by default 8 (N + 1).
      progress: is told of every estimate, the last one included.

    Returns:
      The last estimate. Whether the target was met is told by its `stderr`; that more examples are what it
      takes, by `sampling_stderr` beside it.

    Raises:
      ConfigError: the target or the first step is not positive, or the budget is too small for the
        estimator.
    """
    if target_stderr is not None and not target_stderr > 0:
        raise ConfigError(f"target_stderr is {target_stderr}; give a positive number of nats, or None")
    if first is not None and first < 1:
        raise ConfigError(f"first is {first}; give 1 coalition or more, or None for the default")
    memo = game if isinstance(game, Memo) else Memo(game)
    spent = budget if target_stderr is None else min(budget, first or 8 * (game.participants + 1))
    while True:
        try:
            estimate = estimator(memo, key, budget=spent)
        except ConfigError:
            if spent >= budget:
                raise
        else:
            progress(estimate)
            if spent >= budget or _settled(estimate, target_stderr):
                return estimate
        spent = min(budget, 2 * spent)


def _settled(estimate: Estimate, target_stderr: float | None) -> bool:
    if target_stderr is not None and estimate.stderr.max() <= target_stderr:
        return True
    return bool(np.all(10 * estimate.sampling_stderr**2 <= estimate.stderr**2))
