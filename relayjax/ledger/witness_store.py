"""A witness that remembers: the last checkpoint cosigned of each log, in one file each.

DIRECTORY/
  lock                                  held while a process serves from here
  SHA-256 of the origin/checkpoint      the last checkpoint, with the signatures of log and witness
  split-view-....json                   logs caught signing two roots of one size

A request is decided and written under one lock, so concurrent ones are served one after the other, and no
cosignature leaves before the file that has it is durable. Killed before, the old file is there and nobody has
the cosignature; killed after, the log is told the size it did not hear of (409) and asks again. Whoever loses
the directory must begin anew with another key: a copy from yesterday would cosign what it cosigned today
differently.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from threading import Lock

from relayjax import files
from relayjax.errors import ConfigError, FormatError, IntegrityError, WorkdirError
from relayjax.files import is_temporary, make_directory, read, remove, settle, write_atomic
from relayjax.identity import Keys
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.cosignature import cosign, cosigner_key
from relayjax.ledger.evidence import Evidence, keep
from relayjax.ledger.note import SIZE_LIMIT, verify_note
from relayjax.ledger.vkey import VerifierKey
from relayjax.ledger.witness import Proposal, Refusal, admit, decide


class Witness:
    """A witness. Safe to call from many threads; one process at a time holds its directory."""

    def __init__(
        self,
        directory: Path,
        name: str,
        keys: Keys,
        logs: Iterable[VerifierKey],
        clock: Callable[[], float] = time.time,
    ):
        """Opens or creates a witness's directory.

        Args:
          directory: Where it remembers.
          name: Under which it cosigns, for instance `witness.example/w1`.
          keys: Its own, used for nothing else.
          logs: Keys of the logs it serves; the name of each is the log's origin.
          clock: POSIX seconds.

        Raises:
          ConfigError: A log's key is not one a log signs with, or the witness's own.
          WorkdirError: Another process serves from there.
          IntegrityError: What it remembers is damaged or was cosigned with another key.
        """
        self.key = cosigner_key(name, keys)
        self._directory = directory
        self._keys = keys
        self._logs = list(logs)
        self._clock = clock
        self._lock = Lock()
        if any(log.public == self.key.public for log in self._logs):
            raise ConfigError(f"witness {name}: a log has the same key; generate another for the witness")
        make_directory(directory)
        files.touch(directory / "lock")
        self._held = open(directory / "lock", "rb")  # noqa: SIM115  (held until `close`)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._held.close()
            raise WorkdirError(f"{directory}: another witness serves from here; stop it first") from error
        try:
            settle(directory)  # what a killed witness left is durable before anything is built on it
            for leftover in filter(is_temporary, list(directory.rglob(".*"))):
                remove(leftover)
            self._last = {log.name: self._recall(log.name) for log in self._logs}
        except BaseException:
            self._held.close()
            raise

    def close(self) -> None:
        """Gives the directory free."""
        self._held.close()

    def add_checkpoint(self, body: bytes) -> bytes:
        """Answers a request to cosign; returns the signature line, durable.

        Raises:
          Refusal: It is not cosigned, with the status that the specification assigns.
          DiskError: The disk refused; nothing was cosigned.
        """
        proposal = admit(body, self._logs)
        origin = proposal.checkpoint.origin
        with self._lock:
            last, note, then = self._last[origin] or (None, b"", 0)
            try:
                decide(proposal, last)
            except Refusal as refusal:
                if refusal.evidence:
                    keep(self._directory, Evidence(note, proposal.request.note).encode())
                raise
            # A clock that was put back must not make it seem that the smaller tree was seen later.
            now = max(int(self._clock()), then)
            line = cosign(proposal.text, self.key.name, self._keys, now)
            cosigned = _note(proposal, line)
            write_atomic(self._file(origin), cosigned)
            self._last[origin] = proposal.checkpoint, cosigned, now
        return line.encode()

    def checkpoint(self, origin_hash: str) -> bytes:
        """Returns the last checkpoint cosigned of a log, by SHA-256 of its origin in hex.

        Raises:
          Refusal: 404, there is none.
        """
        for origin, last in self._last.items():
            if last and _hash(origin) == origin_hash:
                return last[1]
        raise Refusal(HTTPStatus.NOT_FOUND, "no checkpoint of such a log was cosigned here")

    def _file(self, origin: str) -> Path:
        return self._directory / _hash(origin) / "checkpoint"

    def _recall(self, origin: str) -> tuple[Checkpoint, bytes, int] | None:
        """Reads the last checkpoint of a log, which must have this witness's own cosignature."""
        file = self._file(origin)
        if not file.exists():
            return None
        note = read(file, SIZE_LIMIT + 1)
        try:
            signed = verify_note(note, [self.key], str(file))
            checkpoint = Checkpoint.decode(signed.text)
        except FormatError as error:
            raise IntegrityError(str(file), f"{error}; a witness that forgot needs another key") from error
        if checkpoint.origin != origin:
            raise IntegrityError(str(file), f"is of {checkpoint.origin!r}, expected {origin!r}")
        return checkpoint, note, signed.signers[self.key]


def _note(proposal: Proposal, line: str) -> bytes:
    lines = "".join(f"{verified}\n" for verified in proposal.lines)
    return f"{proposal.text}\n{lines}{line}".encode()


def _hash(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()
