"""Inputs that are kept: what a run of the fuzzer has reached, and what it has found.

`corpus/NAME.txt` has, in base64 and one a line, the few short inputs that together run through whatever the
fuzzer has reached beyond the seeds; each run writes it anew. `findings.txt` has every input that a parser has
once failed on, behind the parser's name; nothing is ever taken out of it.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.target import Target

from relayjax.errors import RelayError

HERE = Path(__file__).parent
FINDINGS = HERE / "findings.txt"
SOURCES = str(HERE.parents[1] / "relayjax")
LONGEST = 3_000
"""Bytes of an input that is kept for what it reaches."""

MOST = 9_000
"""Bytes of all such inputs of a parser, in base64."""

Arc = tuple[str, int, int]
"""A step from one line of a file to the next."""


def kept(name: str) -> list[bytes]:
    """Inputs that are kept of a parser."""
    file = HERE / "corpus" / f"{name}.txt"
    return [base64.b64decode(line) for line in file.read_bytes().split()] if file.exists() else []


def findings() -> list[tuple[str, bytes]]:
    """Every input that a parser once failed on, with the parser's name."""
    lines = FINDINGS.read_text("ascii").splitlines() if FINDINGS.exists() else []
    return [(name, base64.b64decode(text)) for name, text in (line.split(" ") for line in lines)]


def keep(target: Target, reached: Iterable[bytes]) -> None:
    """Chooses among inputs, short ones first, those that run through something new, and writes them."""
    known: set[Arc] = set().union(*(arcs(target, seed) for seed in target.seeds))
    chosen: list[bytes] = []
    for data in sorted({*reached, *kept(target.name)}, key=lambda data: (len(data), data)):
        room = MOST - sum(4 * len(one) // 3 + 4 for one in chosen)
        if len(data) <= LONGEST and 4 * len(data) // 3 < room and (new := arcs(target, data) - known):
            known |= new
            chosen.append(data)
    lines = "".join(f"{base64.b64encode(data).decode()}\n" for data in sorted(chosen))
    (HERE / "corpus").mkdir(exist_ok=True)
    (HERE / "corpus" / f"{target.name}.txt").write_text(lines, "ascii")


def arcs(target: Target, data: bytes) -> set[Arc]:
    """The steps within RelayJAX that a parser takes over an input."""
    seen: set[Arc] = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(SOURCES):
            return None
        last = 0

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            seen.add((file, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        target.parse(data)
    except RelayError:
        pass
    finally:
        sys.settrace(None)
    return seen
