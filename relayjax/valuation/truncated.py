"""Shapley values from orders that are walked only as far as they pay.

Shapes: N participants, R orders, W orders walked side by side, C distinct coalitions, E validation examples.
"""

from __future__ import annotations

import jax
import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.draws import Draws
from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.exact import covers_all, exact_shapley
from relayjax.valuation.games import Game
from relayjax.valuation.marginals import packed
from relayjax.valuation.orders import prefixes, sufficient

# Orders walked in step, so that a game has several coalitions to evaluate at once.
_SIDE_BY_SIDE = 16

# Orders left early, and those whose coalitions are known, cost little: stop at this multiple of whole ones.
_REPEATS = 4


def truncated_shapley(game: Game, key: jax.Array, *, budget: int, tolerance: float) -> Estimate:
    """Mean marginal contributions over orders, each left where its prefix is worth as much as all.

        φ_i = 1/R Σ_r [ v(before_r(i) ∪ i) − v(before_r(i)) ] · 1{ |v(N) − v(P)| > tolerance for every
                                                                    P ⊆ before_r(i) on the walk }

    What is not walked counts as 0, so that a budget goes to more orders. This is biased, and no budget mends
    it. Where v never falls as a coalition grows, every value is too low, by at most the tolerance. Where it
    does fall, an order may pass by v(N) half way and is then left too early: no bound holds, except that the
    values add up to v(N) within the tolerance. The standard error does not know of the bias. Which coalitions
    are evaluated depends on their utilities. A budget that covers all coalitions gives exact values.

    Args:
      game: any game.
      key: `jax.random.key`; the first orders of a larger budget are those of a smaller one.
      budget: most distinct coalitions to evaluate.
      tolerance: of |v(N) − v(P)|, nats; 0 leaves an order only at a tie.

    Raises:
      ConfigError: the tolerance is negative, or the budget does not suffice for two whole orders.

    References:
      Ghorbani and Zou, Data Shapley: Equitable Valuation of Data for Machine Learning, 2019 (algorithm 1).
    """
    if not tolerance >= 0:
        raise ConfigError(f"permutation: tolerance is {tolerance}; give 0 nats or more, or None to walk on")
    participants = game.participants
    if covers_all(budget, participants):
        return exact_shapley(game)
    enough = sufficient(participants, 2)
    if budget < enough:
        raise ConfigError(
            f"permutation: a budget of {budget} coalitions does not suffice for {participants} participants; "
            f"{enough} do: a standard error takes two orders"
        )
    walk = _Walk(game, tolerance)
    walk.evaluate(np.array([[False] * participants, [True] * participants]))
    step = participants - 1
    most = _REPEATS * ((budget - 2) // step)
    orders = prefixes(Draws(key).orders(most, participants))
    done = 0
    # An order starts if the budget pays for all of it: which do does not depend on how many go side by side.
    while done < most and (payable := (budget - walk.spent) // step):
        count = min(payable, _SIDE_BY_SIDE)
        walk.along(orders[done : done + count])
        done += count
    return walk.estimate()


class _Walk:
    """What was evaluated, and how far each order went.

    Attributes:
      spent: distinct coalitions evaluated.
    """

    def __init__(self, game: Game, tolerance: float):
        self._game, self._tolerance = game, tolerance
        self._rows: dict[bytes, int] = {}
        self._coalitions: list[np.ndarray] = []
        self._per_example: list[np.ndarray] = []
        self._utilities: list[float] = []
        self._steps: list[list[tuple[int, int, int]]] = []  # of each order: who, row without, row with

    @property
    def spent(self) -> int:
        return len(self._rows)

    def evaluate(self, coalitions: np.ndarray) -> list[int]:
        """Rows of the coalitions in the table, evaluating those that are new."""
        keys = [name.tobytes() for name in packed(coalitions)]
        new = {key: index for index, key in enumerate(keys) if key not in self._rows}
        if new:
            asked = coalitions[list(new.values())]
            per_example = self._game.utility_per_example(asked)
            self._rows.update(zip(new, range(self.spent, self.spent + len(new)), strict=True))
            self._coalitions.extend(asked)
            self._per_example.extend(per_example)
            self._utilities.extend(per_example.mean(axis=1, dtype=np.float64).tolist())
        return [self._rows[key] for key in keys]

    def along(self, orders: np.ndarray) -> None:
        """Walks orders, given by their prefixes, bool [W, N+1, N], step by step side by side."""
        empty, everyone = 0, 1
        at = [empty] * len(orders)
        steps: list[list[tuple[int, int, int]]] = [[] for _ in orders]
        for size in range(1, orders.shape[1]):
            open_ = [
                w
                for w in range(len(orders))
                if len(steps[w]) == size - 1
                and abs(self._utilities[everyone] - self._utilities[at[w]]) > self._tolerance
            ]
            if not open_:
                break
            rows = self.evaluate(orders[open_, size])
            for w, row in zip(open_, rows, strict=True):
                who = int(np.flatnonzero(orders[w, size] ^ orders[w, size - 1])[0])
                steps[w].append((who, at[w], row))
                at[w] = row
        self._steps.extend(steps)

    def estimate(self) -> Estimate:
        """The mean over the orders."""
        orders, participants = len(self._steps), len(self._coalitions[0])
        coefficients = np.zeros((participants, self.spent))
        own = np.zeros((orders, participants))
        for order, steps in enumerate(self._steps):
            for who, without, joined in steps:
                coefficients[who, joined] += 1 / orders
                coefficients[who, without] -= 1 / orders
                own[order, who] = self._utilities[joined] - self._utilities[without]
        return from_table(
            np.array(self._coalitions),
            np.array(self._per_example),
            coefficients,
            "permutation",
            own.var(axis=0, ddof=1) / orders,
        )
