"""Populations that play `derelayl`, one for each seed: what everybody holds and has after each round.

N: participants, R: rounds.

References:
  Duan et al., DeRelayL: Sustainable Decentralized Relay Learning, arXiv 2605.02935, evaluation.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from relayjax.errors import ConfigError
from relayjax.simulation import compiled
from relayjax.simulation.compiled import Members, Scratch, Versions
from relayjax.simulation.course import LAGS, Course, Curves, numbers_of
from relayjax.simulation.draws import Source
from relayjax.simulation.settings import Population

_DRAWN = 1 << 19
"""Draws of each kind made at a time: few enough to stay in the cache."""


ENGINES = ("numba", "jax")


def simulate(
    population: Population, progress: Callable[[int], None] = lambda rounds: None, *, engine: str = "numba"
) -> list[Course]:
    """Plays every seed.

    Args:
      population: the settings.
      progress: told how many more rounds have been played, maybe from several threads.
      engine: `numba` plays as many seeds at a time as there are processors, `jax` all of them as one program
        on JAX's device; both give the same courses.

    Raises:
      ConfigError: there is no such engine, or the population is too large for it.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine={engine!r}: must be one of {', '.join(ENGINES)}")
    if engine == "jax":
        from relayjax.simulation import scan

        return scan.play(population, progress)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        courses = [pool.submit(play, population, seed, progress) for seed in population.seeds]
        try:
            return [course.result() for course in courses]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def play(
    population: Population,
    seed: int,
    progress: Callable[[int], None] = lambda rounds: None,
    *,
    chunk: int = 0,
) -> Course:
    """Plays one seed.

    Args:
      population: the settings; its seeds are not used.
      seed: of the draws.
      progress: told how many more rounds have been played.
      chunk: rounds to draw at a time, which changes nothing but memory; 0 chooses.
    """
    n, rounds = population.participants, population.rounds
    members, versions, counts = start(population)
    curves = Curves(
        np.zeros((rounds, LAGS), np.int64),
        np.zeros(rounds),
        np.zeros(rounds),
        np.zeros(rounds, np.int64),
        np.zeros(rounds, np.int64),
    )
    source, numbers, scratch = Source(population, seed), numbers_of(population), new_scratch(n)
    chunk = chunk or max(1, min(_DRAWN // n, -(-rounds // 20)))
    for begin in range(0, rounds, chunk):
        draws = source.draw(min(chunk, rounds - begin))
        left = len(draws.lots)
        while left:
            played = compiled.advance(members, versions, curves, counts, scratch, draws, numbers)
            draws = type(draws)(*(array[played:] for array in draws))
            left -= played
            if left:
                versions = _roomier(versions)
        progress(min(chunk, rounds - begin))
    return Course(
        seed,
        curves,
        members.coins,
        int(counts[compiled.MINTED]),
        int(counts[compiled.FORFEITED]),
        int(counts[compiled.ENDED]) or None,
    )


def start(population: Population) -> tuple[Members, Versions, np.ndarray]:
    """Everybody without coins, the first participant with the genesis version, and the counts."""
    n, rounds = population.participants, population.rounds
    members = Members(*(np.zeros(n, np.int64) for _ in Members._fields))
    members.seen[1:] = -1
    members.trunk[0] = population.rules.genesis_shares - 1
    room = 4 * n
    versions = Versions(
        np.zeros(room, np.int32),
        np.zeros(room, np.int32),
        np.zeros(rounds + 2, np.int64),
        np.zeros(rounds + 2, np.int64),
        np.zeros(n),
    )
    versions.size[0] = 1
    counts = np.zeros(compiled.COUNTS, np.int64)
    counts[[compiled.HEADS, compiled.FILLED]] = 1
    return members, versions, counts


def new_scratch(n: int) -> Scratch:
    """Allocated once: for a large population the first touch of its pages costs more than a round."""
    half = n // 2
    return Scratch(
        busy=np.zeros(n, np.bool_),
        keys=np.zeros(n, np.int64),
        others=np.zeros(n, np.int64),
        stakes=np.zeros(n, np.int64),
        offers=np.zeros(half, np.int64),
        queue=np.zeros(half, np.int64),
        trainers=np.zeros(half, np.int64),
        ranks=np.zeros(half, np.int64),
        bids=np.zeros(half, np.int64),
        levels=np.zeros(half, np.float64),
        weights=np.zeros(half + 1, np.int64),
        above=np.zeros(half + 1, np.int64),
        moved=np.zeros(half + 1, np.int64),
    )


def _roomier(versions: Versions) -> Versions:
    """With twice the room."""
    owner, parent = (np.concatenate([a, np.zeros_like(a)]) for a in (versions.owner, versions.parent))
    return versions._replace(owner=owner, parent=parent)
