"""Files that survive a power cut: each is seen whole or not at all. Whatever RelayJAX writes goes this way.

A file is written under a temporary name in its own directory, flushed to the disk, renamed over its final
name, and the directory is flushed so that the name lasts as well. POSIX promises that the rename is atomic; a
kill at any moment leaves the old file or the new one, and at most a leftover whose name `is_temporary`
recognises.

A kill may also leave names that can be seen and are not on the disk yet. Whoever goes on from what is there,
above all whoever deletes something that it replaces, first calls `settle`.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

from relayjax.errors import DiskError
from relayjax.filesystem import Filesystem
from relayjax.hashing import Buffer

T = TypeVar("T")

_TEMPORARY_SUFFIX = ".tmp"
_OPEN_AT_ONCE = 128  # a process may have 1 024 open files, or only 256
_REMEDIES = {
    errno.ENOSPC: "free some space and go on with the same command",
    errno.EDQUOT: "free some space or raise the quota, and go on with the same command",
    errno.EFBIG: "raise the limit of file sizes and go on with the same command",
    errno.ENOTDIR: "move the file away that is in the place of a directory",
    errno.EROFS: "make the disk writable, or choose another place",
    errno.EACCES: "ask for the permission, or choose another place",
    errno.EPERM: "ask for the permission, or choose another place",
}
_REMEDY = "see to the disk, then go on with the same command, or restore it from a copy"

_filesystem = Filesystem()


@contextmanager
def using(filesystem: Filesystem) -> Iterator[None]:
    """Puts another file system under all threads of this process, for a time: a disk that fails, in tests."""
    global _filesystem
    before, _filesystem = _filesystem, filesystem
    try:
        yield
    finally:
        _filesystem = before


def write_atomic(path: Path, data: Buffer, *, mode: int = 0o644) -> None:
    """Writes or replaces one file atomically and durably; creates its directory where missing.

    Args:
      path: The file's final name.
      data: Its whole content.
      mode: Its permission bits, whatever the umask says.

    Raises:
      DiskError: The disk refused; the file is then the old one, or the new one that may not last.
    """
    write_many({path: data}, mode=mode)


def write_many(files: Mapping[Path, Buffer], *, mode: int = 0o644) -> None:
    """Writes several files, each atomically, and returns when all of them are durable.

    The group is not atomic: a kill may leave some of the files new and others old. Many are written before
    their first fsync, so that one commit of the file system's journal serves them all.

    Args:
      files: Content of each file by its final name.
      mode: Permission bits of all of them, whatever the umask says.

    Raises:
      DiskError: The disk refused; every file is then either old or new, none is torn, and the new ones may
        not last.
    """
    changed: set[Path] = set()
    left = iter(files.items())
    while group := dict(islice(left, _OPEN_AT_ONCE)):
        for path in group:
            changed |= {*_make_directory(path.parent, 0o755), path.parent}
        _write_group(group, mode)
    for directory in sorted(changed):
        sync_directory(directory)


def append(path: Path, data: Buffer) -> None:
    """Adds bytes to a file, not durably: a power cut may lose them or leave some of them.

    Raises:
      DiskError: The disk refused; some of the bytes may be there.
    """
    descriptor = _try(path, _filesystem.append, path)
    try:
        _write(path, descriptor, data)
    finally:
        _try(path, _filesystem.close, descriptor)


def write_aside(path: Path, parts: Iterable[Buffer], *, mode: int = 0o644) -> Path:
    """Writes what comes in parts durably under a temporary name; `publish` gives it its own one.

    Args:
      path: Its own name, in a directory that exists.
      parts: Its content; one may overwrite the one before. If making them fails nothing is left.
      mode: Its permission bits, whatever the umask says.

    Returns:
      The temporary name.

    Raises:
      DiskError: The disk refused; nothing is left.
    """
    return _write_new(path, parts, mode, durable=True)


def write_cached(path: Path, data: Buffer) -> None:
    """Writes or replaces a file for its owner alone, seen whole or not at all unless the power is cut.

    For what can be fetched again, and is verified when it is read: nothing is flushed.

    Raises:
      DiskError: The disk refused; the file is the old one.
    """
    _make_directory(path.parent, 0o700)
    _try(path, _filesystem.rename, _write_new(path, [data], 0o600, durable=False), path)


def read(path: Path, limit: int = -1) -> bytes:
    """Returns the content of a file.

    Args:
      path: Its name.
      limit: Return at most its first so many bytes; all of them if negative.

    Raises:
      DiskError: It can't be read.
    """
    return _try(path, _filesystem.read, path, limit)


def read_into(path: Path, offset: int, target: memoryview) -> None:
    """Fills a buffer with the bytes of a file from an offset on.

    Raises:
      DiskError: They can't be read, or the file ends before.
    """
    while target:
        count = _try(path, _filesystem.read_into, path, offset, target)
        if not count:
            raise DiskError(str(path), f"ends at byte {offset}", _REMEDY)
        offset, target = offset + count, target[count:]


def make_directory(path: Path, *, mode: int = 0o755) -> None:
    """Creates a directory durably, with its parents where missing; one that is there is left as it is.

    Raises:
      DiskError: The disk refused.
    """
    for directory in sorted(_make_directory(path, mode)):
        sync_directory(directory)


def touch(path: Path) -> None:
    """Creates an empty file durably in a directory that exists; one that is there is left as it is.

    Raises:
      DiskError: The disk refused.
    """
    if not path.exists():
        try:
            _filesystem.close(_filesystem.create(path, 0o644))
        except FileExistsError:  # another process was faster
            pass
        except OSError as error:
            raise _refused(path, error) from error
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Removes a file, if it is there; a power cut may bring it back.

    Raises:
      DiskError: The disk refused.
    """
    try:
        _filesystem.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _refused(path, error) from error


