"""The protocol under the `relayjax` rules once more, in a hundred lines: who may do what, and who has what.

It shares the records with the mechanism and none of its code. What a settlement pays for value is the
mechanism's own to say; here every coin of it is followed, and acceptance is derived anew.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median_high, median_low
from typing import Any

from blake3 import blake3

from relayjax.mechanism.rules import RelayJAXRules, Schedule
from relayjax.records import (
    Bid,
    Close,
    Commit,
    Deposit,
    Draw,
    Genesis,
    Join,
    Match,
    Pledge,
    Record,
    Score,
    Settle,
    Submit,
    Succeed,
    Value,
    commitment,
    encode,
    report_commitment,
)

SPOKEN: dict[str, type[Record]] = {
    "auction": Bid,
    "deposit": Deposit,
    "commit": Commit,
    "reveal": Submit,
    "testing": Pledge,
    "scoring": Score,
    "appraisal": Pledge,
    "valuation": Value,
    "settlement": Settle,
}
"""What is said in each phase, once by everybody whom it concerns."""

PHASES = tuple(SPOKEN)
REPORTING = PHASES[4:8]


def _hex(text: str, digits: int) -> bool:
    return len(text) == digits and set(text) <= set("0123456789abcdef")


def _chained(before: bytes, record: Record) -> bytes:
    return blake3(before + encode(record), derive_key_context="relayjax 2026 transcript v1").digest()


class Model:
    """The round, its phase, what was said in each phase by whom, and all accounts."""

    def __init__(
        self, schedule: Schedule, rules: RelayJAXRules, genesis: Genesis, lot: Callable[[str], bytes]
    ):
        orderer = genesis.author
        self.schedule, self.rules, self.orderer, self.lot = schedule, rules, orderer, lot
        self.last = self.seen = _chained(b"", genesis)
        self.run, self.term, self.votes = self.seen.hex(), 0, dict[str, int]()
        self.roles = {orderer: "maintainer"}
        self.accounts = {orderer: rules.endowment, "pot": 0, "mint": -rules.endowment}
        self.round, self.head, self.versions = 1, 0, {0: "00" * 32}
        self.waited, self.lots = dict[str, int](), dict[str, bytes]()
        self._begin()

    def _begin(self) -> None:
        self.phase, self.drawn, self.pairs = PHASES[0], False, {}
        self.said: dict[str, dict[str, Any]] = {phase: {} for phase in PHASES}

    def named(self, role: str) -> set[str]:
        return {name for name, one in self.roles.items() if one == role}

    def awaited(self) -> set[str]:
        """Who is to speak in this phase; "" stands for the draw, which all wait for."""
        said, testers = self.said, self.named("maintainer")
        drawn = (testers if self.drawn else {""}) if said["reveal"] else set[str]()
        speakers = (self.named("participant"), self.pairs, said["deposit"], said["commit"])
        speakers += (drawn, said["testing"], testers, said["appraisal"], {self.orderer})
        return set(speakers[PHASES.index(self.phase)])

    def admits(self, record: Record) -> bool:
        """Whether the protocol allows a record now."""
        who, phase, leads = record.author, self.phase, record.author == self.orderer
        over = self.round > self.schedule.rounds
        if isinstance(record, Join):
            places = {"participant": self.schedule.participants, "maintainer": self.schedule.validators}
            free = len(self.named(record.role)) < places.get(record.role, 99)
            return phase == "auction" and who not in self.roles and free
        if isinstance(record, Succeed):
            ring = [name for name, role in self.roles.items() if role == "maintainer"]
            here = (record.run, record.seen) == (self.run, self.seen.hex())
            newer = max(self.term, self.votes.get(who, 0)) < record.term <= self.term + len(ring)
            due = ring[(ring.index(self.orderer) + record.term - self.term) % len(ring)]
            return who in ring and here and newer and not over and record.successor == due
        if who not in self.roles or getattr(record, "round", 0) != self.round or over:
            return False
        match record:
            case Match(pairs=pairs):
                return phase == "auction" and leads and pairs == self.fair()
            case Draw():
                return phase == "testing" and leads and not self.drawn
            case Close(phase=named):
                few = phase in REPORTING and 2 * len(self.said[phase]) <= len(self.named("maintainer"))
                return leads and named == phase in PHASES[1:-1] and not few
        if type(record) is not SPOKEN[phase] or who not in self.awaited() - set(self.said[phase]):
            return False
        before = self.said[PHASES[PHASES.index(phase) - 1]].get(who)
        match record:
            case Bid(amount=amount):
                return 0 <= amount <= self.accounts[who]
            case Deposit(amount=amount):
                return amount == before.amount <= self.accounts[who]
            case Commit(commitment=made) | Pledge(commitment=made):
                old = self.said["testing"].get(who) if phase == "appraisal" else None
                return _hex(made, 64) and not (old and old.commitment == made)
            case Submit(salt=salt, delta=delta, parent=parent, child=child):
                fits = parent == self.versions[self.head] and record.codec == self.schedule.codec
                if not (fits and _hex(delta, 64) and _hex(child, 64) and _hex(salt, 32)):
                    return False
                return commitment(bytes.fromhex(salt), delta, parent, self.round, who) == before.commitment
            case Score() | Value():
                return report_commitment(record) == before.commitment
            case Settle(accepted=accepted):
                return accepted == self.accepted
        return True

    def take(self, record: Record) -> None:
        """Does what an allowed record does."""
        self.last = _chained(self.last, record)
        if isinstance(record, Succeed):
            self.votes[record.author] = record.term
            voted = sum(term == record.term for term in self.votes.values())
            if 2 * voted <= len(self.named("maintainer")):
                return
            self.orderer, self.term = record.successor, record.term
        self.votes, self.seen = {}, self.last
        match record:
            case Succeed():
                return
            case Join(author=name, role=role):
                self.roles[name], self.accounts[name] = role, 0
                founds = role != "observer" and self.round == 1
                self._move("mint", name, self.rules.endowment * founds)
            case Match(pairs=pairs):
                self.pairs, self.phase = dict(pairs), "deposit"
                self.waited |= dict.fromkeys(self.pairs, self.round)
            case Draw(seed=seed):
                self.drawn = True
                self.lots |= {name: _lot(bytes.fromhex(seed), name) for name in self.pairs}
            case Close():
                self._go_on()
            case Settle():
                self._settle(record)
            case _:
                self.said[self.phase][record.author] = record
                self.accounts[record.author] -= record.amount if isinstance(record, Deposit) else 0
        while self.phase in PHASES[1:-1] and self.awaited() <= set(self.said[self.phase]):
            self._go_on()

    def fair(self) -> tuple[tuple[str, int], ...]:
        """Who trains from where: all who bid enough, or of them who waited longest."""
        able = [name for name, bid in self.said["auction"].items() if bid.amount >= self.rules.deposit]
        if self.round not in self.schedule.braid_rounds:
            able = sorted(able, key=self._place)[:1]
        return tuple((name, self.head) for name in sorted(able))

    def _place(self, name: str) -> tuple[int, bytes]:
        return self.waited.get(name, 0), self.lots.get(name, self.lot(name))

    @property
    def accepted(self) -> tuple[str, ...]:
        """Whose loss rises no more than it may, in total and to first order, and who repeats nothing."""
        scores, old = list(self.said["scoring"].values()), str(self.head)
        found, most = [], self.rules.tolerance_in(self.round, self.schedule.rounds)
        for name in sorted(self.said["reveal"]) if scores else ():
            rise = median_low([dict(s.children)[name] - dict(s.parents)[old] for s in scores])
            slope = 1_000_000 * median_high([dict(s.slopes)[name] for s in scores])
            steepest = self.rules.slope_tolerance * median_low([dict(s.parents)[old] for s in scores])
            echo = median_high([dict(s.echoes).get(name, 0) for s in scores])
            if rise <= most and slope <= steepest and echo <= self.rules.echo_limit:
                found.append(name)
        return tuple(found)

    def _go_on(self) -> None:
        valued = self.round in self.schedule.braid_rounds and self.accepted
        ends = (self.phase == "testing" and not self.said["reveal"]) or (
            self.phase == "scoring" and not valued
        )
        self.phase = "settlement" if ends else PHASES[PHASES.index(self.phase) + 1]

    def _settle(self, record: Settle) -> None:
        """Follows every coin; escrow goes back to whom it came from, or to the pot if work was refused."""
        held = {f"escrow:{name}": deposit.amount for name, deposit in self.said["deposit"].items()}
        for source, target, amount, _ in record.transfers:
            if source in held:
                assert amount == held[source] and target in (source[7:], "pot")
                assert target != "pot" or source[7:] not in record.accepted
                self.accounts[source] = held.pop(source)
            self._move(source, target, amount)
        assert not held
        self.versions |= {number: digest for number, digest, _ in record.versions}
        self.head, self.round = record.heads[0], self.round + 1
        self._begin()

    def _move(self, source: str, target: str, amount: int) -> None:
        self.accounts[source] -= amount
        self.accounts[target] += amount
        assert amount >= 0 and all(left >= 0 for name, left in self.accounts.items() if name != "mint")


def _lot(seed: bytes, name: str) -> bytes:
    return blake3(seed + name.encode(), derive_key_context="relayjax 2026 lot v1").digest()
