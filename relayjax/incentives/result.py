"""A whole audit: verdicts, margins, and how far the rules carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from relayjax.incentives.audit import (
    Participation,
    Row,
    Setup,
    Verdict,
    jobs_of,
    participation,
    play,
    verdicts,
)
from relayjax.incentives.catalogue import HONEST, cases
from relayjax.incentives.search import dearest_leg, fewest_honest, most_relays, smallest_deposit
from relayjax.incentives.settings import Assumptions
from relayjax.mechanism.rules import DeRelayLRules, Rules, Schedule


@dataclass(frozen=True)
class Audited:
    """What an audit has found; amounts in coins.

    Attributes:
      seeds: relays of each kind.
      participation: of honest members, by role.
      verdicts: of every deviation.
      supply: mean supply of the honest relay, after half of its rounds and after all.
      free: share of its places that were given for a bid of nothing.
      leg: cost of a leg up to which the verdicts that hold do.
      deposit: the smallest with which no vandalism pays; None if it was not looked for, or the rules' own is
        too small.
      honest_validators: how many have to be honest, of how many; None if it was not looked for.
    """

    seeds: int
    participation: tuple[Participation, ...]
    verdicts: tuple[Verdict, ...]
    supply: tuple[float, float]
    free: float
    leg: float
    deposit: float | None
    honest_validators: tuple[int, int] | None

    @property
    def failed(self) -> tuple[str, ...]:
        """Who is worse off than who stays away, and which deviations pay."""
        worse = [f"honest {one.role} lose" for one in self.participation if not one.holds]
        return (*worse, *(v.case.name for v in self.verdicts if not v.holds))

    @property
    def holds(self) -> bool:
        """Whether all verdicts do."""
        return not self.failed

    @property
    def margin(self) -> tuple[str, float] | None:
        """The deviation that comes nearest to paying, and what it gains at most (95 %)."""
        counted = [(v.most, v.case.name) for v in self.verdicts]
        return (max(counted)[1], max(counted)[0]) if counted else None


def audit_incentives(
    schedule: Schedule,
    rules: Rules,
    assumptions: Assumptions,
    *,
    search: bool = True,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Audited:
    """Plays the catalogue, and looks for the smallest deposit and the fewest honest validators.

    Args:
      schedule: of the relay.
      rules: to audit.
      assumptions: see `Assumptions`.
      search: whether to look for those.
      workers: processes.
      progress: called with how many relays have been played, of how many at most.

    Raises:
      ConfigError: see `catalogue.cases`.
    """
    setup, prices = Setup(schedule, rules, assumptions.world), assumptions.prices
    played = cases(schedule, rules, assumptions.play)
    looks = search and not isinstance(rules, DeRelayLRules)
    jobs = jobs_of(played, assumptions)
    total = len(jobs) + (most_relays(schedule, assumptions) if looks else 0)
    done = 0

    def turn() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    rows = play(setup, jobs, workers, turn)
    deposit = smallest_deposit(setup, assumptions, workers, turn) if looks else None
    fewest = fewest_honest(setup, assumptions, workers, turn) if looks else None
    return Audited(
        assumptions.play.seeds,
        tuple(participation(rows, prices)),
        tuple(verdicts(played, rows, prices)),
        *_honest_relay(rows),
        dearest_leg(played, rows, prices),
        deposit,
        None if fewest is None else (fewest, schedule.validators),
    )


def _honest_relay(rows: Sequence[Row]) -> tuple[tuple[float, float], float]:
    """Supply after half of the rounds and after all, and the share of places that were free."""
    honest = [row for row in rows if row.case == HONEST]
    supply = fmean(row.half_supply for row in honest), fmean(row.supply for row in honest)
    return supply, sum(row.free for row in honest) / max(1, sum(row.places for row in honest))
