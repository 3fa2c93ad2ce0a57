"""Reading a log's directory: which files there are, the checkpoint, a bundle of entries."""

from __future__ import annotations

from pathlib import Path

from relayjax import files
from relayjax.errors import DiskError, FormatError, IntegrityError
from relayjax.ledger.checkpoint import Checkpoint, verify_checkpoint
from relayjax.ledger.tiles import Tile, decode_bundle, paths_of, tiles_of

CHECKPOINT = "checkpoint"


def expected_files(size: int) -> set[str]:
    """Returns the paths, relative to the log, of all files of a log of this size."""
    return {CHECKPOINT} | paths_of(tiles_of(size))


def present_files(path: Path) -> set[str]:
    """Returns the paths, relative to the log, of whatever lies in its directory and is no directory."""
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}


def read(file: Path) -> bytes:
    """Reads a file of the log.

    Raises:
      IntegrityError: It is missing or the disk can't read it.
    """
    try:
        return files.read(file)
    except DiskError as error:
        problem = f"can't be read ({error.problem}); restore it from a copy"
        raise IntegrityError(str(file), problem) from error


def read_checkpoint(path: Path, origin: str, public_key: str) -> tuple[bytes, Checkpoint]:
    """Reads and verifies the log's checkpoint; returns the note and what it says.

    Raises:
      IntegrityError: It is missing, malformed, or not signed by this log.
    """
    file = path / CHECKPOINT
    note = read(file)
    try:
        return note, verify_checkpoint(note, origin, public_key, str(file))
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
        for entry in decode_bundle(read(path / tile.bundle_path)):
            entries.append(entry)
    except FormatError as error:
        return entries, str(error)
    if len(entries) != tile.width:
        return entries, f"it holds {len(entries)} entries, expected {tile.width}"
    return entries, ""
