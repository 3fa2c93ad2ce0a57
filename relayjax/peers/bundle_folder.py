"""A bundle as it lies on a stick: read file by file, and written so that one that was cut short is none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from relayjax import files, hashing
from relayjax.errors import DiskError, FormatError, IntegrityError, WorkdirError
from relayjax.hashing import is_digest
from relayjax.peers.bundle import LIMIT, MANIFEST, Kind, Listed, Manifest
from relayjax.peers.exchange import is_regular

_SHOWN = 8
"""Files that an error names."""


class Bundle:
    """A bundle that somebody brought.

    Attributes:
      path: its directory.
      manifest: what it says that it holds.
    """

    def __init__(self, path: Path):
        """Reads its manifest.

        Raises:
          WorkdirError: there is no bundle, or only a part of one.
          FormatError: its manifest is damaged, or names what no bundle holds.
          DiskError: it can't be read.
        """
        file = path / MANIFEST
        if not is_regular(file):
            problem = f"no {MANIFEST}; it was not copied to its end, or is no bundle"
            raise WorkdirError(f"{path}: {problem}")
        self.path, self.manifest = path, _read(file)
        self._listed = {listed.path: listed for listed in self.manifest.files}

    @property
    def paths(self) -> tuple[str, ...]:
        """Where its files belong, sorted."""
        return tuple(self._listed)

    def lists(self, path: str) -> bool:
        """Whether it is to hold a file that belongs there."""
        return path in self._listed

    def fetch(self, path: str, limit: int) -> bytes | None:
        """Returns a file; None if the bundle does not list it.

        Args:
          path: where it belongs.
          limit: bytes it may have.

        Raises:
          IntegrityError: it is missing, damaged or longer.
        """
        listed = self._listed.get(path)
        if listed is None:
            return None
        if listed.size > limit:
            raise IntegrityError(self._where(listed), f"more than the {limit} bytes it may have")
        file = self.path / listed.digest
        if not is_regular(file):
            raise IntegrityError(self._where(listed), "is missing; copy the bundle again")
        try:
            data = files.read(file, listed.size + 1)
        except DiskError as error:
            raise IntegrityError(self._where(listed), f"can't be read ({error.problem})") from error
        if len(data) != listed.size or hashing.digest(data) != listed.digest:
            raise IntegrityError(self._where(listed), "is damaged; copy the bundle again")
        return data

    def incomplete(self) -> set[str]:
        """Where the files belong that are not there, or not in their length; none is read."""
        return {listed.path for listed in self.manifest.files if not self._is_whole(listed)}

    def damaged(self, folder: str) -> set[str]:
        """Where those files of a folder belong that can't be read or are not what they should be."""
        found = set[str]()
        for listed in self.manifest.files:
            if listed.path.startswith(f"{folder}/"):
                try:
                    self.fetch(listed.path, listed.size)
                except IntegrityError:
                    found.add(listed.path)
        return found

    def refuse(self, paths: Iterable[str]) -> IntegrityError:
        """The error that names files which are missing or damaged."""
        wrong = [self._listed[path] for path in sorted(set(paths))]
        there = {x.path: "damaged" if is_regular(self.path / x.digest) else "missing" for x in wrong}
        named = [f"{there[x.path]} {x.digest} ({x.path})" for x in wrong]
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        problem = f"{len(named)} of its {len(self._listed)} files are not as they were written"
        remedy = "copy those again, then import again: what was whole is not fetched twice"
        return IntegrityError(str(self.path), f"{problem}: {', '.join(named[:_SHOWN])}{more}; {remedy}")

    def _is_whole(self, listed: Listed) -> bool:
        file = self.path / listed.digest
        return is_regular(file) and file.stat().st_size == listed.size

    def _where(self, listed: Listed) -> str:
        return f"{self.path / listed.digest} ({listed.path})"


def write(
    path: Path,
    kind: Kind,
    origin: str,
    log_key: str,
    contents: Iterable[tuple[str, bytes]],
    held: Iterable[str] = (),
) -> Manifest:
    """Writes a bundle, durably, in the place of an older one of its kind; what is there already stays.

    Args:
      path: its directory.
      kind, origin, log_key, held: as in the manifest.
      contents: where each file belongs, and its bytes, one at a time.

    Raises:
      WorkdirError: the directory holds something else.
      FormatError: a file belongs into no bundle of this kind.
      DiskError: the disk refused; what is there is no bundle then.
    """
    _check_free(path, kind, origin)
    files.make_directory(path)
    files.remove(path / MANIFEST)
    listed: list[Listed] = []
    for belongs, data in contents:
        listed.append(Listed(belongs, hashing.digest(data), len(data)))
        file = path / listed[-1].digest
        if not (is_regular(file) and file.stat().st_size == len(data) and files.read(file) == data):
            files.write_atomic(file, data)
    manifest = Manifest(
        kind, origin, log_key, tuple(sorted(listed, key=lambda x: x.path)), tuple(sorted(set(held)))
    )
    needed = {file.digest for file in listed}
    for file in sorted(path.iterdir()):
        if file.name not in needed:
            files.remove(file)
    files.write_atomic(path / MANIFEST, manifest.encode())
    return manifest


def _read(file: Path) -> Manifest:
    try:
        return Manifest.decode(files.read(file, LIMIT + 1))
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from error


def _check_free(path: Path, kind: Kind, origin: str) -> None:
    """Refuses a directory that holds anything but an older bundle of this kind, or a part of one."""
    for file in sorted(path.iterdir()) if path.is_dir() else []:
        known = is_digest(file.name) or file.name == MANIFEST or files.is_temporary(file)
        if not (known and is_regular(file)):
            raise WorkdirError(f"{path}: holds other files ({file.name}, ...); choose another directory")
    if is_regular(path / MANIFEST):
        try:
            there = _read(path / MANIFEST)
        except FormatError:
            return
        if (there.kind, there.origin) != (kind, origin):
            problem = f"holds a bundle of {there.kind.value} of {there.origin}; choose another directory"
            raise WorkdirError(f"{path}: {problem}")
