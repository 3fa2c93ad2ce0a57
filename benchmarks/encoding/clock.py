"""Medians of calls that take turns, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

Call = Callable[[], object]
_SAMPLE = 1e-3  # seconds that one sample takes at least: shorter calls are repeated


def seconds(calls: dict[str, Call], budget: float, rounds: int = 15) -> dict[str, tuple[float, float, float]]:
    """Times calls in turns.

    Args:
      calls: by name; each is called twice beforehand, which compiles it and touches its buffers.
      budget: seconds to spend, about; at least three rounds are run.
      rounds: to run at most.

    Returns:
      For each, in seconds: the median time of a call, half the range between its quartiles, the shortest.
    """
    repeats: dict[str, int] = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, int(_SAMPLE / max(_time(call, 1), 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    for number in range(rounds):
        if number >= 3 and time.perf_counter() - start > budget:
            break
        for name, call in calls.items():
            samples[name].append(_time(call, repeats[name]))
    return {name: (median(times), _spread(times), min(times)) for name, times in samples.items()}


def _time(call: Call, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _spread(times: list[float]) -> float:
    ordered = sorted(times)
    return (ordered[3 * len(ordered) // 4] - ordered[len(ordered) // 4]) / 2
