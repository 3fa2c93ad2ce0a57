"""A disk that numbers what is done to it, fails when told to, and can lose whatever was not flushed.

`Memory` is what the disk knows, without any real file: of every file the content that programs see and the
flushed one; of every directory the names that programs see, the flushed ones, and the changes in between. A
power cut keeps what was flushed, and of the rest what its fate says.

`SimulatedDisk` puts it under RelayJAX's file layer: each operation is done to real files, for programs to
read, and to the memory.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from relayjax.filesystem import Filesystem

Parts = tuple[str, ...]

FATES = ("killed", "cut", "names", "reordered", "torn")
"""What is there after the end of a process.

    killed     all that programs saw: the machine went on
    cut        only what was flushed: the power failed
    names      every change of names, but of the contents only what was flushed
    reordered  any choice among the changes of names of each directory, as if they had been done in another
               order; of contents that were not flushed nothing, zeros, a part, or all
    torn       as killed, in the middle of the last write
"""


@dataclass(eq=False)
class File:
    """A file's content as programs see it, and as it was last flushed."""

    seen: bytes = b""
    flushed: bytes = b""


@dataclass(eq=False)
class Folder:
    """Names as programs see them, as they were last flushed, and the changes since, in order.

    A change says for each name that it concerns what is under it afterwards; it happens as a whole.
    """

    seen: dict[str, File | Folder] = field(default_factory=dict)
    flushed: dict[str, File | Folder] = field(default_factory=dict)
    changes: list[dict[str, File | Folder | None]] = field(default_factory=list)

    def change(self, names: dict[str, File | Folder | None]) -> None:
        self.changes.append(names)
        _put(self.seen, names)


@dataclass(frozen=True)
class Operation:
    """One numbered operation.

    Attributes:
      name: of the method of `Filesystem`.
      path: what it is done to, below the disk's root.
      data: of a write.
      target: new name of a rename.
    """

    name: str
    path: Parts
    data: bytes = b""
    target: str = ""


class Memory:
    """What a disk knows."""

    def __init__(self, operations: Sequence[Operation] = ()):
        """A disk after some operations, the first on an empty one."""
        self.root = Folder()
        for operation in operations:
            self.do(operation)

    def do(self, operation: Operation) -> None:
        """Does one operation to the memory; it must be possible."""
        *above, name = operation.path or (".",)
        folder = self.folder(above)
        match operation.name:
            case "create":
                folder.change({name: File()})
            case "append":
                if name not in folder.seen:
                    folder.change({name: File()})
            case "write":
                self.file(operation.path).seen += operation.data
            case "fsync":
                file = self.file(operation.path)
                file.flushed = file.seen
            case "rename":
                folder.change({name: None, operation.target: folder.seen[name]})
            case "unlink" | "remove_directory":
                folder.change({name: None})
            case "make_directory":
                folder.change({name: Folder()})
            case "fsync_directory":
                folder = self.folder(operation.path)
                folder.flushed, folder.changes = dict(folder.seen), []
            case _:
                raise AssertionError(operation)

    def crash(self, fate: str, rng: random.Random) -> None:
        """Keeps what is there after the machine's end; all that is left is flushed then."""
        if fate not in ("killed", "torn"):
            self._crash(self.root, fate, rng)

    def write(self, directory: Path) -> None:
        """Writes what programs see as real files into a directory that is emptied before."""
        if directory.exists():
            shutil.rmtree(directory)
        for parts, node in self.walk():
            path = directory.joinpath(*parts)
            if isinstance(node, File):
                path.write_bytes(node.seen)
            else:
                path.mkdir()

    def digest(self) -> str:
        """Hash over all that programs see."""
        hasher = blake3()
        for parts, node in self.walk():
            content = node.seen if isinstance(node, File) else b""
            hasher.update(json.dumps([parts, isinstance(node, File), len(content)]).encode()).update(content)
        return hasher.hexdigest()

    def walk(self) -> Iterator[tuple[Parts, File | Folder]]:
        """All files and folders that programs see, folders before what they hold."""
        left: list[tuple[Parts, File | Folder]] = [((), self.root)]
        while left:
            parts, node = left.pop()
            yield parts, node
            if isinstance(node, Folder):
                left += [((*parts, name), child) for name, child in sorted(node.seen.items())]

    def file(self, parts: Parts) -> File:
        node = self.folder(parts[:-1]).seen[parts[-1]]
        assert isinstance(node, File), parts
        return node

    def folder(self, parts: Sequence[str]) -> Folder:
        folder = self.root
        for name in parts:
            folder = folder.seen[name]
            assert isinstance(folder, Folder), parts
        return folder

    def _crash(self, folder: Folder, fate: str, rng: random.Random) -> None:
        names = dict(folder.flushed)
        for change in folder.changes:
            if fate == "names" or (fate == "reordered" and rng.random() < 0.5):
                _put(names, change)
        folder.seen, folder.flushed, folder.changes = dict(names), names, []
        for node in names.values():
            if isinstance(node, Folder):
                self._crash(node, fate, rng)
            elif node.seen != node.flushed:
                kept = node.flushed
                if fate == "reordered":
                    start, new = len(kept), node.seen[len(kept) :]
                    part = new[: rng.randrange(len(new) + 1)]
                    kept = rng.choice([kept, kept + bytes(len(new)), kept + part, node.seen])
                    assert kept[:start] == node.flushed
                node.seen = node.flushed = kept


