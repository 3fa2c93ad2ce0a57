"""Many participants that do anything in any order: the mechanism allows what a small model of it allows."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from mechanism.protocol_model import PHASES, SPOKEN, Model

from relayjax import settings as relay_settings
from relayjax.errors import RelayError
from relayjax.identity import Keys
from relayjax.mechanism.apply import apply, start
from relayjax.mechanism.rules import RelayJAXRules, Schedule
from relayjax.mechanism.transitions import expected_draw, expected_settlement
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
    report_commitment,
)

NAMES = ("p0", "p1", "p2", "p3", "v0", "v1", "v2", "observer", "stranger")
KEYS = {name: Keys.derive(name, b"stateful").public for name in NAMES}
LOSS = 2_000_000
FIGURES = (-100_000, -1_000, 0, 40_000, 150_000, 900_000)


def hashed(*parts: Any) -> str:
    return blake3(repr(parts).encode()).hexdigest()


class Relay(RuleBasedStateMachine):
    """Everybody at once; `luck` decides what is measured and what is forged."""

    @initialize(
        seed=st.integers(0, 2**32),
        braids=st.sampled_from([(1,), (1, 2), (2, 3), (1, 2, 3), ()]),
        validators=st.integers(1, 3),
    )
    def begin(self, seed: int, braids: tuple[int, ...], validators: int) -> None:
        self.luck = random.Random(seed)
        self.accepted: list[Record] = []
        schedule, rules = (
            Schedule(rounds=3, participants=3, validators=validators, braid_rounds=braids),
            RelayJAXRules(),
        )
        config = {"relay": relay_settings.encode(schedule), "rules": relay_settings.encode(rules)}
        keys = KEYS["v0"]
        genesis = Genesis("v0", config, [], "00" * 32, "11" * 32, keys.signing, keys.receiving)
        self.state = start(genesis)
        self.model = Model(schedule, rules, genesis, lambda name: self.state.lot(name))
        for name in (*NAMES[:2], *NAMES[5 : 4 + validators]):
            self.say(self.join(name))

    @rule(who=st.sampled_from(NAMES))
    def act(self, who: str) -> None:
        """Somebody does what it may, if there is anything."""
        if record := self.due(who):
            self.say(record)

    @rule(phases=st.integers(1, 9))
    def play_on(self, phases: int) -> None:
        """Some phases as they should be, though not everybody is there; who orders the records comes last."""
        for _ in range(phases):
            away = self.luck.random() < 0.12
            phase, order = self.model.phase, self.luck.sample(NAMES, len(NAMES))
            if self.luck.random() < 0.9:
                order = [*(name for name in order if name != self.model.orderer), self.model.orderer]
            for who in order * 2:  # some may act only once others have
                there = not away or self.luck.random() < 0.7
                if there and self.model.phase == phase and (record := self.due(who)):
                    if self.luck.random() < 0.3:
                        self.attack(record)
                    if self.due(who) == record:
                        self.say(record)
            if away and self.model.phase in PHASES[1:-1]:
                self.say(Close(self.model.orderer, self.model.round, self.model.phase))

    @rule(phase=st.sampled_from(PHASES), who=st.sampled_from(("v0", "v0", "v0", "v1", "p0")))
    def close(self, phase: str, who: str) -> None:
        phase = self.model.phase if self.luck.random() < 0.7 else phase
        self.say(Close(who, self.model.round, phase))

    @rule(votes=st.lists(st.tuples(st.sampled_from(("v0", "v1", "v2", "p0")), st.integers(0, 4)), max_size=3))
    def succeed(self, votes: list[tuple[str, int]]) -> None:
        """Some vote that another orders; now and then one of the votes is forged."""
        for who, further in votes:
            model = self.model
            ring = [name for name, role in model.roles.items() if role == "maintainer"]
            due = ring[(ring.index(model.orderer) + further) % len(ring)]
            vote = Succeed(who, model.run, model.term + further, due, model.seen.hex())
            self.attack(vote) if self.luck.random() < 0.2 else self.say(vote)

    @rule(who=st.sampled_from(NAMES), role=st.sampled_from(("participant", "maintainer", "observer")))
    def come(self, who: str, role: str) -> None:
        self.say(dataclasses.replace(self.join(who), role=role))

    @rule(who=st.sampled_from(NAMES))
    def lie(self, who: str) -> None:
        if record := self.due(who):
            self.attack(record)

    @rule()
    def replay(self) -> None:
        """What was said before is said again; nothing is ever accepted twice."""
        if self.accepted:
            self.refused(self.luck.choice(self.accepted))

    @rule(who=st.sampled_from(NAMES), kind=st.sampled_from((Bid, Deposit, Commit, Pledge, Match)))
    def blurt(self, who: str, kind: type[Record]) -> None:
        """Something that belongs to any phase."""
        n = self.model.round
        amount = self.luck.choice([-1, 0, 1_000_000, 10_000_000, 10**12])
        made: dict[type[Record], Callable[[], Record]] = {
            Bid: lambda: Bid(who, n, amount),
            Deposit: lambda: Deposit(who, n, amount),
            Commit: lambda: Commit(who, n, hashed(who)),
            Pledge: lambda: Pledge(who, n, hashed(who)),
            Match: lambda: Match(who, n, self.model.fair()),
        }
        self.say(made[kind]())

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "model"):
            return
        state, model = self.state, self.model
        assert state.round.phase.name.lower() == model.phase and state.round.number == model.round
        assert state.balances == {n: a for n, a in model.accounts.items() if n in model.roles}
        assert (state.pot, state.minted - state.burned) == (model.accounts["pot"], -model.accounts["mint"])
        assert dict(state.round.deposits) == {n: d.amount for n, d in model.said["deposit"].items()}
        assert (state.orderer, state.term.number) == (model.orderer, model.term)
        assert state.head.number == model.head and dict(state.round.pairs) == model.pairs

    def attack(self, record: Record) -> None:
        """In place of what is due: by another, with another amount, figure, digest, round; or again."""
        names = [f.name for f in dataclasses.fields(record) if f.name != "author"]
        match self.luck.randrange(4):
            case 0:
                self.say(dataclasses.replace(record, author=self.luck.choice(NAMES)))
            case 1 if self.accepted:
                last = self.luck.choice(self.accepted[-3:])
                self.refused(last)
                if name := next((n for n in ("amount", "commitment") if hasattr(last, n)), ""):
                    self.say(dataclasses.replace(last, **{name: self.other(getattr(last, name))}))
            case _:
                name = self.luck.choice(names)
                forged = dataclasses.replace(record, **{name: self.other(getattr(record, name))})
                derived = isinstance(record, Draw | Settle) and forged != record
                self.refused(forged) if derived else self.say(forged)

    def say(self, record: Record) -> None:
        """Model and mechanism must agree on a record."""
        if not self.model.admits(record):
            self.refused(record)
            return
        self.state = apply(self.state, record)
        self.model.take(record)
        self.accepted.append(record)

    def refused(self, record: Record) -> None:
        with pytest.raises(RelayError):
            apply(self.state, record)

    def join(self, name: str) -> Join:
        role = {"p": "participant", "v": "maintainer"}.get(name[0], "observer")
        return Join(name, role, KEYS[name].signing, KEYS[name].receiving)

    def other(self, value: Any) -> Any:
        """Another value of the same type."""
        match value:
            case int():
                return value + self.luck.choice([-1, 1, 10**9])
            case str():
                return self.luck.choice([hashed(value)[: len(value)], value[:-1], value + "0", ""])
            case tuple() if value and self.luck.random() < 0.7:
                where = self.luck.randrange(len(value))
                return (*value[:where], self.other(value[where]), *value[where + 1 :])
            case tuple():
                return (*value, *value[-1:], *(() if value else (("p0", 0),)))
        raise AssertionError(value)

    def due(self, who: str) -> Record | None:
        """What somebody should say now, if anything."""
        model, n = self.model, self.model.round
        if who not in model.roles or n > model.schedule.rounds:
            return None
        if who == model.orderer and model.phase == "auction":
            return Match(who, n, model.fair())
        if who == model.orderer and model.phase == "testing" and not model.drawn:
            return expected_draw(self.state)
        if who not in model.awaited() - set(model.said[model.phase]):
            return None
        if model.phase == "settlement":
            return expected_settlement(self.state)
        return {
            Bid: lambda: Bid(
                who, n, min(model.accounts[who], self.luck.choice([1_000_000] * 4 + [2_000_000, 5]))
            ),
            Deposit: lambda: Deposit(who, n, model.said["auction"][who].amount),
            Commit: lambda: Commit(who, n, self.committed(who)),
            Submit: lambda: self.submission(who),
            Pledge: lambda: Pledge(who, n, report_commitment(self.report(who))),
            Score: lambda: self.score(who),
            Value: lambda: self.value(who),
        }[SPOKEN[model.phase]]()

    def committed(self, who: str) -> str:
        made = self.submission(who)
        return commitment(bytes.fromhex(made.salt), made.delta, made.parent, made.round, who)

    def submission(self, who: str) -> Submit:
        n, parent = self.model.round, self.model.versions[self.model.head]
        salt = hashed("salt", n, who)[:32]
        return Submit(who, n, hashed("delta", n, who), "mxint8", 1_000, salt, parent, hashed("child", n, who))

    def report(self, who: str) -> Score | Value:
        return self.score(who) if self.model.phase == "testing" else self.value(who)

    def score(self, who: str) -> Score:
        """Figures that all validators agree on, but for some that lie."""
        n, lie = self.model.round, random.Random(f"{self.model.round}{who}").choice([0, 0, 0, 7_000])
        trainers = sorted(self.model.said["reveal"])
        measured = {name: random.Random(f"{n} {name} {len(self.accepted) // 99}") for name in trainers}
        rises = {name: chance.choice(FIGURES) for name, chance in measured.items()}
        slopes = tuple((name, chance.choice(FIGURES)) for name, chance in measured.items())
        braid = n in self.model.schedule.braid_rounds
        echoes = tuple((name, chance.choice([0, 0, 999_999])) for name, chance in measured.items())
        parents = ((str(self.model.head), LOSS + lie),) if trainers else ()
        children = tuple((name, LOSS + rise + lie) for name, rise in rises.items())
        chances = tuple((name, 1_000) for name in trainers)
        salt = hashed("score", n, who)[:32]
        return Score(who, n, salt, parents, children, slopes, chances, echoes if braid else ())

    def value(self, who: str) -> Value:
        n, names = self.model.round, self.model.accepted
        values = tuple(
            (name, random.Random(f"{n}{name}").choice([-9_000, 0, 60_000, 120_000])) for name in names
        )
        errors = tuple((name, 2_000) for name in names)
        salt = hashed("value", n, who)[:32]
        return Value(who, n, salt, hashed("braid", n), LOSS - 90_000, values, errors, errors, values, errors)


def test_the_mechanism_allows_what_the_model_allows() -> None:
    run_state_machine_as_test(Relay, settings=settings(max_examples=250, stateful_step_count=40))


@pytest.mark.slow
def test_the_mechanism_allows_what_the_model_allows_for_long() -> None:
    run_state_machine_as_test(Relay, settings=settings(max_examples=3_000, stateful_step_count=80))
