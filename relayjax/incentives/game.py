"""One relay, played under the rules of a live one, with a model of training in place of training.

What is modelled is what validators would have measured (`settings.World`, `handed.Handed`), drawn by
`luck.Luck`. Everything else the rules decide themselves (`table.Table`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from relayjax.incentives.behaviour import Behaviour
from relayjax.incentives.handed import Handed
from relayjax.incentives.luck import Luck, Seat
from relayjax.incentives.settings import World
from relayjax.incentives.table import SALT, Table, digest
from relayjax.mechanism.phases import trains
from relayjax.mechanism.rules import DeRelayLRules
from relayjax.mechanism.state import Phase, State, Topology
from relayjax.merging import share_of
from relayjax.misreports import Bias
from relayjax.records import Pairs, Score, Submit, Value

R = TypeVar("R", Score, Value)

NAT = 1_000_000
REPAIRED = 0.7
"""Share of a harm that the next honest leg leaves over."""
DEARER = 1.25
"""As in `valuation/sharing.py`."""
CHANCE = 0.3
"""Value of a random direction, in standard errors of the value."""
CURVE = 100.0
"""Gains of the paper's world in a lap: only their order counts there, and it keeps losses apart."""
GIFT = 10.0
"""Strength of a favour: a nat to accomplices."""
HONEST = Behaviour()


@dataclass
class Model:
    """A version: how many laps it has behind it, and what harm is still in it, as a share of its loss."""

    laps: float = 0.0
    harm: float = 0.0


@dataclass
class Effort:
    """What a member did.

    Attributes:
      turns: rounds it had a place in.
      legs: trained, in honest legs.
      progress: what they did for the head, in honest legs.
      scored: rounds it measured.
      free: rounds in which it was given a version to train from for a bid of nothing.
      received: the versions that it was given to train from.
    """

    turns: int = 0
    legs: float = 0.0
    progress: float = 0.0
    scored: int = 0
    free: int = 0
    received: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Cast:
    """Who is who.

    Attributes:
      seats: name of each participant → number of the seat whose data it has.
      behaviours: of those who deviate, by name.
      accomplices: whom a validator that favours somebody favours.
    """

    seats: Mapping[str, int]
    behaviours: Mapping[str, Behaviour] = field(default_factory=dict)
    accomplices: frozenset[str] = frozenset()


