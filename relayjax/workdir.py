"""A run's directory: where each thing lies, and the lock that keeps a second writer out.

WORKDIR/
  ledger/        the log: checkpoint and tiles, servable as static files
  store/         sealed artefacts (deltas, model checkpoints), each under the digest of its own bytes
  seals/         one signed manifest a round: which artefact was sealed to whom
  residuals/     what each trainer's payloads left out, sealed to itself, where the codec needs feedback
  keys/          private keys of the local experiment's members
  metrics.jsonl  figures kept beside the log: accuracy, timings; not part of any hashed record
  report.html    what a person looks at
  lock           held by who writes the run
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relayjax import files
from relayjax.errors import DiskError, FormatError, WorkdirError

Baselines = Mapping[str, Any]
"""`{"pooled": {metric: figure}, "alone": [{metric: figure} of each participant]}`, on the test set."""


@dataclass(frozen=True)
class Workdir:
    """Paths of a run."""

    path: Path

    @property
    def ledger(self) -> Path:
        return self.path / "ledger"

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def seals(self) -> Path:
        return self.path / "seals"

    @property
    def residuals(self) -> Path:
        return self.path / "residuals"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def baselines(self) -> Path:
        return self.path / "baselines.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def lock(self) -> Path:
        """Empty; whoever writes the run holds an advisory lock on it."""
        return self.path / "lock"

    @property
    def exists(self) -> bool:
        """Whether a run was started here: its first checkpoint is signed."""
        return (self.ledger / "checkpoint").is_file()

    @property
    def busy(self) -> bool:
        """Whether somebody is writing this run at the moment."""
        if not self.lock.is_file():
            return False
        with open(self.lock, "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def require(self) -> None:
        """Raises `WorkdirError` unless a run was started here."""
        if not self.exists:
            raise WorkdirError(
                f"{self.path}: no run here; start one with `relayjax run --workdir={self.path}`"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory for one writer; the lock goes with the process, however it ends.

        Raises:
          WorkdirError: another process is writing this run, or the directory holds something else.
          DiskError: the disk refused.
        """
        if self.path.exists() and not self.path.is_dir():
            raise WorkdirError(f"{self.path}: is a file; choose another --workdir")
        if not self.exists and (foreign := self._foreign()):
            raise WorkdirError(
                f"{self.path}: holds other files ({foreign[0]}, ...); choose another --workdir"
            )
        self._prepare()
        try:
            opened = open(self.lock, "rb")  # noqa: SIM115  (closed below)
        except OSError as error:
            problem = f"can't be opened ({error.strerror}); see what it is and whose"
            raise WorkdirError(f"{self.lock}: {problem}") from error
        with opened as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = os.path.samestat(os.fstat(lock.fileno()), self.lock.stat())
            except OSError:
                mine = False
            if not mine:  # somebody holds it, or it was replaced by another one that somebody else may hold
                raise WorkdirError(
                    f"{self.path}: another process is running this relay; wait for it or stop it"
                )
            self._clean()
            yield

    def _prepare(self) -> None:
        """Sees to it that there is a directory with a lock in it, and that a power cut can't take them."""
        files.make_directory(self.path)
        if not self.exists:  # whoever created it may have been killed before it was durable
            parent, *farther = self.path.absolute().parents
            if os.access(parent, os.R_OK):
                files.sync_directory(parent)
            for directory in farther:
                with suppress(DiskError):  # not ours to read, or a file system that can't
                    files.sync_directory(directory)
        files.touch(self.lock)

    def _clean(self) -> None:
        """Removes what a kill has left, and makes durable whatever else it has left."""
        for leftover in filter(files.is_temporary, list(self.path.rglob(".*"))):
            files.remove(leftover)
        files.settle(self.path)

    def _foreign(self) -> list[str]:
        """Names in the directory that no run which is only starting could have left; they stay untouched."""
        names = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
        starting = {"lock", "keys", "store", "ledger"} if "lock" in names else set()
        return [name for name in names if name not in starting]

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Adds one line of figures, not durably: they can be measured again."""
        files.append(self.metrics, (json.dumps(line) + "\n").encode())

    def read_metrics(self, rounds: int, *, damaged: bool = False) -> list[dict[str, Any]]:
        """The figures of the first `rounds` rounds; lines of rounds that were never settled are dropped.

        Args:
          rounds: how many are settled.
          damaged: a power cut may have damaged any line; such ones are dropped.

        Raises:
          FormatError: a line other than a torn last one is not JSON, and none may be damaged.
        """
        if not self.metrics.exists():
            return []
        lines = files.read(self.metrics).split(b"\n")
        figures: dict[int, dict[str, Any]] = {}
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line) if line else {}
            except (ValueError, RecursionError) as error:
                if number < len(lines) and not damaged:
                    raise FormatError(f"{self.metrics}:{number}: {error}; delete this line") from error
                continue
            round = entry.get("round") if isinstance(entry, dict) else None
            if type(round) is int and 1 <= round <= rounds:
                figures[round] = entry
        return [figures[round] for round in sorted(figures)]

    def rewrite_metrics(self, figures: list[dict[str, Any]]) -> None:
        """Replaces all figures, so that a resumed run goes on from the last settled round."""
        files.write_atomic(self.metrics, "".join(json.dumps(line) + "\n" for line in figures).encode())

    def read_baselines(self) -> Baselines:
        """The baselines' figures, or nothing where they were not trained.

        Raises:
          FormatError: the file is damaged.
        """
        if not self.baselines.exists():
            return {}
        try:
            match json.loads(files.read(self.baselines)):
                case {"pooled": dict(), "alone": list(alone)} as figures:
                    if all(isinstance(one, dict) for one in alone):
                        return figures
            raise ValueError("not the figures of pooled training and of each participant alone")
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{self.baselines}: {error}; delete it and run again") from error
