"""Files that survive a power cut: each is seen whole or not at all.

A file is written under a temporary name in its own directory, flushed to the disk, renamed over its final
name, and the directory is flushed so that the name lasts as well. POSIX promises that the rename is atomic; a
kill at any moment leaves the old file or the new one, and at most a leftover whose name `is_temporary`
recognises.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

_TEMPORARY_SUFFIX = ".tmp"


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Writes or replaces one file atomically and durably; creates its directory where missing.

    Args:
      path: The file's final name.
      data: Its whole content.
      mode: Its permission bits, whatever the umask says.

    Raises:
      OSError: The disk refused; the old file is then untouched.
    """
    write_many({path: data}, mode=mode)


def write_many(files: Mapping[Path, bytes], *, mode: int = 0o644) -> None:
    """Writes several files, each atomically, and returns when all of them are durable.

    The group is not atomic: a kill may leave some of the files new and others old. All are written before the
    first fsync, so that one commit of the file system's journal serves many of them.

    Args:
      files: Content of each file by its final name.
      mode: Permission bits of all of them, whatever the umask says.

    Raises:
      OSError: The disk refused; every file is then either old or new, none is torn.
    """
    changed: set[Path] = set()
    written: dict[Path, str] = {}
    try:
        for path, data in files.items():
            changed |= {*_make_directory(path.parent), path.parent}
            written[path] = _write_temporary(path, data, mode)
        for temporary in written.values():
            _sync(Path(temporary))
        for path in list(written):
            os.replace(written[path], path)
            del written[path]
    finally:  # an error or interrupt must not leave temporary files behind
        for temporary in written.values():
            os.unlink(temporary)
    for directory in sorted(changed):
        sync_directory(directory)


def is_temporary(path: Path) -> bool:
    """Tells whether a name is that of a write that was cut short; such a file may be deleted."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY_SUFFIX)


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable: creations, renames and deletions."""
    _sync(directory)


def _write_temporary(path: Path, data: bytes, mode: int) -> str:
    descriptor, temporary = tempfile.mkstemp(
        prefix=f".{path.name}.", suffix=_TEMPORARY_SUFFIX, dir=path.parent
    )
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directory(directory: Path) -> set[Path]:
    """Creates a directory with its parents; returns the directories in which a name was added."""
    missing = [d for d in (directory, *directory.parents) if not d.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    return {d.parent for d in missing}
