"""Who could open what, by which right, and since when: the ledger's answer, and what the seals say of it.

The ledger gives the rights. A working trainer has its parent's weights by its match; a validator has the
candidates of the rounds it maintains; a licence covers a version and all before it; the ordering maintainer
has everything. The seal manifests, where they are at hand, say what was sealed to whom. Weights open for
whoever a model checkpoint of them was sealed to, or who opens all deltas from there, or from the genesis, on.

What a seal says is its signer's word until somebody opens it, and a member that changed its keys opens with
the receiving key that it had in that round.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from relayjax.archive import Archive, delta_recipients
from relayjax.history import History, SettledRound
from relayjax.mechanism.state import Role
from relayjax.records import Match, Record, Recover, RecoveryKey, Revoke, Rotate, Settle, Submit
from relayjax.store.manifest import SealManifest

EVERYBODY = "*"
"""Who has the genesis weights; no member can be called that."""


class Right(enum.StrEnum):
    """Why somebody may open something."""

    PUBLIC = "genesis weights lie in the open"
    MATCH = "its match: it trains from these"
    OWN = "its own work"
    ORDERER = "orders the records"
    VALIDATOR = "validator of the round"
    CONTRIBUTOR = "licence as contributor"
    MAINTAINER = "licence as maintainer"
    DELTAS = "all deltas that lead there"
    NONE = "no right by the ledger"


@dataclass(frozen=True)
class Access:
    """That somebody may open something.

    Attributes:
      kind: `weights` of a version, or a `delta`.
      digest: of the weights or of the encoded delta.
      version: whose weights, or what the delta became part of; None for a delta that was not accepted.
      trainer: whose delta; empty for weights.
      name: who may open it.
      right: why.
      round, entry: since when: the round, and the entry of the ledger that gives the right.
      opens: whether the seals at hand open it for this name; None where the manifest is not at hand.
    """

    kind: str
    digest: str
    version: int | None
    trainer: str
    name: str
    right: Right
    round: int
    entry: int
    opens: bool | None


@dataclass(frozen=True)
class Change:
    """That a name's keys changed, or that it was revoked.

    Attributes:
      entry, round: when.
      kind: of the record.
      author: who said it.
      name: whose keys or standing it is about.
      void: first round in which the keys before are disowned; None unless they were recovered.
    """

    entry: int
    round: int
    kind: str
    author: str
    name: str
    void: int | None


@dataclass(frozen=True)
class Ownership:
    """Everything that can be said of who could open what.

    Attributes:
      accesses: by version, deltas of refused work last; for each, by entry and name.
      changes: of keys, in order.
      manifests: how many seal manifests were at hand.
    """

    accesses: tuple[Access, ...]
    changes: tuple[Change, ...]
    manifests: int

    def of(self, name: str | None = None, version: int | None = None) -> Ownership:
        """The part about a name or a version, or both."""
        found = tuple(
            access
            for access in self.accesses
            if (name is None or access.name in (name, EVERYBODY)) and version in (None, access.version)
        )
        changes = tuple(change for change in self.changes if name in (None, change.name))
        return Ownership(found, changes, self.manifests)


def ownership(past: History, archive: Archive | None = None) -> Ownership:
    """Who could open what in a run.

    Args:
      past: the run's history.
      archive: its seals, if they are at hand; manifests that are missing are left out.

    Raises:
      IntegrityError: a manifest that is there is not as its signer wrote it.
    """
    manifests: dict[int, SealManifest] = {}
    for settled in past.rounds:
        if archive and archive.seals.path(settled.number).is_file():
            manifests[settled.number] = archive.manifest(past.state, settled.number)
    reader = _Reader(past, manifests)
    found = [*reader.weights(), *reader.deltas()]
    found.sort(key=_place)
    return Ownership(tuple(found), tuple(changes(past.records)), len(manifests))


def _place(access: Access) -> tuple[bool, int, bool, int, str, int, str]:
    """By version, weights before deltas, refused work last; then by entry and name."""
    refused, version = access.version is None, access.version or 0
    made = access.round if access.trainer else 0
    return refused, version, access.kind != "weights", made, access.trainer, access.entry, access.name


_Rights = dict[tuple[int, str], tuple[Right, int, int]]
"""(version, name) → right, round and entry since when."""


class _Reader:
    """Reads rights off the ledger, and openings off the manifests."""

    def __init__(self, past: History, manifests: Mapping[int, SealManifest]):
        self._past = past
        self._manifests = manifests
        self._entry = {
            (record.KIND, record.round, record.author if isinstance(record, Submit) else ""): index
            for index, record in enumerate(past.records)
            if isinstance(record, Match | Submit | Settle)
        }
        self._openers = self._weights_open_for()

    def weights(self) -> Iterator[Access]:
        """Who may open the weights of each version."""
        versions = self._past.state.versions
        granted: _Rights = {}
        matched: _Rights = {}
        reached: dict[str, int] = {}
        for settled in self._past.rounds:
            since = settled.number, self._entry["settle", settled.number, ""]
            for number, _, _ in settled.settle.versions:
                granted[number, settled.orderer] = (Right.ORDERER, *since)
            for name, newest in settled.settle.licences:
                right = Right.MAINTAINER if name in settled.facts.scores else Right.CONTRIBUTOR
                for number in range(reached.get(name, 0) + 1, newest + 1):
                    granted.setdefault((number, name), (right, *since))
                reached[name] = max(newest, reached.get(name, 0))
        for facts in (*(settled.facts for settled in self._past.rounds), self._past.state.round):
            for name in facts.pairs.keys() & facts.deposits.keys():
                since = facts.number, self._entry["match", facts.number, ""]
                matched.setdefault((facts.pairs[name], name), (Right.MATCH, *since))
        yield Access("weights", versions[0].digest, 0, "", EVERYBODY, Right.PUBLIC, 0, 0, True)
        for rights in (granted, matched):
            for (number, name), (right, round, entry) in rights.items():
                if number:
                    digest, opens = versions[number].digest, self._opens(name, self._openers[number])
                    yield Access("weights", digest, number, "", name, right, round, entry, opens)
        led = self._weights_led_to(granted)
        for version in versions[1:]:
            since = version.round, self._entry["settle", version.round, ""]
            opens = self._openers[version.number]
            for name in sorted(led[version.number] | opens):
                held = (version.number, name)
                if name in led[version.number]:
                    right, before = Right.DELTAS, held in granted and granted[held][1] <= version.round
                else:
                    right, before = Right.NONE, held in granted or held in matched
                if not before:
                    known = self._opens(name, opens)
                    yield Access("weights", version.digest, version.number, "", name, right, *since, known)

    def deltas(self) -> Iterator[Access]:
        """Who may open the deltas of each settled round."""
        became = {
            (version.round, owner): version.number
            for version in self._past.state.versions
            for owner in version.owners
        }
        for settled in self._past.rounds:
            sealed = self._sealed_to(settled.number)
            for trainer, submission in settled.facts.submissions.items():
                version = became.get((settled.number, trainer))
                opens = sealed.get(submission.delta, frozenset())
                entitled = delta_recipients(settled, trainer)
                for name in sorted(entitled | opens):
                    right = self._right(settled, trainer, name) if name in entitled else Right.NONE
                    early = right in (Right.OWN, Right.ORDERER, Right.VALIDATOR)
                    at = ("submit", settled.number, trainer) if early else ("settle", settled.number, "")
                    known = name in opens if settled.number in self._manifests else None
                    since = settled.number, self._entry[at]
                    yield Access("delta", submission.delta, version, trainer, name, right, *since, known)

    def _right(self, settled: SettledRound, trainer: str, name: str) -> Right:
        if name == trainer:
            return Right.OWN
        if name == settled.orderer:
            return Right.ORDERER
        if name in settled.maintainers:
            return Right.VALIDATOR
        maintains = self._past.state.members[name].role is Role.MAINTAINER
        return Right.MAINTAINER if maintains else Right.CONTRIBUTOR

    def _sealed_to(self, round: int) -> dict[str, frozenset[str]]:
        """Recipients of each artefact of a round, by its digest."""
        if round not in self._manifests:
            return {}
        return {seal.artefact: frozenset(seal.recipients) for seal in self._manifests[round].seals}

    def _weights_led_to(self, granted: _Rights) -> dict[int, frozenset[str]]:
        """Version → who had a right to it when it was made, or to its parent and all deltas from there.

        A validator opens the candidates of its round only, but one of every round has them all.
        """
        led = {0: frozenset(self._past.state.members)}
        for version in self._past.state.versions[1:]:
            settled = self._past.rounds[version.round - 1]
            names = led[version.parent]
            for owner in version.owners:
                names &= delta_recipients(settled, owner)
            holders = {
                name
                for name in settled.licences.keys() | {settled.orderer}
                if (version.number, name) in granted and granted[version.number, name][1] == version.round
            }
            led[version.number] = names | holders
        return led

    def _weights_open_for(self) -> dict[int, frozenset[str]]:
        """Version → who opens a checkpoint of it, or its parent and all deltas that lead from there to it."""
        checkpoints: dict[int, frozenset[str]] = {}
        for number, manifest in self._manifests.items():
            head = self._past.rounds[number - 1].head
            for seal in manifest.seals:
                if seal.kind == "model":
                    checkpoints[head] = checkpoints.get(head, frozenset()) | frozenset(seal.recipients)
        found = {0: frozenset(self._past.state.members)}
        for version in self._past.state.versions[1:]:
            sealed = self._sealed_to(version.round)
            submissions = self._past.rounds[version.round - 1].facts.submissions
            names = found[version.parent]
            for owner in version.owners:
                names &= sealed.get(submissions[owner].delta, frozenset())
            found[version.number] = names | checkpoints.get(version.number, frozenset())
        return found

    def _opens(self, name: str, openers: frozenset[str]) -> bool | None:
        """Whether a name is among those; unknown where it is not, but a manifest is missing."""
        complete = len(self._manifests) == len(self._past.rounds)
        return name in openers or (False if complete else None)


def changes(said: tuple[Record, ...]) -> Iterator[Change]:
    """Every change of keys or standing in some records, from the first of a ledger on."""
    round = 1
    for entry, record in enumerate(said):
        if isinstance(record, RecoveryKey | Rotate | Recover | Revoke):
            name = record.name if isinstance(record, Revoke) else record.author
            void = record.void if isinstance(record, Recover) else None
            yield Change(entry, round, record.KIND, record.author, name, void)
        round += isinstance(record, Settle)
