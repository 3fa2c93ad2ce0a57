"""How a measured program talks to the benchmark: JSON lines. Needs the standard library only.

Each peer is a process of its own, so its memory and its start are its own, and it may run under another
Python. It waits on its standard input while others are measured, which costs no time.

    → (nothing)   ← {"device": …, "setup": seconds}     libraries are imported, model and data are placed
    → first       ← {"seconds": …, "processor": …}      the first leg, with compilation
    → leg         ← {"seconds": …, "processor": …}      a leg; as often as asked
    → memory      ← {"bytes": …, "source": …}           peak so far
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO


def resident() -> int:
    """Largest resident memory of this process so far, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def serve(
    setup: Callable[[dict[str, Any]], tuple[str, Callable[[], Any], Callable[[], int | None]]],
) -> None:
    """Answers the benchmark until it closes the connection.

    Args:
      setup: from the description of what to train makes the name of the device, a function that trains a
        leg and returns when it is done, and one that gives the device's peak memory in bytes, or None if it
        does not know it.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    begin = time.perf_counter()
    device, leg, memory = setup(json.loads(sys.argv[1]))
    before = resident()
    _say(answers, device=device, setup=time.perf_counter() - begin)
    for line in sys.stdin:
        if line.strip() == "memory":
            known = memory()
            peak = resident() - before if known is None else known
            _say(answers, bytes=peak, source="host, growth" if known is None else "device")
        else:
            begin, processor = time.perf_counter(), time.process_time()
            leg()
            seconds, processor = time.perf_counter() - begin, time.process_time() - processor
            _say(answers, seconds=seconds, processor=processor)


def _say(answers: TextIO, **fields: Any) -> None:
    print(json.dumps(fields), file=answers, flush=True)
