"""The operations that change a disk: there are no others, so whoever stands in for them sees them all.

Each is one system call. What makes them safe together, in which order, is said in `files`; the fault
suite (tests/faults) puts a disk in their place that numbers them, fails at any one and forgets what was not
flushed.
"""

from __future__ import annotations

import os
from pathlib import Path


class Filesystem:
    """The operating system's own."""

    def create(self, path: Path, mode: int) -> int:
        """Creates an empty file that must not exist; returns its descriptor, for writing.

        Args:
          path: its name.
          mode: permission bits, whatever the umask says.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(descriptor, mode)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def append(self, path: Path) -> int:
        """Opens a file to be written at its end, creating it where missing; returns its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Writes bytes, as many as go in one call; returns how many."""
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """Returns when what was written is on the disk. After an error nobody knows what is."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Gives a descriptor back; promises nothing about the disk."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Gives a file another name in its directory, replacing what has it; seen whole or not at all."""
        os.replace(source, target)

    def unlink(self, path: Path) -> None:
        """Removes the name of a file."""
        os.unlink(path)

    def make_directory(self, path: Path, mode: int) -> None:
        """Creates a directory whose parent exists."""
        os.mkdir(path, mode)

    def remove_directory(self, path: Path) -> None:
        """Removes an empty directory."""
        os.rmdir(path)

    def fsync_directory(self, path: Path) -> None:
        """Returns when the names in a directory are on the disk: creations, renames and removals."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def fsync_file(self, path: Path) -> None:
        """Returns when a file is on the disk that was written through another descriptor, closed since."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, path: Path, limit: int = -1) -> bytes:
        """Returns a file's content, at most its first `limit` bytes. Changes nothing, but may fail, too."""
        with open(path, "rb") as file:
            return file.read(limit)

    def read_into(self, path: Path, offset: int, target: memoryview) -> int:
        """Reads a file from an offset on into a buffer; returns how many bytes, 0 at its end."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.preadv(descriptor, [target], offset)
        finally:
            os.close(descriptor)
