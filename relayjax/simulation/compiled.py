"""The rounds of `derelayl` over a population, compiled for the processor.

Rewards without a walk down every lineage: of all versions only those with descendants among the heads
are kept, generation by generation, since no other is ever paid again. An accepted model adds one to its
parent; sums travel from generation to generation towards the root and are paid on the way. Lineages
merge, about `2·A/d` of A heads' ancestors `d` generations back are left, so a round costs
`O(N log N + A log R)`. Where all lineages have become one, a version only adds to its owner's count in
`trunk`, and a round pays the whole trunk by one multiplication.

N: participants, R: rounds, K: room for versions, A: heads.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from relayjax.mechanism.rules import MILLION
from relayjax.simulation.course import Curves, Numbers
from relayjax.simulation.draws import Draws

# What `counts` counts.
ROUND, HEADS, TRUNK_END, FILLED, MINTED, FORFEITED, ENDED = range(7)
COUNTS = 7


class Members(NamedTuple):
    """What participants have.

    Attributes:
      coins: int64 [N], micro-coins.
      held: int64 [N], newest version trained or owned; 0 for none, as a bid counts it.
      seen: int64 [N], newest version held or received for testing; −1 for none.
      trunk: int64 [N], rewards due for each accepted model for versions all heads descend from.
    """

    coins: np.ndarray
    held: np.ndarray
    seen: np.ndarray
    trunk: np.ndarray


class Versions(NamedTuple):
    """Versions with descendants among the heads, generations one after another.

    Attributes:
      owner: int32 [K].
      parent: int32 [K], position in the generation before.
      start: int64 [R + 2], where each generation begins.
      size: int64 [R + 2].
      level: float64 [N], what the heads perform, best first.
    """

    owner: np.ndarray
    parent: np.ndarray
    start: np.ndarray
    size: np.ndarray
    level: np.ndarray


class Scratch(NamedTuple):
    """Room for what a round works with.

    Attributes:
      busy: bool [N], owners.
      keys: int64 [N], lots, told apart by the participants' numbers.
      others: int64 [N], who owns nothing, lowest lot first: trainers, then maintainers.
      stakes: int64 [N], an owner's deposit for one trainer, by rank.
      offers: int64 [N / 2], trainers' bids, negative, in the order of `others`.
      queue: int64 [N / 2], positions in it, highest bid first.
      trainers: int64 [N / 2], of the models trained in the round, in the order of the match.
      ranks: int64 [N / 2], of the models' owners.
      bids: int64 [N / 2], of the models' trainers.
      levels: float64 [N / 2], what the models perform.
      weights: int64 [N / 2 + 1], accepted descendants of a generation's versions.
      above: int64 [N / 2 + 1], those of the generation before.
      moved: int64 [N / 2 + 1], where a generation's versions have moved to.
    """

    busy: np.ndarray
    keys: np.ndarray
    others: np.ndarray
    stakes: np.ndarray
    offers: np.ndarray
    queue: np.ndarray
    trainers: np.ndarray
    ranks: np.ndarray
    bids: np.ndarray
    levels: np.ndarray
    weights: np.ndarray
    above: np.ndarray
    moved: np.ndarray


@numba.njit(cache=True, nogil=True)
def advance(
    members: Members,
    versions: Versions,
    curves: Curves,
    counts: np.ndarray,
    scratch: Scratch,
    draws: Draws,
    numbers: Numbers,
) -> int:
    """Plays rounds in place until the draws are used up or the room for versions is.

    Returns:
      The rounds played; fewer than drawn if `versions` needs room for another N / 2.
    """
    half = len(members.coins) // 2
    for step in range(len(draws.lots)):
        if counts[FILLED] + half > len(versions.owner):
            _compact(versions, counts)
            if counts[FILLED] + half > len(versions.owner):
                return step
        if counts[HEADS]:
            trainers, pairs = _match(members, versions, counts, draws.lots[step], numbers, scratch)
            models = _train(members, versions, counts, draws, step, numbers, scratch, pairs)
            _pay_writers(members, counts, draws.writers[step], numbers, scratch, trainers, pairs, models)
            _settle(members, versions, counts, numbers, scratch, models)
        _observe(members, curves, counts)
        counts[ROUND] += 1
    return len(draws.lots)


@numba.njit(cache=True, nogil=True)
def _match(members, versions, counts, lots, numbers, scratch):
    """Draws roles and takes bids; returns the number of trainers, and of those that get a place.

    `scratch.queue` then orders the trainers, and `scratch.others` says who they are.
    """
    coins, held, keys, others = members.coins, members.held, scratch.keys, scratch.others
    n, now, heads = len(coins), counts[ROUND], counts[HEADS]
    begin = versions.start[now]
    scratch.busy[:] = False
    for rank in range(heads):
        owner = versions.owner[begin + rank]
        scratch.busy[owner] = True
        scratch.stakes[rank] = min(coins[owner], numbers.owner_bid) // numbers.places
    free = 0
    for i in range(n):
        if not scratch.busy[i]:
            keys[free] = (np.int64(lots[i]) << 32) | i
            free += 1
    keys[:free].sort()
    for j in range(free):
        others[j] = keys[j] & 0xFFFFFFFF
    trainers = n // 2 - heads
    for j in range(trainers):
        behind = now - held[others[j]]
        scratch.offers[j] = -min(coins[others[j]], (behind + numbers.margin) * numbers.step)
    # Many bids are equal, which Numba's quicksort takes badly. Of equal ones the lowest lot comes first.
    scratch.queue[:trainers] = np.argsort(scratch.offers[:trainers], kind="mergesort")
    return trainers, min(trainers, heads * numbers.places)


@numba.njit(cache=True, nogil=True)
def _train(members, versions, counts, draws, step, numbers, scratch, pairs):
    """Takes the pairs' deposits and trains; returns the number of models."""
    coins, now = members.coins, counts[ROUND]
    begin, models = versions.start[now], 0
    for k in range(pairs):
        rank, place = k // numbers.places, scratch.queue[k]
        bid, trainer = -scratch.offers[place], scratch.others[place]
        coins[trainer] -= bid
        coins[versions.owner[begin + rank]] -= scratch.stakes[rank]
        counts[FORFEITED] += bid + scratch.stakes[rank]  # until it is returned
        if draws.trained[step, trainer]:
            scratch.trainers[models], scratch.ranks[models], scratch.bids[models] = trainer, rank, bid
            scratch.levels[models] = versions.level[rank] + draws.gains[step, trainer]
            members.held[trainer] = now + 1
            members.seen[trainer] = now + 1
            models += 1
    return models


