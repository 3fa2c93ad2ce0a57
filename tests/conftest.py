"""Small relays: some played through the real mechanism with made-up measurements, one that really trains.

In the played ones everything is signed and chained as in a real run; only digests, losses and values are
invented.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3
from compiled import pytest_configure, pytest_unconfigure

from relayjax import history, records, settings
from relayjax.history import History
from relayjax.identity import Envelope, sign
from relayjax.ledger.entry import chain
from relayjax.mechanism.apply import apply, start
from relayjax.mechanism.rules import DeRelayLRules, RelayJAXRules, Rules, Schedule
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Phase, State, Topology
from relayjax.mechanism.transitions import expected_draw, expected_match, expected_settlement
from relayjax.records import (
    Bid,
    Close,
    Commit,
    Deposit,
    Genesis,
    Join,
    Pledge,
    Record,
    Score,
    Submit,
    Value,
    report_commitment,
)
from relayjax.relay.members import Members, salt

if TYPE_CHECKING:
    from relayjax.config import Config

__all__ = ["pytest_configure", "pytest_unconfigure"]

SEED = 7


@dataclass
class Player:
    """Plays a relay record by record.

    Attributes:
      schedule, rules: of the relay.
      rise: (round, trainer) → by how much the leg raises the loss, micro-nats; None: it reveals nothing.
      value: (round, trainer) → (value, standard error) in a braid round, micro-nats.
      lie: (round, maintainer) → what it adds to every loss it measures, micro-nats.
    """

    schedule: Schedule
    rules: Rules
    rise: Callable[[int, str], int | None]
    value: Callable[[int, str], tuple[int, int]]
    lie: Callable[[int, str], int] = lambda round, name: 0
    said: list[Envelope] = field(default_factory=list)
    losses: dict[int, int] = field(default_factory=lambda: {0: 2_300_000})

    def play(self) -> list[bytes]:
        """The log entries of the whole relay."""
        self.members = Members.derive(self.schedule, SEED)
        self._introduce()
        while not self.state.finished:
            self._round()
        return chain(self.said)

    def _introduce(self) -> None:
        public = self.members.orderer.public
        parts = {"relay": self.schedule, "rules": self.rules}
        config = {name: settings.encode(part) for name, part in parts.items()} | {"seed": SEED}
        genesis = Genesis(
            public.name, config, [], _digest("genesis"), _digest("hidden"), public.signing, public.receiving
        )
        self.state: State = start(genesis)
        self._sign(genesis)
        for keys, role in self.members.roles:
            self._say(Join(keys.name, role.value, keys.public.signing, keys.public.receiving))

    def _round(self) -> None:
        number, orderer, rules = self.state.round.number, self.state.orderer, mechanism(self.rules)
        for name in rules.bidders(self.state):
            if (amount := rules.suggested_bid(self.state, name)) is not None:
                self._say(Bid(name, number, amount))
        self._say(expected_match(self.state))
        for name, amount in sorted(rules.deposits(self.state).items()):
            self._say(Deposit(name, number, amount))
        trainers = [name for name in self.state.round.pairs if self.rise(number, name) is not None]
        submissions = [self._submission(number, name) for name in trainers]
        for submit in submissions:
            salted = records.commitment(
                bytes.fromhex(submit.salt), submit.delta, submit.parent, number, submit.author
            )
            self._say(Commit(submit.author, number, salted))
        if self.state.round.phase is Phase.COMMIT:
            self._say(Close(orderer, number, "commit"))
        for submit in submissions:
            self._say(submit)
        if self.state.round.phase is Phase.TESTING:
            self._say(expected_draw(self.state))
            self._report([self._score(number, name, trainers) for name in rules.maintainers(self.state)])
        if self.state.round.phase is Phase.APPRAISAL:
            accepted = sorted(rules.accepted(self.state))
            self._report([self._value(number, name, accepted) for name in rules.maintainers(self.state)])
        self._settle(number)

    def _report(self, reports: Sequence[Score] | Sequence[Value]) -> None:
        for report in reports:
            self._say(Pledge(report.author, report.round, report_commitment(report)))
        for report in reports:
            self._say(report)

    def _settle(self, number: int) -> None:
        settle, values = expected_settlement(self.state), self.state.round.values
        self._say(settle)
        for version, _, parent in settle.versions:
            trained = self.losses[parent] + (self.rise(number, self.state.versions[version].owners[0]) or 0)
            self.losses[version] = min((value.loss for value in values.values()), default=trained)

    def _submission(self, number: int, name: str) -> Submit:
        parent = self.state.versions[self.state.round.pairs[name]].digest
        delta, child = _digest(f"delta {number} {name}"), _digest(f"child {number} {name}")
        hidden = salt(SEED, name, number).hex()
        return Submit(name, number, delta, self.schedule.codec, 1_000, hidden, parent, child)

    def _score(self, number: int, name: str, trainers: list[str]) -> Score:
        error, pairs = self.lie(number, name), self.state.round.pairs
        loss = {trainer: self.losses[pairs[trainer]] for trainer in trainers}
        parents = {str(pairs[trainer]): loss[trainer] + error for trainer in trainers}
        children = {
            trainer: loss[trainer] + (self.rise(number, trainer) or 0) + error for trainer in trainers
        }
        braid = mechanism(self.state.rules).topology(self.state) is Topology.BRAID
        echoes = tuple((trainer, 0) for trainer in sorted(trainers)) if braid else ()
        tree = mechanism(self.state.rules).topology(self.state) is Topology.TREE
        slopes, chance = (
            tuple((trainer, figure) for trainer in sorted(trainers) if not tree)
            for figure in (-50_000, 1_000)
        )
        hidden = salt(SEED, name, number, "score").hex()
        return Score(
            name,
            number,
            hidden,
            tuple(sorted(parents.items())),
            tuple(sorted(children.items())),
            slopes,
            chance,
            echoes,
        )

    def _value(self, number: int, name: str, trainers: list[str]) -> Value:
        measured = {trainer: self.value(number, trainer) for trainer in trainers}
        values = tuple((trainer, value) for trainer, (value, _) in measured.items())
        errors = tuple((trainer, error) for trainer, (_, error) in measured.items())
        shapley = tuple((trainer, value * 9 // 10) for trainer, value in values)
        loss = self.losses[self.state.head.number] - sum(value for _, value in values)
        none = tuple((trainer, 0) for trainer in trainers)
        hidden, digest = salt(SEED, name, number, "value").hex(), _digest(f"braid {number}")
        return Value(name, number, hidden, digest, loss, values, errors, none, shapley, errors)

    def _say(self, record: Record) -> None:
        self.state = apply(self.state, record)
        self._sign(record)

    def _sign(self, record: Record) -> None:
        self.said.append(sign(records.encode(record), self.members.by_name[record.author]))


def _digest(text: str) -> str:
    return blake3(text.encode()).hexdigest()


def _rise(round: int, name: str) -> int | None:
    """Round 3 is refused, nothing is revealed in round 7; p3 returns its parent unchanged."""
    if name == "p3" and round not in (3, 7):
        return 0
    return {3: 150_000, 4: 40_000, 7: None}.get(round, -100_000 - 7_000 * int(name[1]))


def _value(round: int, name: str) -> tuple[int, int]:
    """p3 is worth nothing, p2 does harm in the second braid round."""
    values = {"p0": 120_000, "p1": 60_001, "p2": -20_000 if round > 1 else 30_000, "p3": 0}
    return values[name] // round, 3_000 if name != "p3" else 0


@pytest.fixture(scope="session")
def played_entries() -> list[bytes]:
    """A log under the `relayjax` rules: 4 participants, 3 validators, 8 rounds, rounds 1 and 5 braided.

    p3 is idle; the leg of round 3 is refused, in round 7 nothing is revealed; v1 lies in round 2.
    """
    schedule = Schedule(rounds=8, participants=4, validators=3, braid_rounds=(1, 5))
    lie = lambda round, name: 5_000 if (round, name) == (2, "v1") else 0  # noqa: E731
    return Player(schedule, RelayJAXRules(), _rise, _value, lie).play()


@pytest.fixture(scope="session")
def played_run(played_entries: list[bytes]) -> History:
    """The history of `played_entries`."""
    return history.read(played_entries)


@pytest.fixture(scope="session")
def played_derelayl() -> History:
    """A run under the `derelayl` rules: 12 participants, 6 rounds."""
    schedule = Schedule(rounds=6, participants=12, validators=1, braid_rounds=())
    entries = Player(schedule, DeRelayLRules(), lambda r, n: -1_000 * int(n[1:]), lambda r, n: (0, 0)).play()
    return history.read(entries)


TINY = {
    "task.hidden": "8",
    "leg.steps": "5",
    "relay.rounds": "8",
    "relay.participants": "3",
    "relay.validators": "2",
    "relay.braid_rounds": "1,4",
    "relay.draw": "60",
    "relay.checkpoint_every": "2",
}
"""A relay of seconds in which everything happens: braids, chains, model checkpoints in both."""


@pytest.fixture(scope="session")
def tiny_overrides() -> dict[str, str]:
    """What makes the digits config tiny, text by dotted path."""
    return dict(TINY)


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., Config]:
    """Makes the tiny config; overrides by dotted path, seed 7 unless another is given."""
    from relayjax import config

    def make(overrides: Mapping[str, str] | None = None, seed: int = SEED) -> Config:
        return config.resolve("digits", {**TINY, **(overrides or {})}, seed)

    return make


@pytest.fixture(scope="session")
def compiled_once() -> Iterator[None]:
    """Has all runs of a session share what is compiled: opening one again takes milliseconds."""
    from relayjax.learning.tasks.digits import Digits
    from relayjax.relay import relay

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Digits, "build", functools.cache(Digits.build))
        patch.setattr(relay, "Leg", functools.cache(relay.Leg))
        patch.setattr(relay, "Evaluator", functools.cache(relay.Evaluator))
        yield


@pytest.fixture(scope="session")
def tiny_snapshots(
    tiny_config: Callable[..., Config], compiled_once: None, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Directories of the tiny run after 0, 1, ... rounds, the last one finished. Copy before changing."""
    from relayjax import backend

    base = tmp_path_factory.mktemp("tiny")
    snapshots = []
    with backend.open_run(tiny_config(), base / "run") as run:
        for done in range(run.state.schedule.rounds + 1):
            snapshots.append(Path(shutil.copytree(base / "run", base / f"after{done}")))
            if not run.finished:
                run.step()
    return snapshots


@pytest.fixture(scope="session")
def tiny_run(tiny_snapshots: list[Path]) -> Path:
    """Directory of the finished tiny run. Copy it before changing it."""
    return tiny_snapshots[-1]


@pytest.fixture
def tiny_copy(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished tiny run, to be damaged."""
    return Path(shutil.copytree(tiny_run, tmp_path / "copy"))