@dataclass
class Fault:
    """What goes wrong, from which operation on.

    Attributes:
      kind: "EIO": the disk refuses this one; "ENOSPC": it is full from here on; "short": it writes half of
        what it is given; "read": it can't read; "none": nothing.
      at: number of the operation, from 1; for "short" and "read", of the write or read.
    """

    kind: str = "none"
    at: int = 0


class SimulatedDisk(Filesystem):
    """A disk with a memory below a real directory.

    Attributes:
      done: all operations so far that succeeded.
      count: number of all operations so far, tried ones too.
      fault: what is to go wrong.
    """

    def __init__(self, root: Path, before: Sequence[Operation] = (), fault: Fault | None = None):
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.fault = root, fault or Fault()
        self.done: list[Operation] = list(before)
        self.count = self.writes = self.reads = 0
        self._open: dict[int, Path] = {}
        self._failed: set[Path] = set()

    def memory(self) -> Memory:
        """What the disk knows now."""
        return Memory(self.done)

    def create(self, path: Path, mode: int) -> int:
        self._step("create", path)
        descriptor = super().create(path, mode)
        self._open[descriptor] = path
        self._remember("create", path)
        return descriptor

    def append(self, path: Path) -> int:
        self._step("append", path)
        descriptor = super().append(path)
        self._open[descriptor] = path
        self._remember("append", path)
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        path = self._open[descriptor]
        self.writes += 1
        if self.fault.kind == "short" and self.writes == self.fault.at:
            data = data[: max(1, len(data) // 2)]
        elif self.fault.kind == "ENOSPC" and self.count + 1 == self.fault.at and len(data) > 1:
            self.fault.at += 1  # what still fits is written; the next try finds the disk full
            data = data[: len(data) // 2]
        self._step("write", path)
        written = super().write(descriptor, data)
        self._remember("write", path, data=bytes(data[:written]))
        return written

    def fsync(self, descriptor: int) -> None:
        path = self._open[descriptor]
        assert path not in self._failed, f"{path}: flushed again after an error, which means nothing"
        self._failed.add(path)
        self._step("fsync", path)  # the flush itself is left out: the memory knows what it would have done
        self._failed.discard(path)
        self._remember("fsync", path)

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]
        super().close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        assert source.parent == target.parent
        self._step("rename", target)
        super().rename(source, target)
        self._remember("rename", source, target=target.name)

    def unlink(self, path: Path) -> None:
        self._step("unlink", path)
        super().unlink(path)
        self._remember("unlink", path)

    def make_directory(self, path: Path, mode: int) -> None:
        self._step("make_directory", path)
        super().make_directory(path, mode)
        self._remember("make_directory", path)

    def remove_directory(self, path: Path) -> None:
        self._step("remove_directory", path)
        super().remove_directory(path)
        self._remember("remove_directory", path)

    def fsync_directory(self, path: Path) -> None:
        if path == self.root or self.root in path.parents:
            self._step("fsync_directory", path)
            self._remember("fsync_directory", path)

    def read(self, path: Path, limit: int = -1) -> bytes:
        self.reads += 1
        if self.fault.kind == "read" and self.reads == self.fault.at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(path, limit)

    def _step(self, name: str, path: Path) -> None:
        """Counts an operation that is to come, or does not let it happen."""
        self.count += 1
        kind, at = self.fault.kind, self.fault.at
        if kind == "EIO" and self.count == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if kind == "ENOSPC" and self.count >= at and name in ("create", "append", "write", "make_directory"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _remember(self, name: str, path: Path, data: bytes = b"", target: str = "") -> None:
        self.done.append(Operation(name, path.relative_to(self.root).parts, data, target))


def _put(names: dict[str, File | Folder], change: dict[str, File | Folder | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node
