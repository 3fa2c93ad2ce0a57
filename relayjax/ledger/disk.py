"""Reading a log's directory: which files there are, the checkpoint, a bundle of entries."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from relayjax import files
from relayjax.errors import DiskError, FormatError, IntegrityError
from relayjax.ledger.checkpoint import Checkpoint, read_claim, verify_checkpoint
from relayjax.ledger.note import SIZE_LIMIT
from relayjax.ledger.tiles import ENTRY_LIMIT, WIDTH, Tile, decode_bundle, earlier, paths_of, tiles_of

CHECKPOINT = "checkpoint"


def present_files(path: Path) -> set[str]:
    """Returns the paths, relative to the log, of whatever lies in its directory and is no directory."""
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}


def superfluous_files(path: Path, size: int) -> set[str]:
    """Sees to it that the files of a log of this size are there; returns the paths of those that are not its.

    Partial tiles and bundles of earlier checkpoints are its, too.

    Raises:
      IntegrityError: One is missing.
    """
    present = present_files(path)
    if size > WIDTH * len(present):  # before a list as long as that is made
        raise IntegrityError(
            str(path / CHECKPOINT),
            f"states {size} entries, more than its files can hold; restore it from a copy",
        )
    expected = {CHECKPOINT} | paths_of(tiles_of(size))
    if missing := sorted(expected - present):
        problem = f"missing from a log of {size} entries; restore it from a copy"
        raise IntegrityError(str(path / missing[0]), problem)
    return present - expected - paths_of(narrow for narrow, _ in earlier(size))


def read(file: Path, limit: int = SIZE_LIMIT) -> bytes:
    """Reads a file of the log.

    Args:
      file: Which.
      limit: Bytes it may have at most; a longer one is not read.

    Raises:
      IntegrityError: It is missing, too long, or the disk can't read it.
    """
    try:
        data = files.read(file, limit + 1)
    except DiskError as error:
        problem = f"can't be read ({error.problem}); restore it from a copy"
        raise IntegrityError(str(file), problem) from error
    if len(data) > limit:
        raise IntegrityError(str(file), f"more than {limit} bytes; restore it from a copy")
    return data


def read_checkpoint(
    path: Path, origin: str, public_keys: str | Iterable[str] | None
) -> tuple[bytes, Checkpoint]:
    """Reads and verifies the log's checkpoint; returns the note and what it says.

    Args:
      path: The log's directory.
      origin: Its name.
      public_keys: See `verify_checkpoint`; None to read what it claims.

    Raises:
      IntegrityError: It is missing, malformed, or not signed by this log.
    """
    file = path / CHECKPOINT
    note = read(file)
    try:
        if public_keys is None:
            return note, read_claim(note, origin, str(file))
        return note, verify_checkpoint(note, origin, public_keys, str(file))
    except FormatError as error:
        raise IntegrityError(str(file), f"{error}; restore it from a copy") from error


def read_bundle(path: Path, tile: Tile) -> tuple[list[bytes], str]:
    """Reads the entries under a level-0 tile, as far as they can be told apart.

    Returns:
      The entries, and what is wrong with their bundle or their number, or an empty text.

    Raises:
      IntegrityError: The file is missing or the disk can't read it.
    """
    entries: list[bytes] = []
    try:
        bundle = decode_bundle(read(path / tile.bundle_path, tile.width * ENTRY_LIMIT))
        for entry in islice(bundle, tile.width + 1):  # more are as wrong as one too many
            entries.append(entry)
    except FormatError as error:
        return entries, str(error)
    if len(entries) != tile.width:
        return entries, f"it holds {len(entries)} entries, expected {tile.width}"
    return entries, ""
