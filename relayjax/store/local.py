"""A store in a directory: the artefact of digest `abcdef…` is the file `ab/cdef…`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from relayjax import hashing
from relayjax.errors import IntegrityError
from relayjax.files import is_temporary, read, remove, sync_directory, write_many
from relayjax.hashing import Buffer, is_digest
from relayjax.store.base import check_digest


class LocalStore:
    """A `Store` of files. Several processes may use one directory: a file appears whole or not at all."""

    def __init__(self, directory: Path):
        """Opens a store.

        Args:
          directory: its root; created with the first `put`. Nothing else may be kept in it.
        """
        self.directory = directory

    def put(self, data: Buffer) -> str:
        """Keeps bytes, durably; see `Store.put`. A damaged file of the same digest is replaced."""
        return self.put_many([data])[0]

    def put_many(self, blobs: Sequence[Buffer]) -> list[str]:
        """Keeps several byte strings at the cost of few disk flushes; see `Store.put_many`."""
        digests = [hashing.digest(data) for data in blobs]
        paths = {self.path(digest): data for digest, data in zip(digests, blobs, strict=True)}
        there = {path for path, data in paths.items() if path.is_file() and read(path) == data}
        write_many({path: data for path, data in paths.items() if path not in there})
        for directory in sorted({up for path in there for up in path.parents[:2]}):
            sync_directory(directory)  # whoever wrote them may have been killed before it was done
        return digests

    def get(self, digest: str, limit: int | None = None) -> bytes:
        """Returns the bytes of a digest, verified; see `Store.get`."""
        path = self.path(digest)
        if not path.is_file():
            raise IntegrityError(
                str(path), "this artefact is missing; fetch it again from another participant"
            )
        size = path.stat().st_size
        if limit is not None and size > limit:
            raise IntegrityError(str(path), f"{size} bytes where at most {limit} are allowed; refuse it")
        data = read(path)
        if hashing.digest(data) != digest:
            raise IntegrityError(
                str(path), "its content is not what its name says; delete and fetch it again"
            )
        return data

    def has(self, digest: str) -> bool:
        """Tells whether there is a file for this digest; see `Store.has`."""
        return self.path(digest).is_file()

    def delete(self, digest: str) -> None:
        """Removes the file of a digest, if there is one; see `Store.delete`."""
        remove(self.path(digest))

    def digests(self) -> list[str]:
        """Returns the digests that have a file, sorted."""
        return sorted(digest for path in self._files() if (digest := self._digest(path)) is not None)

    def verify(self) -> None:
        """Verifies every file: its name is a digest and its content has it. Leftovers of a kill are ignored.

        Raises:
          IntegrityError: naming the first file, in order, that is wrong or should not be there.
        """
        for path in self._files():
            digest = self._digest(path)
            if digest is not None:
                self.get(digest)
            elif not is_temporary(path):
                raise IntegrityError(str(path), "not a file of this store; move it elsewhere")

    def sweep(self, referenced: Set[str]) -> list[str]:
        """Deletes what nobody needs: unreferenced artefacts and leftovers of a kill.

        Only for whoever writes to the store alone: another's unfinished write looks like a leftover.

        Args:
          referenced: digests to keep.

        Returns:
          The digests deleted, sorted.
        """
        for path in filter(is_temporary, list(self._files())):
            remove(path)
        swept = [digest for digest in self.digests() if digest not in referenced]
        for digest in swept:
            self.delete(digest)
        return swept

    def path(self, digest: str) -> Path:
        """Returns where the artefact of a digest is or would be.

        Raises:
          FormatError: the digest is malformed.
        """
        check_digest(digest)
        return self.directory / digest[:2] / digest[2:]

    def _files(self) -> Iterator[Path]:
        """Yields all there is below the root but plain directories, in order."""
        for path in sorted(self.directory.rglob("*")):
            if path.is_symlink() or not path.is_dir():
                yield path

    def _digest(self, path: Path) -> str | None:
        """Returns the digest a file stands for, or None when it is not one of the store's."""
        relative = path.relative_to(self.directory).parts
        digest = "".join(relative)
        ours = len(relative) == 2 and len(relative[0]) == 2 and is_digest(digest)
        return digest if ours and path.is_file() and not path.is_symlink() else None
