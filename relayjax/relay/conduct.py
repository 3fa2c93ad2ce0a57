"""How everybody in a local relay behaves: honestly, but for the deviants of an experiment.

The round asks one object what each member bids, deposits, hands in, reveals and reports.
P: numbers handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from blake3 import blake3

from relayjax.config import SHARED, VALIDATORS, Experiment
from relayjax.learning.task import Batch, Task
from relayjax.misreports import Bias, Report
from relayjax.relay.deviations import CATALOGUE, Deviation
from relayjax.relay.turn import Handed, Memory, Turn

HONEST = Deviation()


class Conduct:
    """Who behaves how.

    Attributes:
      remembers: whether accepted deltas have to be told to `remember`.
    """

    def __init__(
        self, experiment: Experiment, participants: Sequence[str], validators: Sequence[str], seed: int
    ):
        """Takes the deviants of an experiment.

        Args:
          experiment: who deviates, and how.
          participants, validators: names, by number.
          seed: of the deviants' random numbers.
        """
        self._experiment, self._seed = experiment, seed
        self._deviation = CATALOGUE[experiment.deviation]
        names = validators if experiment.deviation in VALIDATORS else participants
        deviants = [names[number] for number in experiment.deviants]
        self._deviants = frozenset(deviants[1:] if experiment.deviation in SHARED else deviants)
        self._places = deviants if experiment.deviation in SHARED else None
        self._favoured = frozenset({participants[experiment.favoured]})
        self._memory = Memory()
        self._round, self._siblings = 0, dict[str, np.ndarray]()
        self.remembers = self._deviation.remembers

    def shards(self, task: Task) -> tuple[Batch, ...]:
        """What each participant trains on."""
        data = self._deviation.data
        return task.shards if data is None else data(task, self._experiment.deviants)

    def bid(self, round: int, name: str, balance: int, honest: int | None) -> int | None:
        """What a member offers, micro-coins, in place of the honest bid; None: it does not bid."""
        return self._of(round, name).bid(balance, honest)

    def deposits(self, round: int, name: str) -> bool:
        """Whether a matched member pays its deposit."""
        return self._of(round, name).deposits

    def order(self, names: Iterable[str]) -> list[str]:
        """In what order members train and commit: deviants last, since some look at what others did."""
        return sorted(names, key=lambda name: name in self._deviants)

    def hand_in(
        self, round: int, name: str, braid: bool, parent: np.ndarray, train: Callable[[np.ndarray], Handed]
    ) -> Handed:
        """What a member makes of its turn.

        Args:
          round: the round.
          name: whose turn it is.
          braid: whether all train from one head in it.
          parent: weights received, float32 [P].
          train: some weights, float32 [P] → what honest training on the member's shard makes of them.

        Returns:
          Weights, float32 [P], and the mean training loss in nats.
        """
        deviation = self._of(round, name)
        if round != self._round:
            self._round, self._siblings = round, {}
        if deviation is HONEST:
            trained, loss = train(parent)
            if self._deviation.looks and (self._places is None or name in self._places):
                self._siblings[name] = trained - parent
            return trained, loss
        strength, rng = self._experiment.strength, self._rng(round, name)
        turn = Turn(name, braid, parent, train, self._siblings, self._memory, strength, rng)
        return deviation.hand_in(turn)

    def trains(self, round: int, name: str) -> bool:
        """Whether a member hands in what honest training makes of the version that it receives."""
        return self._of(round, name).hand_in is HONEST.hand_in

    def reveals(self, round: int, name: str) -> bool:
        """Whether a member shows what it committed to."""
        return self._of(round, name).reveals

    def report(self, measured: Report) -> Report | None:
        """What a validator, the author of an honest report, states in its place; None: it stays silent."""
        misreport = self._of(measured.round, measured.author).report
        if misreport is None:
            return measured
        rng = self._rng(measured.round, f"{measured.author} {measured.KIND}")
        return misreport(measured, Bias(self._favoured, self._experiment.strength, rng))

    def remember(self, name: str, head: np.ndarray, delta: np.ndarray) -> None:
        """Takes in that a member's delta from a head, float32 [P] each, became part of a version."""
        self._memory.keep(name, head, delta)

    def _of(self, round: int, name: str) -> Deviation:
        early = round <= self._experiment.after
        return self._deviation if name in self._deviants and early is self._deviation.early else HONEST

    def _rng(self, round: int, name: str) -> np.random.Generator:
        material = b"%d\0%s\0%d" % (self._seed, name.encode(), round)
        drawn = blake3(material, derive_key_context="relayjax 2026 deviant").digest(length=16)
        return np.random.default_rng(int.from_bytes(drawn, "big"))
