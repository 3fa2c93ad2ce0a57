"""Who may sign for a run: its log's checkpoints, and the manifest of a round.

Both follow from the records. A log is known by the key that its genesis record names; who orders later signs
under the same name with a key of its own. So a checkpoint is first read as a claim: what it covers is
replayed, and it is believed if the records make its signer the orderer at this very size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relayjax import history, records
from relayjax.errors import FormatError, IntegrityError
from relayjax.history import History
from relayjax.identity import PublicKeys
from relayjax.ledger.checkpoint import Checkpoint, verify_checkpoint
from relayjax.ledger.disk import read_bundle, read_checkpoint
from relayjax.ledger.entry import Entry
from relayjax.ledger.log import Log
from relayjax.ledger.tiles import tiles_of
from relayjax.mechanism.state import Role, State
from relayjax.records import Genesis, Join, Record, Recover, Rotate, Succeed


def log_keys(state: State) -> tuple[str, ...]:
    """Keys of which one signs a checkpoint now: the orderer's when its term began, and its present one."""
    return tuple(dict.fromkeys((state.term.signing, state.members[state.orderer].signing)))


def known_keys(state: State) -> tuple[str, ...]:
    """Keys that may have signed a checkpoint at some time, or could in a history that is not this one."""
    maintainers = [member for member in state.members.values() if member.role is Role.MAINTAINER]
    found = [term.signing for term in state.terms]
    for member in maintainers:
        found += [member.signing, *(former.signing for former in member.former)]
    return tuple(dict.fromkeys(found))


def sealer(state: State, round: int) -> PublicKeys:
    """Who signed the manifest of a settled round, with its keys of that time."""
    name = state.settled_by(round)
    return PublicKeys(name, *state.members[name].settled_with(round))


def check_note(note: bytes, origin: str, state: State, where: str) -> Checkpoint:
    """Holds a checkpoint to who orders; returns what it says.

    Args:
      note: the signed checkpoint.
      origin: the log's name.
      state: after the entries that it covers.
      where: names the checkpoint in the error.

    Raises:
      FormatError: it is no checkpoint.
      IntegrityError: it is signed by somebody else.
    """
    try:
        return verify_checkpoint(note, origin, log_keys(state), where)
    except IntegrityError as error:
        problem = f"{error.problem}; {state.orderer} orders at this size, in term {state.term.number}"
        raise IntegrityError(where, problem) from error


def open_log(path: Path, origin: str, log_key: str) -> tuple[Log, History | None]:
    """Opens a log to go on writing it, and reads what it says; there is no history while it is empty.

    Args:
      path: its directory.
      origin: its name.
      log_key: the key that its genesis record names.

    Raises:
      WorkdirError: there is no log.
      IntegrityError: it is another's, or not right.
    """
    past: History | None = None

    def entitled(entries: Sequence[bytes]) -> tuple[str, ...]:
        nonlocal past
        if not entries:
            return (log_key,)
        past = history.read(entries)
        check_founder(past.state, log_key, str(path))
        return log_keys(past.state)

    return Log.open(path, origin, entitled), past


@dataclass(frozen=True)
class Claim:
    """Who seems to have signed a log's checkpoint, as its records say without being replayed.

    Attributes:
      signer: the founder, or somebody whom a vote names as its successor, with the key that has signed.
      keys: all keys that these have had.
    """

    signer: PublicKeys
    keys: tuple[str, ...]


def claim_of(ledger: Path, origin: str, genesis: Genesis) -> Claim:
    """Finds out whose signature a log's checkpoint bears; only replaying the log tells whether it counts.

    Where it is nobody's who could order, the founder is named, whose signature will not be found.

    Raises:
      IntegrityError: the checkpoint or an entry can't be read.
    """
    founder = PublicKeys(genesis.author, genesis.signing, genesis.receiving)
    note, checkpoint = read_checkpoint(ledger, origin, None)
    if _signed(note, origin, founder.signing):
        return Claim(founder, (founder.signing,))
    named, had = {genesis.author}, dict[str, list[PublicKeys]]()
    for record in _readable(ledger, checkpoint.size):
        if isinstance(record, Succeed):
            named.add(record.successor)
        elif isinstance(record, Genesis | Join | Rotate | Recover):
            with suppress(FormatError):
                public = PublicKeys(record.author, record.signing, record.receiving)
                had.setdefault(record.author, []).append(public)
    able = [public for name in sorted(named) for public in had.get(name, [])]
    signer = next((public for public in able if _signed(note, origin, public.signing)), founder)
    return Claim(signer, tuple(dict.fromkeys(public.signing for public in [founder, *able])))


def _signed(note: bytes, origin: str, key: str) -> bool:
    try:
        verify_checkpoint(note, origin, key)
    except (FormatError, IntegrityError):
        return False
    return True


def _readable(ledger: Path, size: int) -> Iterator[Record]:
    for tile in tiles_of(size):
        if tile.level == 0:
            for entry in read_bundle(ledger, tile)[0]:
                with suppress(FormatError):
                    yield records.decode(Entry.decode(entry).envelope.payload)


def check_founder(state: State, log_key: str, where: str) -> None:
    """Refuses a log that was founded with another key.

    Raises:
      IntegrityError: it was.
    """
    if (founded := state.terms[0].signing) != log_key:
        raise IntegrityError(where, f"founded with the key {founded}, not with {log_key}")