class Game:
    """A relay from its genesis to its end.

    Attributes:
      efforts: by name.
      models: by version number.
      half_supply: micro-coins there were after half of the rounds.
    """

    def __init__(self, table: Table, world: World, luck: Luck, cast: Cast):
        self._table, self._world, self._luck, self._cast = table, world, luck, cast
        self.efforts = {name: Effort() for name in table.state.members}
        self.models = {0: Model()}
        self.half_supply = 0
        self._bias = Bias(cast.accomplices, GIFT, np.random.default_rng(0))

    @property
    def state(self) -> State:
        """The agreed one."""
        return self._table.state

    def play(self) -> Game:
        """Plays all rounds."""
        while not self.state.finished:
            self.round()
        return self

    def round(self) -> None:
        """Plays the next round."""
        table = self._table
        table.begin(self._luck.beacon(self.state.round.number))
        self._auction()
        handed = self._train()
        if self.state.round.phase is Phase.TESTING:
            table.score(*self._reports(self._measured(handed)))
        if self.state.round.phase is Phase.APPRAISAL:
            table.value(*self._reports(self._valued(handed)))
        before = self.state
        table.settle()
        self._grow(before, handed)
        if 2 * before.round.number <= self.state.schedule.rounds:
            self.half_supply = self.state.minted - self.state.burned

    def seat_of(self, name: str) -> int | None:
        """Whose data a member has; None for a maintainer."""
        return self._cast.seats.get(name)

    def held(self, name: str) -> float | None:
        """Loss of the best version that a member may hold, nats; None if there is none.

        In the paper's rules whoever trained a model holds it. Else only a licence counts: what was received
        to train from has to be given up.
        """
        state = self.state
        versions = {state.licences[name]} if name in state.licences else set[int]()
        if isinstance(state.rules, DeRelayLRules):
            versions |= self.efforts[name].received
        return min((self.loss(version) for version in versions), default=None)

    def missing(self) -> float:
        """What the last model lacks because some trained less than their turns, nats."""
        done = dict.fromkeys(range(len(self._luck.seats)), 0.0)
        for name, seat in self._cast.seats.items():
            done[seat] += self.efforts[name].progress
        turns = max(1.0, sum(effort.turns for effort in self.efforts.values()) / len(done))
        lacks = {seat: 1 - min(1.0, max(0.0, legs / turns)) for seat, legs in done.items()}
        return sum(self._world.marginal * self._luck.seats[n].quality * lack for n, lack in lacks.items())

    def loss(self, version: int) -> float:
        """Of a version, nats."""
        model = self.models[version]
        return self._world.loss(model.laps) * (1 + model.harm)

    def _auction(self) -> None:
        table, number, schedule = self._table, self.state.round.number, self.state.schedule
        bids: dict[str, int] = {}
        for name in table.rules.bidders(self.state):
            own, honest = self._behaviour(name), table.rules.suggested_bid(self.state, name)
            amount = own.bid(self.state.balances[name], honest)
            if amount is not None and own.present(number, schedule):
                bids[name] = amount
        table.auction(bids)
        for name, version in self.state.round.pairs.items():
            effort = self.efforts[name]
            effort.turns += 1
            effort.free += bids[name] == 0
            effort.received.add(version)
        due, balances = table.rules.deposits(self.state), self.state.balances
        able = {name for name, amount in due.items() if amount <= balances[name]}
        table.deposit({name: due[name] for name in sorted(able) if self._behaviour(name).deposits})

    def _train(self) -> dict[str, Handed]:
        """What is revealed, in the order of the commitments: those who look at others' work come last."""
        now, schedule = self.state.round, self.state.schedule
        braid = self._table.topology is Topology.BRAID
        handed: dict[str, Handed] = {}
        for name in sorted(now.pairs, key=lambda name: (name in self._cast.behaviours, name)):
            if not trains(self.state, name):
                continue
            one = self._behaviour(name).handed(now.number, schedule, braid)
            self.efforts[name].legs += one.work
            if not ((one.work or one.alike) and self._seat(name).failed[now.number - 1]):
                handed[name] = one
        shown = tuple(name for name in handed if self._behaviour(name).reveals)
        self._table.hand_in({name: self._submission(name) for name in handed}, shown)
        return {name: handed[name] for name in shown}

    def _submission(self, name: str) -> Submit:
        now = self.state.round
        parent = self.state.versions[now.pairs[name]].digest
        delta, child = digest("delta", now.number, name), digest("child", now.number, name)
        return Submit(name, now.number, delta, self.state.schedule.codec, 1_000, SALT, parent, child)

    def _measured(self, handed: Mapping[str, Handed]) -> Score:
        """What every validator that measures finds."""
        now, topology = self.state.round, self._table.topology
        trainers, place = sorted(handed), now.number - 1
        share = share_of(self.state.schedule, len(now.pairs))
        tree, braid = topology is Topology.TREE, topology is Topology.BRAID
        before, after, along = dict[str, float](), dict[str, float](), dict[str, float]()
        for name in trainers:
            one, seat = handed[name], self._seat(name)
            before[name] = self.loss(now.pairs[name])
            along[name] = one.slope[0] + one.slope[1] * float(seat.slope[place])
            rise = along[name] * share if braid else one.rise[0] + one.rise[1] * float(seat.rise[place])
            after[name] = before[name] * (1 + rise)
            if tree:
                after[name] = self._world.loss(self._raced(name, now.pairs[name], place, one))
        parents = {str(now.pairs[name]): _micro(before[name]) for name in trainers}
        felt = () if tree else trainers
        return Score(
            "",
            now.number,
            SALT,
            tuple(sorted(parents.items())),
            tuple((name, _micro(after[name])) for name in trainers),
            tuple((name, _micro(before[name] * along[name])) for name in felt),
            tuple((name, _micro(before[name] * handed[name].luck)) for name in felt),
            tuple((name, _micro(handed[name].echo)) for name in trainers) if braid else (),
        )

    def _valued(self, handed: Mapping[str, Handed]) -> Value:
        """What every validator that measures finds the accepted to be worth."""
        head, number = self.state.head.number, self.state.round.number
        places, accepted = len(self.state.round.pairs), sorted(self._table.rules.accepted(self.state))
        laps = self.models[head].laps
        lap = (self._world.loss(laps) - self._world.loss(laps + 1)) / places
        own = {name: self._worth(name, handed[name]) for name in accepted}
        part = {name: self._part(name, own, handed) for name in accepted}

        def stated(figure: Callable[[str], float]) -> Pairs:
            return tuple((name, _micro(part[name] * figure(name))) for name in accepted)

        # The less there is to gain, the more of it is noise: in later laps, and in smaller values.
        first = (self._world.loss(0) - self._world.loss(1)) / places
        noise = {name: self._world.stderr * math.sqrt(abs(own[name]) * lap * first) for name in accepted}
        values = stated(lambda name: lap * own[name])
        stderr, chance = stated(noise.__getitem__), stated(lambda name: CHANCE * noise[name])
        loss = _micro(self.loss(head) - lap * sum(own.values()))
        composed = digest("braid", number, "")
        return Value("", number, SALT, composed, loss, values, stderr, chance, values, stderr)

    def _worth(self, name: str, handed: Handed) -> float:
        """Of one leg, in mean legs."""
        seat = self._seat(name)
        drawn = float(seat.value[self.state.round.number - 1])
        return handed.value * seat.quality * (1 if handed.steady else 1 + self._world.fluctuation * drawn)

    def _part(self, name: str, own: Mapping[str, float], handed: Mapping[str, Handed]) -> float:
        """What part of its value it is paid, where siblings do the same (`valuation/sharing.py`)."""
        seats, mine, taken = self._cast.seats, own[name], 1.0
        for twin in own:
            if twin != name and mine > 0 and seats[twin] == seats[name]:
                alike = max(handed[twin].alike, handed[name].alike)
                taken += DEARER * alike * min(1.0, max(0.0, own[twin]) / mine)
        return 1 / taken

    def _reports(self, measured: R) -> tuple[dict[str, R], tuple[str, ...]]:
        """What every maintainer pledges to, and who shows it."""
        pledged: dict[str, R] = {}
        for name in self._table.rules.maintainers(self.state):
            own, true = self._behaviour(name), dataclasses.replace(measured, author=name)
            stated: Any = true if own.report is None else own.report(true, self._bias)
            if stated is not None:
                pledged[name] = stated
                self.efforts[name].scored += own.measures and isinstance(measured, Score)
        return pledged, tuple(name for name in pledged if self._behaviour(name).shows)

    def _grow(self, before: State, handed: Mapping[str, Handed]) -> None:
        """What the versions of a settled round are."""
        now, tree = before.round, self._table.rules.topology(before) is Topology.TREE
        for version in self.state.versions[len(before.versions) :]:
            parent, done = self.models[version.parent], 0.0
            harm = parent.harm
            for name in version.owners:
                one = handed[name]
                harm = harm + one.rise[0] if one.rise[0] > 0 else harm * (REPAIRED if one.progress else 1)
                done += one.progress
                self.efforts[name].progress += one.progress
            laps = parent.laps + done / len(self._luck.seats)
            if tree:
                (name,), harm = version.owners, 0.0
                laps = self._raced(name, version.parent, now.number - 1, handed[name])
            self.models[version.number] = Model(laps, harm)

    def _raced(self, name: str, parent: int, place: int, handed: Handed) -> float:
        """Laps behind a model that was trained from another, in the paper's world: a gain of N(1, 1)."""
        gain = 1 + float(self._seat(name).gain[place])
        return self.models[parent].laps + handed.progress * gain / CURVE

    def _behaviour(self, name: str) -> Behaviour:
        return self._cast.behaviours.get(name, HONEST)

    def _seat(self, name: str) -> Seat:
        return self._luck.seats[self._cast.seats[name]]


def _micro(figure: float) -> int:
    return round(NAT * figure)
