"""Plays every case with many seeds and says, for each, what deviating gains over being honest.

Incentive compatible (IC) is what gains nothing: the upper end of the 95 % interval of the mean gain is not
above 0. Individually rational (IR) is that nobody who takes part honestly ends below 0, in any seed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import fmean

import numpy as np

from relayjax.incentives.catalogue import HONEST, Case
from relayjax.incentives.game import Game
from relayjax.incentives.luck import Luck
from relayjax.incentives.settings import Assumptions, Prices, World
from relayjax.incentives.table import Table
from relayjax.incentives.utility import Tally, tallies
from relayjax.mechanism.rules import COIN, DeRelayLRules, Rules, Schedule

RESAMPLED = 2_000
"""Times that gains are drawn anew, with replacement: percentiles of their means are the ends of the interval.
Where a deviation is seldom caught, and then costs a lot, gains are anything but normal."""


@dataclass(frozen=True)
class Setup:
    """What a relay is played with, whatever the case."""

    schedule: Schedule
    rules: Rules
    world: World


@dataclass(frozen=True)
class Row:
    """One relay of a case.

    Attributes:
      case: its name.
      seed: of the relay.
      actors: what those who deviate came away with, together.
      others: everybody else.
      members: by role, `participants` and `validators`: each one's.
      half_supply, supply: coins minted, less what was burned, after half of the rounds and after all.
      free: places given for a bid of nothing.
      places: given at all.
    """

    case: str
    seed: int
    actors: Tally
    others: Tally
    members: Mapping[str, tuple[Tally, ...]]
    half_supply: float
    supply: float
    free: int
    places: int


@dataclass(frozen=True)
class Verdict:
    """What a deviation gains.

    Attributes:
      case: what was played.
      honest: mean utility of being honest, or of staying away, coins.
      gain: mean gain over that, coins.
      least, most: ends of the 95 % interval of the mean.
      harm: what the others lose, coins.
    """

    case: Case
    honest: float
    gain: float
    least: float
    most: float
    harm: float

    @property
    def holds(self) -> bool:
        """Whether it does not pay."""
        return self.most <= 0


@dataclass(frozen=True)
class Participation:
    """Whether honest members come away with anything.

    Attributes:
      role: whose.
      mean: utility, coins.
      lowest: of all of them, in all relays.
      coins: the lowest where a model is worth nothing to them.
      below: share of them below 0.
    """

    role: str
    mean: float
    lowest: float
    coins: float
    below: float

    @property
    def holds(self) -> bool:
        """Whether nobody is worse off than who stays away."""
        return self.below == 0


def play(setup: Setup, jobs: Sequence[tuple[Case, int]], workers: int, turn: Callable[[], None]) -> list[Row]:
    """Plays relays side by side.

    Args:
      setup: what they have in common.
      jobs: case and seed of each.
      workers: processes.
      turn: called as each is done.

    Returns:
      In the order of the jobs.
    """
    one = functools.partial(play_one, setup)
    if workers == 1:
        return _collected(map(one, jobs), turn)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return _collected(pool.map(one, jobs, chunksize=8), turn)


def _collected(done: Iterable[Row], turn: Callable[[], None]) -> list[Row]:
    rows = []
    for row in done:
        rows.append(row)
        turn()
    return rows


def play_one(setup: Setup, job: tuple[Case, int]) -> Row:
    """Plays one relay."""
    case, seed = job
    schedule, seats = setup.schedule, setup.schedule.participants
    cast, actors = case.cast(schedule, seats, seed)
    luck = Luck(setup.world, seed, seats, schedule.rounds)
    if case.places:
        schedule = dataclasses.replace(schedule, participants=seats + case.places - 1)
    table = Table(schedule, setup.rules, tuple(cast.seats))
    game = Game(table, setup.world, luck, cast).play()
    found = tallies(game, setup.world)
    members = {
        "participants": tuple(found[name] for name in cast.seats),
        "validators": tuple(tally for name, tally in found.items() if name not in cast.seats),
    }
    if isinstance(setup.rules, DeRelayLRules):
        del members["validators"]  # there, participants maintain
    state, efforts = game.state, game.efforts.values()
    return Row(
        case.name,
        seed,
        _sum(found[name] for name in actors),
        _sum(tally for name, tally in found.items() if name not in actors),
        members if case.name == HONEST else {},
        game.half_supply / COIN,
        (state.minted - state.burned) / COIN,
        sum(effort.free for effort in efforts),
        sum(effort.turns for effort in efforts),
    )


def jobs_of(played: Sequence[Case], assumptions: Assumptions) -> list[tuple[Case, int]]:
    """Every case with every seed."""
    first, count = assumptions.play.first, assumptions.play.seeds
    return [(case, seed) for case in played for seed in range(first, first + count)]


def verdicts(played: Sequence[Case], rows: Sequence[Row], prices: Prices) -> list[Verdict]:
    """What each case gains over the one that it is held against, seed by seed."""
    by = {(row.case, row.seed): row for row in rows}
    seeds = sorted({row.seed for row in rows})
    found = []
    for case in played:
        if not case.against:
            continue
        gains, harms, usual = [], [], []
        for seed in seeds:
            row, other = by[case.name, seed], by[case.against, seed]
            harm = other.others.utility(prices) - row.others.utility(prices)
            gain = row.actors.utility(prices) - other.actors.utility(prices)
            gains.append(gain + (prices.spite * harm if case.spiteful else 0))
            harms.append(harm)
            usual.append(other.actors.utility(prices))
        found.append(Verdict(case, fmean(usual), fmean(gains), *interval(gains), fmean(harms)))
    return found


def interval(gains: Sequence[float]) -> tuple[float, float]:
    """The ends of the 95 % interval of their mean, by a bootstrap whose draws are always the same ones.

    References:
      Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    drawn = np.random.default_rng(0).integers(len(gains), size=(RESAMPLED, len(gains)))
    low, high = np.percentile(np.asarray(gains)[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def participation(rows: Sequence[Row], prices: Prices) -> list[Participation]:
    """How honest members fare."""
    honest = [row for row in rows if row.case == HONEST]
    found = []
    for role in honest[0].members:
        tallies = [tally for row in honest for tally in row.members[role]]
        if not tallies:
            continue
        utilities = [tally.utility(prices) for tally in tallies]
        alone = Prices(prices.leg, prices.evaluation, 0.0, prices.spite)
        coins = min(tally.utility(alone) for tally in tallies)
        below = sum(utility < 0 for utility in utilities) / len(utilities)
        found.append(Participation(role, fmean(utilities), min(utilities), coins, below))
    return found


def _sum(tallies: Iterable[Tally]) -> Tally:
    return functools.reduce(Tally.__add__, tallies, Tally())
