"""The rounds of `derelayl` as one JAX program: a scan over rounds, mapped over populations.

It gives the coins of `compiled`, to the unit, for the same draws. Lineages are a matrix here: each head
has a row that counts its ancestors by owner, so that paying them all is one product. That is quick
where matrices are, and takes N² / 2 numbers; large populations are for `compiled`.

N: participants, H: N / 2, room for heads and trainers, R: rounds, S: populations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from relayjax.errors import ConfigError
from relayjax.mechanism.rules import MILLION
from relayjax.simulation.course import LAGS, Course, Curves, numbers_of
from relayjax.simulation.draws import Draws, Source
from relayjax.simulation.settings import Population

_LAST = np.iinfo(np.int64).max
"""A key that is sorted behind all others."""


_LARGEST = 4_096
"""Participants whose lineages still fit: 64 MiB a population."""

_DRAWN = 1 << 21
"""Draws of each kind made at a time."""


class Carry(NamedTuple):
    """What a round leaves to the next.

    Attributes:
      round: int64, from 0.
      coins: int64 [N], micro-coins.
      held: int64 [N], newest version trained; 0 for none.
      seen: int64 [N], newest version held or received; −1 for none.
      heads: int64 [H], owners, best model first; N behind the last one.
      levels: float64 [H], what their models perform.
      lineage: float64 [H, N], rewards due to each participant for a child of the model; exact below 2⁵³.
      minted: int64, micro-coins.
      forfeited: int64, micro-coins.
      ended: int64, round counted from 1 in which nothing was accepted; 0 for none.
    """

    round: Array
    coins: Array
    held: Array
    seen: Array
    heads: Array
    levels: Array
    lineage: Array
    minted: Array
    forfeited: Array
    ended: Array


def play(population: Population, progress: Callable[[int], None] = lambda rounds: None) -> list[Course]:
    """Plays every seed at the same time.

    Args:
      population: the settings.
      progress: told how many more rounds have been played, those of all seeds together.

    Raises:
      ConfigError: the population is too large.
    """
    if population.participants > _LARGEST:
        raise ConfigError(
            f"participants={population.participants}: the engine jax takes {_LARGEST:,} at most; use numba"
        )
    seeds, rounds, numbers = population.seeds, population.rounds, numbers_of(population)
    sources = [Source(population, seed) for seed in seeds]
    calls = -(-rounds * population.participants * len(seeds) // _DRAWN)
    chunk, parts = -(-rounds // max(calls, min(20, rounds))), []
    with jax.enable_x64(True):
        carry = jax.tree.map(lambda array: jnp.stack([array] * len(seeds)), start(population))
        for begin in range(0, rounds, chunk):
            length = min(chunk, rounds - begin)
            drawn = [source.draw(length) for source in sources]
            carry, curves = advance(
                carry, Draws(*(np.stack(arrays) for arrays in zip(*drawn, strict=True))), numbers
            )
            parts.append([np.asarray(curve) for curve in curves])
            progress(length * len(seeds))
        coins, minted, forfeited, ended = (
            np.asarray(end) for end in (carry.coins, carry.minted, carry.forfeited, carry.ended)
        )
    courses = [np.concatenate(part, 1) for part in zip(*parts, strict=True)]
    return [
        Course(
            seed,
            Curves(*(curve[s] for curve in courses)),
            coins[s],
            int(minted[s]),
            int(forfeited[s]),
            int(ended[s]) or None,
        )
        for s, seed in enumerate(seeds)
    ]


def start(population: Population) -> Carry:
    """Everybody without coins, the first participant with the genesis version; to be called with 64 bits."""
    n, half = population.participants, population.participants // 2
    none = jnp.zeros((), jnp.int64)
    return Carry(
        round=none,
        coins=jnp.zeros(n, jnp.int64),
        held=jnp.zeros(n, jnp.int64),
        seen=jnp.full(n, -1, jnp.int64).at[0].set(0),
        heads=jnp.full(half, n, jnp.int64).at[0].set(0),
        levels=jnp.zeros(half, jnp.float64),
        lineage=jnp.zeros((half, n), jnp.float64).at[0, 0].set(population.rules.genesis_shares),
        minted=none,
        forfeited=none,
        ended=none,
    )


@partial(jax.jit, donate_argnums=0)
def advance(carry: Carry, draws: Any, numbers: Any) -> tuple[Carry, tuple[Array, ...]]:
    """Plays rounds of S populations by the `Draws` of each and the `Numbers` of all.

    The carry, the draws and both results have S as their first axis. To be called with 64 bits.
    """
    return jax.vmap(lambda one, drawn: lax.scan(partial(_round, numbers), one, drawn))(carry, draws)


def _round(numbers: Any, carry: Carry, draws: Any) -> tuple[Carry, tuple[Array, ...]]:
    """One round of one population; `draws` of that round alone."""
    n, half, now = len(carry.coins), len(carry.heads), carry.round
    slot, count = jnp.arange(half), jnp.sum(carry.heads < n)
    going = count > 0

    busy = jnp.zeros(n, bool).at[carry.heads].set(True, mode="drop")
    keys = jnp.where(busy, _LAST, (draws.lots.astype(jnp.int64) << 32) | jnp.arange(n))
    others = jnp.minimum(jnp.sort(keys) & 0xFFFFFFFF, n - 1)
    wanted = jnp.where(going, half - count, 0)

    coins_of_owners = carry.coins.at[carry.heads].get(mode="fill", fill_value=0)
    stakes = jnp.minimum(coins_of_owners, numbers.owner_bid) // numbers.places
    top = (now + numbers.margin) * numbers.step
    queue = others[:half]
    bids = jnp.minimum(carry.coins[queue], (now - carry.held[queue] + numbers.margin) * numbers.step)
    keys = jnp.sort(jnp.where(slot < wanted, (top - bids) * half + slot, _LAST))
    pairs = jnp.minimum(wanted, count * numbers.places)
    matched, rank = slot < pairs, jnp.minimum(slot // numbers.places, half - 1)
    trainer = jnp.where(matched, queue[keys % half], n)
    bid = jnp.where(matched, top - keys // half, 0)
    stake = jnp.where(matched, stakes[rank], 0)

    trained = matched & draws.trained.at[trainer].get(mode="fill", fill_value=False)
    gains = draws.gains.at[trainer].get(mode="fill", fill_value=0.0)
    levels = jnp.where(trained, carry.levels[rank] + gains, -jnp.inf)
    author = jnp.where(trained, trainer, n)
    held = carry.held.at[author].set(now + 1, mode="drop")
    seen = carry.seen.at[author].set(now + 1, mode="drop")
    models = jnp.sum(trained)

    order = jnp.argsort(-levels, stable=True)
    accepted = models * numbers.share // MILLION
    kept = jnp.zeros(half, bool).at[order].set(slot < accepted)
    coins = carry.coins.at[trainer].add(jnp.where(kept, 0, -bid), mode="drop")
    coins = coins.at[carry.heads[rank]].add(jnp.where(kept, 0, -stake), mode="drop")
    forfeited = jnp.sum(jnp.where(kept, 0, bid + stake))

    items = jnp.stack((pairs, models, numbers.cases + models, models + models * numbers.cases))
    writers = others[wanted + draws.writers % jnp.maximum(n - half, 1)]
    fees = jnp.where(going, items * numbers.fee, 0)
    coins = coins.at[writers].add(fees)
    seen = seen.at[jnp.where(models > 0, writers[1], n)].set(now + 1, mode="drop")

    children = jnp.zeros(half).at[rank].add(kept.astype(jnp.float64))
    due = (children @ carry.lineage).astype(jnp.int64) * numbers.reward
    coins = coins + due

    best = slot < accepted
    heads = jnp.where(best, trainer[order], n)
    lineage = carry.lineage[rank[order]].at[slot, heads].add(1.0, mode="drop")
    after = Carry(
        now + 1,
        coins,
        held,
        seen,
        heads,
        jnp.where(best, levels[order], 0.0),
        lineage,
        carry.minted + jnp.sum(fees) + jnp.sum(due),
        carry.forfeited + forfeited,
        jnp.where(going & (accepted == 0), now + 1, carry.ended),
    )
    return after, _observed(coins, seen)


def _observed(coins: Array, seen: Array) -> tuple[Array, ...]:
    """The fields of `Curves` for one round."""
    behind = jnp.where(seen < 0, LAGS - 1, jnp.minimum(jnp.max(seen) - seen, LAGS - 2))
    mean = jnp.mean(coins.astype(jnp.float64))
    deviation = jnp.sqrt(jnp.mean((coins - mean) ** 2))
    return jnp.sum(behind[:, None] == jnp.arange(LAGS), 0), mean, deviation, jnp.min(coins), jnp.max(coins)