def remove_tree(path: Path) -> None:
    """Removes a directory with all there is in it, following no links; a power cut may bring some of it back.

    Raises:
      DiskError: The disk refused.
    """
    if not path.is_dir() or path.is_symlink():
        remove(path)
        return
    for entry in _try(path, lambda: sorted(path.iterdir())):
        remove_tree(entry)
    _try(path, _filesystem.remove_directory, path)


def settle(directory: Path) -> None:
    """Makes every name below a directory durable; only then may somebody go on from what a kill has left.

    Raises:
      DiskError: The disk refused.
    """
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            sync_directory(path)
    sync_directory(directory)


def settle_files(directory: Path) -> None:
    """Makes every file below a directory durable that others wrote there, and then every name.

    Raises:
      DiskError: The disk refused.
    """
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            _try(path, _filesystem.fsync_file, path)
    settle(directory)


def publish(source: Path, target: Path) -> None:
    """Gives what is durable under a temporary name its own one in the same directory, durably.

    Raises:
      DiskError: The disk refused; the new name may be there, but may not last.
    """
    _try(target, _filesystem.rename, source, target)
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable: creations, renames and removals.

    Raises:
      DiskError: The disk refused.
    """
    _try(directory, _filesystem.fsync_directory, directory)


def is_temporary(path: Path) -> bool:
    """Tells whether a name is that of a write that was cut short; such a file may be deleted."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY_SUFFIX)


def _write_group(files: Mapping[Path, Buffer], mode: int) -> None:
    """Writes files whose directories exist and renames them; the directories are not flushed yet."""
    descriptors: dict[Path, int] = {}
    temporaries: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}")
            descriptors[path] = _try(path, _filesystem.create, temporary, mode)
            temporaries[path] = temporary
            _write(path, descriptors[path], data)
        for path, descriptor in descriptors.items():  # the one that wrote hears of every error of the disk
            _try(path, _filesystem.fsync, descriptor)
        for path in files:
            _try(path, _filesystem.rename, temporaries[path], path)
            del temporaries[path]
    finally:
        for path, descriptor in descriptors.items():
            _try(path, _filesystem.close, descriptor)
        for temporary in temporaries.values():  # after an error or an interrupt
            with suppress(OSError):
                _filesystem.unlink(temporary)


def _write_new(path: Path, parts: Iterable[Buffer], mode: int, durable: bool) -> Path:
    """Writes a file under a temporary name, and returns that."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}")
    descriptor = _try(path, _filesystem.create, temporary, mode)
    try:
        for part in parts:
            _write(path, descriptor, part)
        if durable:
            _try(path, _filesystem.fsync, descriptor)
    except BaseException:
        with suppress(OSError):
            _filesystem.unlink(temporary)
        raise
    finally:
        _try(path, _filesystem.close, descriptor)
    return temporary


def _write(path: Path, descriptor: int, data: Buffer) -> None:
    left = memoryview(data)
    while left:
        written = _try(path, _filesystem.write, descriptor, left)
        left = left[written:]


def _make_directory(directory: Path, mode: int) -> set[Path]:
    """Creates a directory with its parents; returns the directories in which a name was added."""
    missing = [d for d in (directory, *directory.parents) if not d.exists()]
    for path in reversed(missing):
        try:
            _filesystem.make_directory(path, mode if path == directory else 0o755)
        except FileExistsError:  # another process was faster
            if not path.is_dir():
                raise DiskError(
                    str(path), "is no directory", "move it away or choose another place"
                ) from None
        except OSError as error:
            raise _refused(path, error) from error
    return {path.parent for path in missing}


def _try(path: Path, operation: Callable[..., T], *arguments: object) -> T:
    try:
        return operation(*arguments)
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> DiskError:
    return DiskError(str(path), error.strerror or str(error), _REMEDIES.get(error.errno or 0, _REMEDY))
