"""Who is in the run, and with which keys.

Everything here hangs on a name: its coins, its licences and its work stay with it when its keys change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relayjax.records.base import Record


@dataclass(frozen=True)
class Genesis(Record):
    """Opens a run.

    Attributes:
      config: the complete settings of the run, as `settings.encode` gives them.
      layout: names and shapes of the parameters, in the order of the flat vector.
      weights: digest of the genesis parameters, flat little-endian float32.
      validation: digest of the hidden validation set: validators are bound to it from the start.
      signing: the ordering maintainer's Ed25519 public key, hexadecimal; it also signs the log.
      receiving: its age recipient.
    """

    KIND = "genesis"
    config: dict[str, Any]
    layout: list[Any]
    weights: str
    validation: str
    signing: str
    receiving: str


@dataclass(frozen=True)
class Join(Record):
    """Registers a name, its keys and its role; signed with the very key it registers."""

    KIND = "join"
    role: str
    signing: str
    receiving: str


@dataclass(frozen=True)
class RecoveryKey(Record):
    """Registers the key that may recover the author's name, or another one in its place.

    The first is signed with the author's signing key, every other one with the recovery key before it:
    whoever steals a signing key cannot replace what it will be taken back with.

    Attributes:
      run: digest of the run's genesis record (`State.run`): no other run takes the record.
      recovery: Ed25519 public key, hexadecimal; kept elsewhere, and used for nothing else.
      proof: signature of this key over `possession` of the record, hexadecimal.
    """

    KIND = "recovery_key"
    run: str
    recovery: str
    proof: str


@dataclass(frozen=True)
class Rotate(Record):
    """Puts new keys in the place of the author's; signed with the signing key that they replace.

    Attributes:
      run: see `RecoveryKey`.
      signing, receiving: the new keys, as in `Join`.
      proof: signature of the new signing key over `possession` of the record, hexadecimal.
    """

    KIND = "rotate"
    run: str
    signing: str
    receiving: str
    proof: str


@dataclass(frozen=True)
class Recover(Record):
    """Puts new keys in the place of lost or stolen ones; signed with the author's recovery key.

    Attributes:
      run, signing, receiving, proof: see `Rotate`.
      void: first round in which the keys before were not the author's any more: what they signed from then on
        stays in the ledger, as later records build on it, but the author disowns it.
    """

    KIND = "recover"
    run: str
    void: int
    signing: str
    receiving: str
    proof: str


@dataclass(frozen=True)
class Revoke(Record):
    """Shuts a member out for good, or is one maintainer's approval of that.

    Of oneself it is signed with the recovery key, or the signing key where there is none. Of another it takes
    such a record by each of more than half of the run's maintainers.

    Attributes:
      run: see `RecoveryKey`.
      name: of the member.
    """

    KIND = "revoke"
    run: str
    name: str


@dataclass(frozen=True)
class Succeed(Record):
    """One maintainer's vote that the present orderer's term ends here and another one's begins.

    Attributes:
      run: see `RecoveryKey`.
      term: number of the term that is to begin; it says who orders then.
      successor: name of that maintainer.
      seen: hash over all records so far (`State.seen`), hexadecimal: the vote counts at this very point of
        the log and nowhere else.
    """

    KIND = "succeed"
    run: str
    term: int
    successor: str
    seen: str


@dataclass(frozen=True)
class Credentials:
    """The public keys of a name at some moment, and which of them must sign what.

    Attributes:
      signing, receiving: as in `Join`.
      recovery: the recovery key, empty while none is registered.
    """

    signing: str
    receiving: str
    recovery: str = ""

    def needed(self, record: Record) -> str:
        """The key that must sign a record of this name; empty if it has none that may."""
        if isinstance(record, Recover):
            return self.recovery
        if isinstance(record, RecoveryKey) or (isinstance(record, Revoke) and record.name == record.author):
            return self.recovery or self.signing
        return self.signing

    def after(self, record: Record) -> Credentials:
        """The keys of this name after a record of its own."""
        if isinstance(record, Rotate | Recover):
            return Credentials(record.signing, record.receiving, self.recovery)
        if isinstance(record, RecoveryKey):
            return Credentials(self.signing, self.receiving, record.recovery)
        return self
