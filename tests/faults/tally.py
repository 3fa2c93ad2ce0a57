"""Sums over all processes of the full suite: `python -m faults.tally FILE`, with `tests` on the path.

Every process of `make faults` adds what it has tried to the file that `FAULTS_TALLY` names. The suite ends at
the first failure; so when it comes to the sum, nothing was lost, wrong or untyped.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LEAST = 2_000
"""Disks that differ after a crash, and flipped bits, that the whole suite must try."""


@dataclass(frozen=True)
class Tally:
    """Where to count; None: nowhere, one test is played by itself."""

    file: Path | None

    @classmethod
    def here(cls) -> Tally:
        """The one that the environment names."""
        named = os.environ.get("FAULTS_TALLY")
        return cls(Path(named) if named else None)

    def add(self, disks: Iterable[str] = (), **tried: int) -> None:
        """Adds what was tried.

        Args:
          disks: digests of what lay on the disk after each crash.
          tried: how often, by what.
        """
        if self.file:
            line = json.dumps({"disks": sorted(set(disks)), **tried}) + "\n"
            with self.file.open("a", len(line) + 1, encoding="utf-8") as file:  # at once: others write, too
                file.write(line)


def main(file: Path) -> int:
    """Prints the sums; returns 1 if they are too small."""
    sums: Counter[str] = Counter()
    disks: set[str] = set()
    for line in file.read_text("utf-8").splitlines():
        tried = json.loads(line)
        disks |= set(tried.pop("disks"))
        sums.update(tried)
    print(
        f"faults: {sums['crashes']} crash points that left {len(disks)} different disks, "
        f"{sums['errors']} disk errors, {sums['flips']} flipped bits, {sums['others']} files cut or lost: "
        "0 acknowledged legs lost, 0 wrong weights restored, 0 untyped exceptions"
    )
    if min(len(disks), sums["flips"]) < LEAST:
        print(f"faults: too few, at least {LEAST} different disks and flipped bits are asked for")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
