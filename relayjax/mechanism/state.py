"""The agreed state: who is in the relay, who holds what, and how far the present round has come.

Everything here is immutable; `apply` makes new states from old ones. Amounts are micro-coins, losses
and values micro-nats per example.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from blake3 import blake3

from relayjax.mechanism.rules import Rules, Schedule
from relayjax.records import Credentials, Pairs, Score, Submit, Value


class Topology(enum.Enum):
    """How a round connects trainers and versions."""

    CHAIN = "chain"
    BRAID = "braid"
    TREE = "tree"


class Phase(enum.IntEnum):
    """The phases of a round, in the order that makes it safe."""

    AUCTION = 0
    DEPOSIT = 1
    COMMIT = 2
    REVEAL = 3
    TESTING = 4
    SCORING = 5
    APPRAISAL = 6
    VALUATION = 7
    SETTLEMENT = 8


class Role(enum.StrEnum):
    """What a member joined as."""

    PARTICIPANT = "participant"
    MAINTAINER = "maintainer"
    OBSERVER = "observer"


@dataclass(frozen=True)
class FormerKeys:
    """Public keys that a member has replaced.

    Attributes:
      signing, receiving: the keys.
      until: the last round that was settled while they were in use.
    """

    signing: str
    receiving: str
    until: int


@dataclass(frozen=True)
class Member:
    """A registered name with its public keys.

    Attributes:
      signing, receiving: the present keys.
      recovery: the recovery key, empty while none is registered.
      former: the keys before, the oldest first.
      spent: signing and recovery keys that it has replaced; none is taken again.
      accusers: (maintainer, round) of each approval to revoke it.
      revoked: the round in which it was, 0 if it was not.
      serving: whether it is counted to the end of that round.
    """

    name: str
    role: Role
    signing: str
    receiving: str
    recovery: str = ""
    former: tuple[FormerKeys, ...] = ()
    spent: tuple[str, ...] = ()
    accusers: Pairs = ()
    revoked: int = 0
    serving: bool = False

    @property
    def credentials(self) -> Credentials:
        """Its keys, and which of them must sign what."""
        return Credentials(self.signing, self.receiving, self.recovery)

    def settled_with(self, round: int) -> tuple[str, str]:
        """The signing and receiving key that it had when a round was settled."""
        for keys in self.former:
            if round <= keys.until:
                return keys.signing, keys.receiving
        return self.signing, self.receiving


@dataclass(frozen=True)
class Term:
    """The time of one orderer.

    Attributes:
      number: 0 for the founder's; numbers rise and may leave some out.
      orderer: name of the maintainer that orders the records and signs the log.
      signing: its signing key when the term began; the log's key in the founder's term.
      since: the round in which it began.
    """

    number: int
    orderer: str
    signing: str
    since: int


@dataclass(frozen=True)
class Version:
    """One accepted model.

    Attributes:
      number: its position among all versions; 0 is the genesis.
      digest: BLAKE3 of its weights.
      parent: number of the version it was trained from, -1 for the genesis.
      round: the round that made it.
      owners: the trainers whose work it is.
      values: (owner, positive measured value) when it was made in a braid round, else empty.
    """

    number: int
    digest: str
    parent: int
    round: int
    owners: tuple[str, ...]
    values: Pairs = ()


@dataclass(frozen=True)
class Round:
    """What has happened in the present round.

    Attributes:
      beacon: hash of everything before the round; lots are drawn with it.
      seed: of the test draw, empty until drawn.
      pledges: validator → what binds it to its score.
      appraisals: validator → what binds it to its value.
    """

    number: int
    beacon: bytes
    phase: Phase = Phase.AUCTION
    bids: Mapping[str, int] = field(default_factory=dict)
    pairs: Mapping[str, int] = field(default_factory=dict)
    deposits: Mapping[str, int] = field(default_factory=dict)
    commitments: Mapping[str, str] = field(default_factory=dict)
    submissions: Mapping[str, Submit] = field(default_factory=dict)
    seed: str = ""
    pledges: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    appraisals: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """Everything the participants agree on after a prefix of the ledger.

    Attributes:
      run: digest of the genesis record, hexadecimal; named by records that no other run may take.
      terms: who has ordered the records, the present orderer last.
      votes: maintainer → the newest term that it has voted for at this point.
      seen: hash over all records up to this point; a vote leaves it as it is, unless a term begins with it.
      balances: name → free micro-coins; `round.deposits` holds what is in escrow.
      pot: minted and forfeited coins waiting to be paid.
      versions: all versions, by number.
      heads: numbers of the versions the next leg starts from, best first.
      last_matched: trainer → the last round it had a place in.
      lots: trainer → its lot in the last round it was tested in, by which those who have waited as long come
        one after another.
      holdings: trainer → the last round in which it trained a model, accepted or not.
      worked: trainer → in how many rounds its delta was accepted and was no mere luck.
      licences: name → the newest version its licence covers (earlier ones included).
      opening: loss of the head that the first valued round started from, micro-nats; 0 before it.
      transcript: hash over all records applied so far.
    """

    schedule: Schedule
    rules: Rules
    run: str
    terms: tuple[Term, ...]
    votes: Mapping[str, int]
    seen: bytes
    members: Mapping[str, Member]
    balances: Mapping[str, int]
    pot: int
    minted: int
    burned: int
    versions: tuple[Version, ...]
    heads: tuple[int, ...]
    last_matched: Mapping[str, int]
    lots: Mapping[str, bytes]
    holdings: Mapping[str, int]
    worked: Mapping[str, int]
    licences: Mapping[str, int]
    opening: int
    round: Round
    transcript: bytes

    @property
    def term(self) -> Term:
        """The present term."""
        return self.terms[-1]

    @property
    def orderer(self) -> str:
        """Name of the maintainer that orders the records and signs the log."""
        return self.terms[-1].orderer

    def settled_by(self, round: int) -> str:
        """Name of who ordered when a round was settled; for the present round, who orders now."""
        begun = (term.orderer for term in reversed(self.terms) if term.since <= round)
        return next(begun, self.terms[0].orderer)

    @property
    def head(self) -> Version:
        """The newest accepted version; with several, the best; the last one there was when the relay died."""
        return self.versions[self.heads[0]] if self.heads else self.versions[-1]

    @property
    def finished(self) -> bool:
        """Whether every scheduled round has been settled, or no head is left to go on from."""
        return self.round.number > self.schedule.rounds or not self.heads

    def named(self, role: Role) -> tuple[str, ...]:
        """Names of all members of a role, sorted; those that are revoked are among them."""
        return tuple(sorted(m.name for m in self.members.values() if m.role is role))

    def serving(self, role: Role) -> tuple[str, ...]:
        """Names of the members of a role that are counted in this round, sorted."""
        return tuple(sorted(m.name for m in self.members.values() if m.role is role and self.counts(m)))

    def counts(self, member: Member) -> bool:
        """Whether a member is counted in this round."""
        return not member.revoked or (member.serving and member.revoked == self.round.number)

    def lineage(self, number: int) -> list[Version]:
        """A version and its ancestors, nearest first, the genesis last."""
        line = []
        while number >= 0:
            line.append(self.versions[number])
            number = line[-1].parent
        return line

    def lot(self, name: str) -> bytes:
        """A name's lot for this round: whoever has the smaller one comes first."""
        return _lot(self.round.beacon, name)

    def waiting(self, name: str) -> tuple[int, bytes]:
        """A name's place in the queue: whoever has the smaller one comes first.

        Those who have had a place in the same round, the last one of each, keep the order that its test drew,
        so it is known for as long as they wait. Whoever has been in no such round draws a lot in every round.
        """
        return self.last_matched.get(name, 0), self.lots.get(name) or self.lot(name)

    def matched(self, pairs: Mapping[str, int]) -> State:
        """The state once trainers have got their places in the present round."""
        return replace(
            self,
            round=replace(self.round, pairs=pairs, phase=Phase.DEPOSIT),
            last_matched={**self.last_matched, **dict.fromkeys(pairs, self.round.number)},
        )

    def drawn(self, seed: str) -> State:
        """The state once the present round's test is drawn, and with it the lots of who has a place in it.

        Everybody has joined and has shown its delta by then: nobody can choose a name that comes first.
        """
        lots = {name: _lot(bytes.fromhex(seed), name) for name in self.round.pairs}
        return replace(self, round=replace(self.round, seed=seed), lots={**self.lots, **lots})


@lru_cache(maxsize=4096)
def _lot(beacon: bytes, name: str) -> bytes:
    return blake3(beacon + name.encode(), derive_key_context="relayjax 2026 lot v1").digest()
