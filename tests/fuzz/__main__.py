"""Fuzzes every parser, or those that are named: `python -m fuzz SECONDS [NAME...]`, with `tests` as path.

Each has so many seconds. What the run reaches is kept in `tests/fuzz/corpus`. Inputs that a parser failed on,
and the tracebacks, lie in `tests/fuzz/found` then, and the exit status is 1.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fuzz.corpus import HERE, keep
from fuzz.targets import TARGETS

_COVERED = re.compile(r"cov: (\d+) ft: (\d+)")
_EXECUTED = re.compile(r"^#(\d+)\s", re.MULTILINE)


def main(seconds: int, names: list[str]) -> int:
    """Fuzzes parsers one after the other; returns how many findings there were."""
    found = 0
    print(f"{'parser':18}{'seconds':>8}{'runs':>10}{'covered':>16}{'corpus':>8}  findings", flush=True)
    for name in names or TARGETS:
        with tempfile.TemporaryDirectory() as directory:
            found += _fuzz(name, seconds, Path(directory))
    return found


def _fuzz(name: str, seconds: int, directory: Path) -> int:
    command = [sys.executable, "-m", "fuzz.engine", name]
    start, runs, covered = time.monotonic(), 0, []
    while (left := seconds - int(time.monotonic() - start)) > 0:
        done = subprocess.run([*command, str(left), str(directory)], capture_output=True, check=False)
        said = done.stderr.decode("utf-8", "replace")
        covered += [int(edges) for edges, _ in _COVERED.findall(said)]
        runs += max(map(int, _EXECUTED.findall(said)), default=0)
        if done.returncode == 0 or not covered:
            break  # otherwise one input took too long or too much, lies in `found`, and the others go on
    reached = [file.read_bytes() for file in (directory / "corpus").glob("*")]
    findings = sorted(file for file in (directory / "found").glob("*"))
    inputs = [file for file in findings if file.suffix != ".txt"]
    if not covered:
        print(said[-4_000:], file=sys.stderr)
    for file in findings:
        (HERE / "found" / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, HERE / "found" / name / file.name)
    if not inputs:
        keep(TARGETS[name], reached)
    span = f"{covered[0]} → {covered[-1]}" if covered else "failed"
    took = int(time.monotonic() - start)
    print(
        f"{name:18}{took:8}{runs:10}{span:>16}{len(reached):8}  {' '.join(file.name for file in inputs)}",
        flush=True,
    )
    return len(inputs) + (not covered)


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]), sys.argv[2:])))
