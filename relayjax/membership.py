"""Saying, in a run that nobody is playing at the moment, that a member's keys change or that it leaves.

    with backend.open_membership("runs/example") as members:
        members.register(Keys.load(keys, "p0"), recovery)        # before anything is lost
        members.rotate(Keys.load(keys, "p0"))                    # now and then, or after a doubt
        members.recover(recovery, void=12)                       # the keys were stolen in round 12

Whoever holds the log's keys appends the records, in a local experiment the run's own directory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from relayjax import authority
from relayjax.audit import introduction
from relayjax.authority import open_log
from relayjax.errors import AccessError, WorkdirError
from relayjax.files import remove
from relayjax.identity import Keys, find_keys
from relayjax.identity.envelope import pre_authentication
from relayjax.mechanism.membership import POSSESSION_TYPE
from relayjax.mechanism.state import Member, State
from relayjax.records import Record, Recover, RecoveryKey, Revoke, Rotate, possession
from relayjax.relay.transcript import Transcript
from relayjax.workdir import Workdir


@dataclass(frozen=True)
class Said:
    """A record that is in the ledger now, durably.

    Attributes:
      entry: its index.
      record: what it states.
      keys: the member's new keys, where it brings some.
      state: the agreed state after it.
    """

    entry: int
    record: Record
    keys: Keys | None
    state: State


class Membership:
    """A run's ledger, open for records about its members. Use it as a context manager: it holds the lock."""

    def __init__(self, workdir: Workdir, log_keys: Keys | None = None):
        """Opens the ledger of a run.

        Args:
          workdir: the run's.
          log_keys: that sign the log; by default those that a local experiment keeps in its directory.

        Raises:
          WorkdirError: there is no run, or somebody is playing it.
          AccessError: the keys of the log are not at hand.
          IntegrityError: the ledger is wrong; `relayjax verify` says more.
        """
        workdir.require()
        self._workdir = workdir
        self._stack = ExitStack()
        self._stack.enter_context(workdir.locked())
        try:
            origin, genesis = introduction(workdir.ledger)
            if genesis is None:
                raise WorkdirError(f"{workdir.path}: the run never started; start it again")
            log, past = open_log(workdir.ledger, origin, genesis.signing)
            assert past is not None, "there is a genesis record"
            orderer, entitled = past.state.orderer, authority.log_keys(past.state)
            at_hand = (find_keys(workdir.keys, orderer, key) for key in entitled)
            log_keys = log_keys or next(filter(None, at_hand), None)
            if log_keys is None or log_keys.public.signing not in entitled:
                raise AccessError(f"{workdir.ledger}: the log is signed with {entitled[0]}; give that key")
            self._log_keys = log_keys
            self._transcript = Transcript(log, past.state)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Membership:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def state(self) -> State:
        """The agreed state."""
        return self._transcript.state

    def register(self, keys: Keys, recovery: Keys) -> Said:
        """Registers a recovery key.

        Args:
          keys: of the member; its present recovery key, if it has registered one before.
          recovery: the key to register; only its signing part is used.

        Raises:
          ProtocolError: the rules do not allow it.
          AccessError: the keys are nobody's in this run.
        """
        member = self._owner(keys)
        record = RecoveryKey(member.name, self.state.run, recovery.public.signing, "")
        return self._say(keys, _shown(record, recovery), None)

    def rotate(self, keys: Keys, new: Keys | None = None) -> Said:
        """Puts new keys in the place of a member's present ones.

        Args:
          keys: the present ones.
          new: the new ones; by default random ones, kept in a folder of the run's keys, that also open what
            these open.

        Raises:
          ProtocolError, AccessError: see `register`.
        """
        member = self._owner(keys)
        new = self._kept(member.name, keys.successor) if new is None else new
        record = Rotate(member.name, self.state.run, new.public.signing, new.public.receiving, "")
        return self._say(keys, _shown(record, new), new)

    def recover(self, recovery: Keys, void: int, new: Keys | None = None) -> Said:
        """Puts new keys in the place of lost or stolen ones.

        Args:
          recovery: the recovery key.
          void: first round in which the keys before were not the member's any more.
          new: the new ones; by default random ones, kept in a folder of the run's keys. What was sealed to
            the keys before opens with those alone.

        Raises:
          ProtocolError, AccessError: see `register`.
        """
        member = self._owner(recovery)
        new = self._kept(member.name, lambda: Keys.generate(member.name)) if new is None else new
        public = new.public
        record = Recover(member.name, self.state.run, void, public.signing, public.receiving, "")
        return self._say(recovery, _shown(record, new), new)

    def revoke(self, keys: Keys, name: str) -> Said:
        """Shuts a member out, or approves that as one of the maintainers.

        Args:
          keys: the member's recovery key, its signing key if it has none, or a maintainer's signing key.
          name: of the member.

        Raises:
          ProtocolError, AccessError: see `register`.
        """
        return self._say(keys, Revoke(self._owner(keys).name, self.state.run, name), None)

    def _owner(self, keys: Keys) -> Member:
        """Whose present signing or recovery key these are."""
        signing = keys.public.signing
        for member in self.state.members.values():
            if signing in (member.signing, member.recovery):
                return member
        raise AccessError(f"{signing} is nobody's present signing or recovery key in {self._workdir.path}")

    def _kept(self, name: str, make: Callable[[], Keys]) -> Keys:
        """New keys, durable, in a folder named by the entry that will bring them.

        What an attempt that was cut short has left there is nobody's: there is no such entry.
        """
        folder, keys = self._workdir.keys / f"{self._transcript.log.size:07}", make()
        for leftover in (folder / f"{name}.pem", folder / f"{name}.age"):
            if leftover.exists():
                remove(leftover)
        keys.save(folder)
        return keys

    def _say(self, signer: Keys, record: Any, new: Keys | None) -> Said:
        entry = self._transcript.log.size
        self._transcript.say(dataclasses.replace(signer, name=record.author), record)
        self._transcript.commit(self._log_keys)
        return Said(entry, record, new, self.state)


def _shown(record: Any, new: Keys) -> Any:
    """A record with the proof that the key it brings is there."""
    proof = new.sign(pre_authentication(POSSESSION_TYPE, possession(record)))
    return dataclasses.replace(record, proof=proof.hex())
