"""A player of whole rounds: everybody acts as the mechanism suggests, unless the dice keep them away."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable, Mapping

import pytest

from relayjax import settings
from relayjax.identity import Keys
from relayjax.mechanism.apply import apply, start
from relayjax.mechanism.rules import Rules, Schedule
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Phase, Role, State, Topology
from relayjax.mechanism.transitions import expected_draw, expected_match, expected_settlement
from relayjax.records import (
    Bid,
    Close,
    Commit,
    Deposit,
    Genesis,
    Join,
    Pairs,
    Pledge,
    Record,
    Score,
    Submit,
    Value,
    commitment,
    report_commitment,
)

NAT = 1_000_000
LUCK = 1_000
"""Standard deviation of slopes by chance, micro-nats."""
SALT = "00" * 16
COMPOSED = "cc" * 32

Report = Score | Value


@functools.lru_cache(maxsize=1024)
def keys(name: str) -> Keys:
    return Keys.derive(name, b"tests")


def join(name: str, role: Role) -> Join:
    public = keys(name).public
    return Join(name, role.value, public.signing, public.receiving)


def genesis(schedule: Schedule, rules: Rules) -> Genesis:
    config = {"relay": settings.encode(schedule), "rules": settings.encode(rules)}
    public = keys("v0").public
    return Genesis("v0", config, [], "00" * 32, "11" * 32, public.signing, public.receiving)


@functools.lru_cache(maxsize=64)
def opening(schedule: Schedule, rules: Rules) -> tuple[State, tuple[Record, ...]]:
    """The state when everybody has joined, and the records that lead to it."""
    first = genesis(schedule, rules)
    said: list[Record] = [first]
    digits = len(str(schedule.participants - 1))
    said += [join(f"p{i:0{digits}}", Role.PARTICIPANT) for i in range(schedule.participants)]
    said += [join(f"v{i}", Role.MAINTAINER) for i in range(1, schedule.validators)]
    said += [join("observer", Role.OBSERVER)]
    return functools.reduce(apply, said[1:], start(first)), tuple(said)


def coins(state: State) -> int:
    """All coins there are, wherever they lie."""
    return sum(state.balances.values()) + sum(state.round.deposits.values()) + state.pot


class Player:
    """Plays rounds; after every record the books must balance.

    Attributes:
      dice: decides who stays away and what is scored; hypothesis' or a seeded one.
      away: probability that somebody expected to act does not.
      losses: trainer → its candidate's loss, micro-nats; drawn when not given.
      values: trainer → its value in a braid round; drawn when not given.
      noise: trainer → (standard error of its value, that of random directions); 0 when not given.
      slopes: trainer → what its delta adds to the loss to first order; takes off far more than luck when not
        given.
      echoes: trainer → how much its delta resembles earlier work, ppm; 0 when not given.
      lies: validator → what it adds to every loss.
      stated: what a validator makes of a report before it pledges to it.
      withheld: validators that show nothing of what they pledged to, if the relay can go on without.
    """

    def __init__(self, schedule: Schedule, rules: Rules, dice: random.Random | None = None, away: float = 0):
        self.state, said = opening(schedule, rules)
        self.said = list(said)
        self.dice = dice or random.Random(0)
        self.away = away
        self.losses: dict[str, int] = {}
        self.values: dict[str, int] = {}
        self.noise: dict[str, tuple[int, int]] = {}
        self.slopes: dict[str, int] = {}
        self.echoes: dict[str, int] = {}
        self.lies: dict[str, int] = {}
        self.stated: Callable[[Report], Report] = lambda report: report
        self.withheld: set[str] = set()
        self.reports: dict[str, Report] = {}
        self.composed: dict[str, str] = {}
        self.composed_loss: int | None = None
        self.parent_loss = 2 * NAT
        self.watch: Callable[[State, Record], None] = lambda before, record: None

    @property
    def rules(self):
        return mechanism(self.state.rules)

    def say(self, record: Record) -> None:
        self.watch(self.state, record)
        self.state = apply(self.state, record)
        self.said.append(record)
        assert self.state.minted - self.state.burned == coins(self.state)
        assert min(self.state.balances.values()) >= 0 <= self.state.pot
        assert all(amount >= 0 for amount in self.state.round.deposits.values())

    def present(self, names) -> list[str]:
        return [name for name in sorted(names) if not self.away or self.dice.random() >= self.away]

    def close(self, phase: Phase) -> None:
        if self.state.round.phase is phase:
            self.say(Close(self.state.orderer, self.state.round.number, phase.name.lower()))

    def auction(self) -> None:
        for name in self.present(self.rules.bidders(self.state)):
            amount = self.rules.suggested_bid(self.state, name)
            if amount is not None:
                self.say(Bid(name, self.state.round.number, amount))
        self.say(expected_match(self.state))

    def deposit(self) -> None:
        due = self.rules.deposits(self.state)
        for name in self.present(due):
            self.say(Deposit(name, self.state.round.number, due[name]))
        self.close(Phase.DEPOSIT)

    def submission(self, name: str) -> Submit:
        now = self.state.round
        parent = self.state.versions[now.pairs[name]].digest
        delta = keys(name).public.signing
        child = f"{now.number:032x}" + delta[:32]
        return Submit(name, now.number, delta, self.state.schedule.codec, 100, SALT, parent, child)

    def commit(self) -> None:
        now = self.state.round
        for name in self.present(set(now.pairs) & set(now.deposits)):
            made = self.submission(name)
            bound = commitment(bytes.fromhex(SALT), made.delta, made.parent, now.number, name)
            self.say(Commit(name, now.number, bound))
        self.close(Phase.COMMIT)

    def reveal(self) -> None:
        for name in self.present(self.state.round.commitments):
            self.say(self.submission(name))
        self.close(Phase.REVEAL)

    def quorum(self, expected: Iterable[str]) -> list[str]:
        """Of some maintainers, those present, but never fewer than the relay needs to go on."""
        here = self.present(expected)
        enough = 2 * len(here) > len(self.rules.maintainers(self.state))
        return here if enough else sorted(expected)

    def pledge(self, phase: Phase, make: Callable[[str], Report]) -> None:
        self.reports = {}
        for name in self.quorum(self.rules.maintainers(self.state)):
            self.reports[name] = self.stated(make(name))
            self.say(Pledge(name, self.state.round.number, report_commitment(self.reports[name])))
        self.close(phase)

    def show(self, phase: Phase) -> None:
        if self.state.round.phase is phase:
            willing = self.reports.keys() - self.withheld
            enough = 2 * len(willing) > len(self.rules.maintainers(self.state))
            for name in self.quorum(willing if enough else self.reports):
                self.say(self.reports[name])
            self.close(phase)

    def score(self, name: str) -> Score:
        now, lie = self.state.round, self.lies.get(name, 0)
        parents = sorted({str(now.pairs[trainer]) for trainer in now.submissions})
        return Score(
            name,
            now.number,
            SALT,
            tuple((parent, self.parent_loss) for parent in parents),
            tuple((trainer, self.losses[trainer] + lie) for trainer in sorted(now.submissions)),
            self.along(sorted(now.submissions), self.slopes, -50 * LUCK),
            self.along(sorted(now.submissions), {}, LUCK),
            self.echoes_of(sorted(now.submissions)),
        )

    def along(self, trainers: list[str], slopes: Mapping[str, int], usual: int) -> Pairs:
        if self.rules.topology(self.state) is Topology.TREE:
            return ()
        return tuple((trainer, slopes.get(trainer, usual)) for trainer in trainers)

    def echoes_of(self, trainers: list[str]) -> Pairs:
        braid = self.rules.topology(self.state) is Topology.BRAID
        return tuple((trainer, self.echoes.get(trainer, 0)) for trainer in trainers) if braid else ()

    def test(self) -> None:
        self.draw_and_pledge()
        self.show(Phase.SCORING)

    def draw_and_pledge(self) -> None:
        if self.state.round.phase is not Phase.TESTING:
            return
        for trainer in sorted(self.state.round.submissions):
            self.losses.setdefault(trainer, self.parent_loss + self.dice.randint(-NAT, NAT))
        self.say(expected_draw(self.state))
        self.pledge(Phase.TESTING, self.score)

    def value(self) -> None:
        self.appraise()
        self.show(Phase.VALUATION)

    def appraise(self) -> None:
        if self.state.round.phase is not Phase.APPRAISAL:
            return
        accepted = sorted(self.rules.accepted(self.state))
        for trainer in accepted:
            self.values.setdefault(trainer, self.dice.randint(-NAT, 10 * NAT))
        loss = self.composed_loss
        if loss is None:
            loss = self.parent_loss + self.dice.randint(-NAT, NAT)
        pairs = tuple((trainer, self.values[trainer]) for trainer in accepted)
        none = tuple((trainer, 0) for trainer in accepted)
        noise = [self.noise.get(trainer, (0, 0)) for trainer in accepted]
        stderr, chance = (tuple(zip(accepted, column, strict=True)) for column in zip(*noise, strict=True))

        def valued(name: str) -> Value:
            number, digest = self.state.round.number, self.composed.get(name, COMPOSED)
            return Value(name, number, SALT, digest, loss, pairs, stderr, chance, pairs, none)

        self.pledge(Phase.APPRAISAL, valued)

    def settle(self) -> None:
        self.say(expected_settlement(self.state))

    def round(self, losses: Mapping[str, int] | None = None, values: Mapping[str, int] | None = None) -> None:
        """Plays one round to its settlement."""
        self.losses, self.values = dict(losses or {}), dict(values or {})
        for phase in (
            self.auction,
            self.deposit,
            self.commit,
            self.reveal,
            self.test,
            self.value,
            self.settle,
        ):
            phase()

    def until(self, phase: Phase) -> Player:
        """Plays on within the round until a phase is reached."""
        steps = (
            self.auction,
            self.deposit,
            self.commit,
            self.reveal,
            self.draw_and_pledge,
            lambda: self.show(Phase.SCORING),
            self.appraise,
            lambda: self.show(Phase.VALUATION),
        )
        self.losses, self.values = {}, {}
        for step in steps[: phase - Phase.AUCTION]:
            step()
        return self


@pytest.fixture(scope="session")
def player() -> type[Player]:
    return Player


@pytest.fixture(scope="session")
def joining() -> Callable[[str, Role], Join]:
    return join


@pytest.fixture(scope="session")
def first_record() -> Callable[[Schedule, Rules], Genesis]:
    return genesis
