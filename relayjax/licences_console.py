"""What a person sees of who could open what."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from relayjax import backend
from relayjax.errors import ConfigError
from relayjax.files import write_atomic
from relayjax.licences import EVERYBODY, Access, Ownership, Right

OPENS = {True: "yes", False: "no", None: "?"}
"""What a manifest says; a question mark where it is missing."""


def show(
    workdir: Path, console: Console, *, name: str | None, version: int | None, data: Path | None
) -> None:
    """Prints who could open what: a line for each member, or everything of a name or a version.

    Args:
      workdir: the run's.
      console: where to print.
      name: of whom.
      version: of which version: its weights and the deltas it was made from.
      data: a file to write it to as JSON, every access in full.

    Raises:
      ConfigError: there is no such member or version.
      WorkdirError, IntegrityError: see `backend.read_ownership`.
    """
    state, everything = backend.read_history(workdir).state, backend.read_ownership(workdir)
    if name is not None and name not in state.members:
        raise ConfigError(f"--of={name}: the members are {', '.join(sorted(state.members))}")
    if version is not None and not 0 <= version < len(state.versions):
        raise ConfigError(f"--version={version}: the versions are 0 to {len(state.versions) - 1}")
    found = everything.of(name, version)
    if name is None and version is None:
        console.print(_by_member(found, sorted(state.members)))
    else:
        console.print(_in_full(found))
    for change in found.changes:
        void = f", the keys before void from round {change.void} on" if change.void else ""
        by = f" by {change.author}" if change.author != change.name else ""
        line = f"entry {change.entry}, round {change.round}: {change.kind} of {change.name}{by}{void}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not everything.manifests:
        console.print("no seal manifests here: rights alone, not what was sealed", soft_wrap=True)
    if data:
        write_atomic(data, (json.dumps(dataclasses.asdict(found), indent=1) + "\n").encode())
        console.print(f"written to {data}", soft_wrap=True, markup=False)


def _by_member(found: Ownership, names: list[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, title_justify="left")
    for heading in ("", "licence", "as", "since round", "by match", "own deltas", "others' deltas", "open"):
        table.add_column(heading, justify="left" if heading in ("", "as") else "right", no_wrap=True)
    for name in names:
        own = [access for access in found.accesses if access.name == name]
        weights = [access for access in own if access.kind == "weights"]
        licensed = [a for a in weights if a.right in (Right.CONTRIBUTOR, Right.MAINTAINER, Right.ORDERER)]
        rights = dict.fromkeys(access.right.removeprefix("licence as ") for access in licensed)
        deltas = [access for access in own if access.kind == "delta"]
        table.add_row(
            name,
            _ranges(access.version for access in licensed),
            ", ".join(rights),
            str(min(access.round for access in licensed)) if licensed else "",
            str(sum(access.right is Right.MATCH for access in weights) or ""),
            str(sum(access.right is Right.OWN for access in deltas) or ""),
            str(sum(access.right is not Right.OWN for access in deltas) or ""),
            _ranges(access.version for access in weights if access.opens),
        )
    table.caption = "open: versions whose weights the seals here open for it; the genesis, 0, is public"
    table.caption_justify = "left"
    return table


def _in_full(found: Ownership) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("version", "what", "digest", "who", "by right of", "since round", "entry", "opens here"):
        right = heading in ("since round", "entry")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for access in found.accesses:
        table.add_row(*_row(access))
    return table


def _row(access: Access) -> tuple[str, ...]:
    what = f"delta of {access.trainer}" if access.trainer else access.kind
    return (
        "refused" if access.version is None else str(access.version),
        what,
        access.digest[:8],
        "everybody" if access.name == EVERYBODY else access.name,
        access.right.value,
        str(access.round),
        str(access.entry),
        OPENS[access.opens],
    )


def _ranges(numbers: Iterable[int | None]) -> str:
    """Numbers as ranges, 1–3 7."""
    spans: list[list[int]] = []
    for number in sorted({number for number in numbers if number}):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return " ".join(f"{first}–{last}" if last > first else str(first) for first, last in spans)
