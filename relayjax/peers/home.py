"""A member's own directory: what it must not lose, and what nobody else may see.

keys/NAME.pem, NAME.age     its private keys
member.json                 its name, its role, and the log it follows: name and public key
seen                        the last checkpoint it saw; evidence against the log lies beside it
secret                      32 random bytes that its batches are drawn with
held/                       the version that it was given last, sealed; see `held.py`
endpoint                    32 random bytes, the private key of its iroh endpoint; see `p2p_serving.py`
turns/ROUND.json, .delta    what it committed to, kept before the commitment is handed in
reports/ROUND-KIND          what it pledged to, likewise
handed/ROUND-NAME           the orderer's copies of what trainers handed over in the present round
promise.json                which term a maintainer has voted to end, kept before the vote is handed in
coming/ROUND-candidate-…     sealed pieces of deltas, until all of one have come
scratch/                    plaintext model checkpoints on their way
"""

from __future__ import annotations

import fcntl
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from relayjax import canonical, files, hashing, records
from relayjax.errors import FormatError, WorkdirError
from relayjax.identity import Keys, check_name, find_keys
from relayjax.records import Score, Value

_LIMIT = 1 << 16
_ROUND = re.compile(r"(\d{5,15})[-.].*")


@contextmanager
def alone(directory: Path, otherwise: str) -> Iterator[None]:
    """Holds the file `lock` of a directory, which is made if it is not there; the lock goes with the process.

    Args:
      directory: that exists.
      otherwise: what is to be said if another process holds it.

    Raises:
      WorkdirError: another process holds it.
    """
    files.touch(directory / "lock")
    with open(directory / "lock", "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise WorkdirError(f"{directory}: {otherwise}") from None
        yield


@dataclass(frozen=True)
class Membership:
    """Who somebody is in which relay.

    Attributes:
      name, role: its own.
      origin, log_key: of the log that it follows.
    """

    name: str
    role: str
    origin: str
    log_key: str


@dataclass(frozen=True)
class Turn:
    """What a trainer committed to.

    Attributes:
      round: in which.
      parent: digest of the weights it trained from.
      salt: of the commitment, hexadecimal.
      delta: digest of the encoded delta.
      child: digest of the weights it leads to.
    """

    round: int
    parent: str
    salt: str
    delta: str
    child: str


@dataclass(frozen=True)
class Promise:
    """What a maintainer is bound to once it has voted.

    Attributes:
      ended: the term whose records it takes no part in any more.
      round: in which it voted.
    """

    ended: int
    round: int


@dataclass(frozen=True)
class Home:
    """Paths of a member's own directory, and what lies there."""

    path: Path

    @property
    def seen(self) -> Path:
        return self.path / "seen"

    @property
    def exists(self) -> bool:
        """Whether somebody has joined with this directory."""
        return (self.path / "member.json").is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second process of the same member out; the lock goes with the process.

        Raises:
          WorkdirError: there is one.
        """
        files.make_directory(self.path, mode=0o700)
        with alone(self.path, "another process works with this directory; stop it or wait for it"):
            yield

    def make_keys(self, name: str) -> Keys:
        """The keys of a name, made at random where there are none."""
        check_name(name)
        files.make_directory(self.path, mode=0o700)
        directory = self.path / "keys"
        if not ((directory / f"{name}.pem").exists() and (directory / f"{name}.age").exists()):
            Keys.generate(name).save(directory)
        return Keys.load(directory, name)

    def keys(self, signing: str | None = None) -> Keys:
        """The member's keys.

        Args:
          signing: the public signing key that they must have, 64 hex digits; they may lie in a folder of
            `keys`, too. None for those that it began with.

        Raises:
          WorkdirError: they, or the membership, are not there.
        """
        name, folder = self.membership().name, self.path / "keys"
        if signing is None:
            return Keys.load(folder, name)
        found = find_keys(folder, name, signing)
        if found is None:
            raise WorkdirError(
                f"{folder}: the keys of {name} that sign with {signing} are not there; put them"
            )
        return found

    def remember(self, membership: Membership) -> None:
        """Keeps who the member is.

        Raises:
          WorkdirError: the directory is that of another membership.
        """
        if self.exists and (there := self.membership()) != membership:
            problem = f"is that of {there.name} in {there.origin} (log key {there.log_key})"
            raise WorkdirError(f"{self.path}: {problem}; choose another --home")
        files.write_atomic(self.path / "member.json", canonical.encode(asdict(membership)), mode=0o600)

    def membership(self) -> Membership:
        """Who the member is.

        Raises:
          WorkdirError: nobody has joined with this directory.
          FormatError: the file is damaged.
        """
        if not self.exists:
            raise WorkdirError(f"{self.path}: nobody's home; `relayjax join FOLDER --home={self.path}` first")
        return Membership(**_texts(self.path / "member.json", ("name", "role", "origin", "log_key")))

    def secret(self) -> bytes:
        """32 random bytes of the member's own, made at first."""
        file = self.path / "secret"
        if not file.exists():
            files.write_atomic(file, secrets.token_bytes(32), mode=0o600)
        if len(data := files.read(file, 33)) != 32:
            raise FormatError(f"{file}: not the 32 bytes it should be; restore it from a copy")
        return data

    def keep_turn(self, turn: Turn, payload: bytes) -> None:
        """Keeps what will be committed to, durably."""
        files.write_atomic(self._turn(turn.round, "delta"), payload, mode=0o600)
        said = {name: str(value) for name, value in asdict(turn).items()}
        files.write_atomic(self._turn(turn.round, "json"), canonical.encode(said), mode=0o600)

    def turn(self, round: int) -> tuple[Turn, bytes] | None:
        """What was kept for a round, with the encoded delta; None if there is nothing, or not all of it."""
        file, delta = self._turn(round, "json"), self._turn(round, "delta")
        if not (file.is_file() and delta.is_file()):
            return None
        said = _texts(file, ("round", "parent", "salt", "delta", "child"))
        turn = Turn(round, said["parent"], said["salt"], said["delta"], said["child"])
        payload = files.read(delta)
        whole = said["round"] == str(round) and hashing.digest(payload) == turn.delta
        return (turn, payload) if whole else None

    def keep_report(self, report: Score | Value) -> None:
        """Keeps what will be pledged to, durably."""
        file = self._report(report.round, report.KIND)
        files.write_atomic(file, records.encode(report), mode=0o600)

    def report(self, round: int, kind: type[Score] | type[Value]) -> Score | Value | None:
        """What was kept for a round."""
        file = self._report(round, kind.KIND)
        report = records.decode(files.read(file)) if file.is_file() else None
        return report if isinstance(report, kind) else None

    def keep_handed(self, round: int, name: str, payload: bytes) -> None:
        """Keeps a trainer's delta, durably."""
        files.write_atomic(self.path / "handed" / f"{round:05d}-{name}", payload, mode=0o600)

    def handed(self, round: int, name: str) -> bytes | None:
        """What a trainer handed over; None if nothing is there."""
        file = self.path / "handed" / f"{round:05d}-{name}"
        return files.read(file) if file.is_file() else None

    def keep_promise(self, promise: Promise) -> None:
        """Keeps what a vote promises, durably."""
        said = {name: str(value) for name, value in asdict(promise).items()}
        files.write_atomic(self.path / "promise.json", canonical.encode(said), mode=0o600)

    def promise(self) -> Promise | None:
        """The newest one kept."""
        file = self.path / "promise.json"
        if not file.is_file():
            return None
        said = _texts(file, ("ended", "round"))
        if not all(value.isdecimal() for value in said.values()):
            raise FormatError(f"{file}: expected numbers; restore it from a copy")
        return Promise(int(said["ended"]), int(said["round"]))

    def forget(self, before: int) -> None:
        """Removes what was kept for earlier rounds."""
        for folder in ("turns", "reports", "handed", "coming"):
            for file in sorted((self.path / folder).glob("*")):
                found = _ROUND.fullmatch(file.name)
                if found and int(found[1]) < before:
                    files.remove(file)

    def _turn(self, round: int, suffix: str) -> Path:
        return self.path / "turns" / f"{round:05d}.{suffix}"

    def _report(self, round: int, kind: str) -> Path:
        return self.path / "reports" / f"{round:05d}-{kind}"


def _texts(file: Path, names: tuple[str, ...]) -> dict[str, str]:
    """An object of texts under exactly these names."""
    found = canonical.decode(files.read(file, _LIMIT))
    if not isinstance(found, dict) or set(found) != set(names):
        raise FormatError(f"{file}: expected the fields {', '.join(names)}; restore it from a copy")
    if not all(isinstance(value, str) for value in found.values()):
        raise FormatError(f"{file}: expected texts; restore it from a copy")
    return found
