"""Order-averaged path values: what a participant's legs gain, wherever in the relay its place may be.

Shapes: N participants, R orders, M = R / 2 pairs, E validation examples.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax
import numpy as np
from jax.typing import ArrayLike

from relayjax.errors import ConfigError, DataError
from relayjax.valuation.draws import Draws
from relayjax.valuation.estimate import Estimate, example_variance
from relayjax.valuation.games.prefixes import State, Train, distinct, walk

# Up to here all orders are listed and drawn without replacement: 8! are 40 320. Above, none comes twice in
# practice.
_LISTED_UP_TO = 8


def averaged_path(
    train: Train[State],
    losses: Callable[[State], ArrayLike],
    start: State,
    participants: int,
    key: jax.Array,
    *,
    orders: int = 16,
    laps: int = 1,
    progress: Callable[[int, int], None] = lambda done, needed: None,
) -> Estimate:
    """Path values averaged over relays run in sampled orders, each with its reverse.

        φ_i = 1/R Σ_r Σ_{legs k of i in relay r} [ ℓ(θ_{r,k−1}) − ℓ(θ_{r,k}) ]

    The path value alone depends on the place that chance gave a participant; over all orders it is the
    Shapley value of the game whose worth depends on the order in which members come. Efficient: Σ φ_i is the
    mean reduction over the orders run. The legs have to be trained again in every order; a beginning that
    several orders have in common is trained once.

    The variance reported is that of `antithetic_shapley`: of the pairs' values over M, and of the examples'
    own over E. Up to 8 participants pairs are drawn without replacement, so that all N! orders leave no
    sampling variance. Below some ten pairs it is itself a rough guess.

    Args:
      train: (state, participant, position) → the state after that leg, the position being that in the relay
        of this order, from 0 to N · laps − 1. It must leave the state it is given as it was.
      losses: per-example loss of a state, float [E], nats. Any measure of which less is better will do;
        negate others.
      start: the state before the first leg.
      participants: N.
      key: `jax.random.key`; the first orders of a larger number are those of a smaller one.
      orders: R, relays run, reverses included: even, at least 4; all N! of them if there are no more.
      laps: how often every participant has its turn; each lap keeps the order of the first.
      progress: is told after every leg how many are done and how many it takes.

    Returns:
      The estimate; `evaluations` counts the legs trained, and there is no table of coalitions.

    Raises:
      ConfigError: a number is out of range.
      DataError: losses are not finite, not one an example, or of fewer than two examples.

    References:
      Nowak and Radzik, The Shapley value for n-person games in generalized characteristic function form,
      1994.
      Mitchell et al., Sampling Permutations for Shapley Value Estimation, 2022 (antithetic orders).
    """
    if participants < 1 or laps < 1:
        raise ConfigError(f"averaged_path: {participants} participants, {laps} laps; give 1 or more of both")
    if orders < 4 or orders % 2:
        raise ConfigError(
            f"averaged_path: orders is {orders}; give an even number, 4 or more: "
            "each order is run with its reverse, and a standard error takes two pairs"
        )
    drawn, unseen = _paired_orders(key, orders // 2, participants)
    before = _measured(losses(start), [])
    shares = np.zeros((participants, len(before)))
    pairs = np.zeros((len(drawn) // 2, participants))
    relays = np.tile(drawn, laps).tolist()
    needed, done = distinct(relays), 0
    # Losses before the leg being trained, by its place: all that is kept of a way once it is left.
    along = [before] * (participants * laps + 1)

    def arrive(state: State, count: int, rows: list[int]) -> None:
        nonlocal done
        done += 1
        sequence = relays[rows[0]][:count]
        along[count] = _measured(losses(state), sequence)
        if along[count].shape != before.shape:
            raise DataError(f"averaged_path: losses {list(before.shape)} became {list(along[count].shape)}")
        gain = along[count - 1] - along[count]
        shares[sequence[-1]] += len(rows) / len(relays) * gain
        np.add.at(pairs[:, sequence[-1]], np.array(rows) // 2, gain.mean() / 2)
        progress(done, needed)

    walk(relays, start, train, arrive)
    sampling = np.zeros(participants)
    if unseen:
        sampling = unseen * pairs.var(axis=0, ddof=1) / len(pairs)
    stderr = np.sqrt(example_variance(shares) + sampling)
    return Estimate(shares.mean(axis=1), stderr, np.sqrt(sampling), done, "averaged-path")


def _paired_orders(key: jax.Array, pairs: int, participants: int) -> tuple[np.ndarray, float]:
    """Sampled orders, each followed by its reverse, and the share of all pairs that was not drawn.

    Returns:
      int [2 · pairs, N], with fewer pairs if there are no more; and the share.
    """
    if participants <= _LISTED_UP_TO:
        # Of an order and its reverse, the one whose first is the smaller end.
        every = [order for order in itertools.permutations(range(participants)) if order[0] <= order[-1]]
        chosen = Draws(key).orders(1, len(every))[0, :pairs]
        forward, unseen = np.array(every)[chosen], 1 - len(chosen) / len(every)
    else:
        forward, unseen = Draws(key).orders(pairs, participants), 1.0
    return np.stack([forward, forward[:, ::-1]], axis=1).reshape(-1, participants), unseen


def _measured(losses: ArrayLike, sequence: list[int]) -> np.ndarray:
    """Losses, float64 [E], if they are finite and one an example."""
    measured = np.asarray(losses, dtype=np.float64)
    if measured.ndim != 1:
        raise DataError(f"averaged_path: losses are {list(measured.shape)}; give one a validation example")
    if not np.isfinite(measured).all():
        raise DataError(
            f"averaged_path: the loss after the legs of {sequence} is not finite; "
            "let train refuse legs that diverge, by returning the state it was given"
        )
    return measured
