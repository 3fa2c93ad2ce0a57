"""Which validators a round's reports bear out, and which they convict.

Of every figure the two middle reports count; they are one and the same when an odd number reported. Whoever
lies within the tolerance of both earns the wage, whoever lies beyond it from both is slashed. So where half
of the validators contradict the other half (one the other, if there are two) nobody can tell who lies: nobody
is slashed, and nobody is paid, or a lie towards the side that the median takes would be free. A single
validator has nobody to be held against and is always paid.

To be alone with the truth costs as much as to be alone with a lie. A validator that expects the others to be
truthful does best to be truthful, and it cannot take their figures over: it is bound to its own before it
sees any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from statistics import median_high, median_low
from typing import Any

from relayjax.mechanism.base import medians
from relayjax.mechanism.state import Round
from relayjax.records import Score, Value

Reports = Mapping[str, Score] | Mapping[str, Value]
"""One kind of report, by validator."""


@dataclass(frozen=True)
class Verdict:
    """What the validators of a round have earned.

    Attributes:
      truthful: they showed every report that the round asked for, all figures near the median, sorted.
      withheld: they pledged to a report and did not show it, sorted.
      outliers: they stated a figure far from the median, or other weights than the majority, sorted.
    """

    truthful: tuple[str, ...]
    withheld: tuple[str, ...]
    outliers: tuple[str, ...]

    @property
    def slashed(self) -> tuple[str, ...]:
        """Whoever withheld a report or is an outlier, sorted."""
        return tuple(sorted({*self.withheld, *self.outliers}))


def judge(round: Round, maintainers: int, tolerance: int) -> Verdict:
    """Holds every report of a round against the others.

    Args:
      round: with all its pledges and reports.
      maintainers: how many there are, whether they came or not.
      tolerance: largest distance from the median that is truthful.
    """
    outliers, unsure = _distant(round.scores, tolerance)
    far, doubtful = _distant(round.values, tolerance)
    composed = composition(round, maintainers)
    other = {name for name, value in round.values.items() if value.composed != composed}
    outliers |= far | (other if composed else set())
    unsure |= doubtful | other
    withheld = (round.pledges.keys() - round.scores.keys()) | (round.appraisals.keys() - round.values.keys())
    complete = round.scores.keys() & round.values.keys() if round.values else round.scores.keys()
    return Verdict(
        truthful=tuple(sorted(complete - outliers - unsure - withheld)),
        withheld=tuple(sorted(withheld)),
        outliers=tuple(sorted(outliers)),
    )


def composition(round: Round, maintainers: int) -> str | None:
    """Digest of the composed weights, if a majority of the maintainers states the same one."""
    digests = sorted(value.composed for value in round.values.values())
    composed = max(digests, key=digests.count, default="")
    return composed if 2 * digests.count(composed) > maintainers else None


def distance(reports: Reports, name: str) -> int:
    """How far a validator's figures lie from the nearer one in the middle, at most; in millionths."""
    low, high = _middles(reports)
    return max(max(low[place] - figure, figure - high[place], 0) for place, figure in _figures(reports[name]))


def _distant(reports: Reports, tolerance: int) -> tuple[set[str], set[str]]:
    """Who lies beyond the tolerance from both figures in the middle, and who from one of them."""
    low, high = _middles(reports)
    both: set[str] = set()
    either: set[str] = set()
    for name, report in reports.items():
        for place, figure in _figures(report):
            beyond = [abs(figure - middle[place]) > tolerance for middle in (low, high)]
            both |= {name} if all(beyond) else set()
            either |= {name} if any(beyond) else set()
    return both, either


def _middles(reports: Reports) -> tuple[dict[str, int], dict[str, int]]:
    stated = [_figures(report) for report in reports.values()]
    return medians(stated, of=median_low), medians(stated, of=median_high)


def _figures(report: Score | Value) -> list[tuple[str, int]]:
    """All that a report measures, each figure under a name of its own."""
    found: list[tuple[str, int]] = []
    for field in fields(report):
        stated: Any = getattr(report, field.name)
        if isinstance(stated, tuple):
            found += [(f"{field.name} of {name}", figure) for name, figure in stated]
        elif isinstance(stated, int):
            found.append((field.name, stated))
    return found