@numba.njit(cache=True, nogil=True)
def _pay_writers(members, counts, writers, numbers, scratch, trainers, pairs, models):
    """Pays the maintainers that write the four blocks; the second one receives the models."""
    maintainers = len(members.coins) - counts[HEADS] - trainers
    items = (pairs, models, numbers.cases + models, models + models * numbers.cases)
    for block in range(4):
        writer = scratch.others[trainers + writers[block] % maintainers]
        members.coins[writer] += numbers.fee * items[block]
        counts[MINTED] += numbers.fee * items[block]
        if block == 1 and models:
            members.seen[writer] = counts[ROUND] + 1


@numba.njit(cache=True, nogil=True)
def _settle(members, versions, counts, numbers, scratch, models):
    """Returns deposits, pays every ancestor's owner, and makes the accepted models the heads."""
    coins, now = members.coins, counts[ROUND]
    order = np.argsort(-scratch.levels[:models], kind="mergesort")  # equals in the order of the match
    accepted = models * numbers.share // MILLION
    begin, fresh = versions.start[now], counts[FILLED]
    scratch.weights[: counts[HEADS]] = 0
    for j in range(accepted):
        model = order[j]
        trainer, rank = scratch.trainers[model], scratch.ranks[model]
        coins[trainer] += scratch.bids[model]
        coins[versions.owner[begin + rank]] += scratch.stakes[rank]
        counts[FORFEITED] -= scratch.bids[model] + scratch.stakes[rank]
        scratch.weights[rank] += 1
        versions.owner[fresh + j], versions.parent[fresh + j] = trainer, rank
        versions.level[j] = scratch.levels[model]
    versions.start[now + 1], versions.size[now + 1] = fresh, accepted
    counts[FILLED], counts[HEADS] = fresh + accepted, accepted
    if accepted == 0:
        counts[ENDED] = now + 1
        return
    due = accepted * numbers.reward
    for i in range(len(coins)):
        coins[i] += due * members.trunk[i]
        counts[MINTED] += due * members.trunk[i]
    _pay_lineage(members, versions, counts, numbers.reward, scratch)


@numba.njit(cache=True, nogil=True)
def _pay_lineage(members, versions, counts, reward, scratch):
    """Pays the versions that aren't in the trunk and drops those without descendants."""
    owner, parent, start, size = versions.owner, versions.parent, versions.start, versions.size
    weights, above, moved = scratch.weights, scratch.above, scratch.moved
    now, trunk_end = counts[ROUND], counts[TRUNK_END]
    for generation in range(now, trunk_end - 1, -1):
        begin, kept = start[generation], 0
        before = size[generation - 1] if generation > trunk_end else 0
        above[:before] = 0
        for i in range(size[generation]):
            weight = weights[i]
            if weight:
                members.coins[owner[begin + i]] += weight * reward
                counts[MINTED] += weight * reward
                if before:
                    above[parent[begin + i]] += weight
                owner[begin + kept], parent[begin + kept] = owner[begin + i], parent[begin + i]
                moved[i] = kept
                kept += 1
        if kept < size[generation]:
            size[generation] = kept
            first = start[generation + 1]
            for i in range(first, first + size[generation + 1]):
                parent[i] = moved[parent[i]]
        weights, above = above, weights
    while trunk_end <= now and size[trunk_end] == 1:
        members.trunk[owner[start[trunk_end]]] += 1
        trunk_end += 1
    counts[TRUNK_END] = trunk_end


@numba.njit(cache=True, nogil=True)
def _compact(versions, counts):
    """Moves generations together."""
    filled = 0
    for generation in range(counts[TRUNK_END], counts[ROUND] + 1):
        begin = versions.start[generation]
        for i in range(versions.size[generation]):
            versions.owner[filled + i] = versions.owner[begin + i]
            versions.parent[filled + i] = versions.parent[begin + i]
        versions.start[generation] = filled
        filled += versions.size[generation]
    counts[FILLED] = filled


@numba.njit(cache=True, nogil=True)
def _observe(members, curves, counts):
    """Writes down what participants have."""
    coins, seen, n, row = members.coins, members.seen, len(members.coins), counts[ROUND]
    newest, total, low, high = np.int64(-1), np.int64(0), coins[0], coins[0]
    for i in range(n):
        newest = max(newest, seen[i])
        total += coins[i]
        low, high = min(low, coins[i]), max(high, coins[i])
    mean, squares = total / n, 0.0
    for i in range(n):
        squares += (coins[i] - mean) ** 2
        curves.lags[row, 12 if seen[i] < 0 else min(newest - seen[i], 11)] += 1
    curves.mean[row], curves.deviation[row] = mean, np.sqrt(squares / n)
    curves.low[row], curves.high[row] = low, high
