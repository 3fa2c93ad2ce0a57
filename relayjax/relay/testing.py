"""The validator's side of a round: score candidates on the drawn examples, value a braid's participants.

What is measured leaves here as integers. P: parameters, E: drawn examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from blake3 import blake3

from relayjax.errors import ConfigError
from relayjax.history import History
from relayjax.learning.evaluate import Array, Evaluator
from relayjax.learning.task import Batch
from relayjax.mechanism.rules import Schedule
from relayjax.mechanism.state import Round, Topology
from relayjax.merging import share_of
from relayjax.records import Pairs, Score, Value
from relayjax.valuation.chance import slopes
from relayjax.valuation.estimate import fixed_point
from relayjax.valuation.games import Composition, FirstSeats
from relayjax.valuation.novelty import Novelties
from relayjax.valuation.shapley import shapley
from relayjax.valuation.sharing import shared_values
from relayjax.weights import digest

WORST = 10**15
"""Micro-nats that stand for a loss that is not finite."""


class Rotation:
    """Which validation examples each test of a relay uses: by lot among those used least so far.

    So no example is used twice before all were used once, and what the published scores tell of any one of
    them stays bounded by `Schedule.reuse`.
    """

    def __init__(self, count: int):
        """Nothing is used yet.

        Args:
          count: how many validation examples there are.
        """
        self._uses = np.zeros(count, np.int64)

    def draw(self, seed: str, examples: int) -> np.ndarray:
        """The next test: those used least, of them those with the smallest BLAKE3 output, 64 bits each.

        Args:
          seed: of the draw, hexadecimal.
          examples: how many to select; all of them when there are fewer.

        Returns:
          Ascending indices, int32 [min(count, examples)].
        """
        stream = blake3(bytes.fromhex(seed), derive_key_context="relayjax 2026 test draw v1").digest(
            length=8 * len(self._uses)
        )
        order = np.lexsort((np.frombuffer(stream, dtype="<u8"), self._uses))
        drawn = np.sort(order[:examples]).astype(np.int32)
        self._uses[drawn] += 1
        return drawn


def draws(history: History, count: int) -> dict[int, np.ndarray]:
    """What the tests of a relay drew, by round.

    Args:
      history: of the relay.
      count: how many validation examples there are.

    Returns:
      Ascending indices, int32 [E] each; rounds without a test are left out.
    """
    rotation, tested = Rotation(count), history.state.schedule.tested
    return {
        settled.number: rotation.draw(settled.facts.seed, tested(settled.number))
        for settled in history.rounds
        if settled.facts.seed
    }


def check_reuse(schedule: Schedule, count: int) -> None:
    """Refuses a relay that would test on the same few examples too often.

    Args:
      schedule: of the relay.
      count: how many validation examples there are.

    Raises:
      ConfigError: an example would take part in more tests than `reuse` allows.
    """
    drawn = sum(min(count, schedule.tested(number)) for number in range(1, schedule.rounds + 1))
    if drawn > schedule.reuse * count:
        raise ConfigError(
            f"{schedule.rounds} rounds would test on each of the {count} validation examples "
            f"{-(-drawn // count)} times, relay.reuse={schedule.reuse} allows fewer: hold out more, draw "
            "fewer (relay.draw), or raise it and trust the scores less"
        )


def validation_digest(validation: Batch) -> str:
    """Binds validators to their hidden examples: BLAKE3 over names, types, shapes and bytes."""
    hasher = blake3(derive_key_context="relayjax 2026 validation set v1")
    for name in sorted(validation):
        array = np.ascontiguousarray(validation[name])
        hasher.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        hasher.update(array.reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def step_of(parent: np.ndarray, delta: np.ndarray, share: float) -> np.ndarray:
    """What one of several deltas does to its parent as part of a composition.

    A whole delta may overshoot where the data is skewed; so small a step does not, unless it points away from
    what the relay learns.

    Args:
      parent: float32 [P].
      delta: float32 [P].
      share: what it weighs in a composition.

    Returns:
      float32 [P].
    """
    return parent + np.float32(share) * delta


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a round's trainers hand in, as validators have it.

    Attributes:
      round: the round.
      topology: of the round.
      share: what a delta weighs in a composition.
      parents: trainer → number of the version it trained from.
      bases: trainer → weights of that version, float32 [P].
      children: trainer → weights that it made of them, float32 [P].
      deltas: trainer → what it added, float32 [P], in the order of their commitments.
    """

    round: int
    topology: Topology
    share: float
    parents: Mapping[str, int]
    bases: Mapping[str, np.ndarray]
    children: Mapping[str, np.ndarray]
    deltas: Mapping[str, np.ndarray]

    @classmethod
    def of(
        cls,
        facts: Round,
        topology: Topology,
        heads: Mapping[int, np.ndarray],
        handed: Mapping[str, tuple[np.ndarray, np.ndarray]],
        schedule: Schedule,
    ) -> Candidates:
        """Puts together what a round's test needs.

        Args:
          facts: of the round.
          topology: of the round.
          heads: weights by version number, float32 [P].
          handed: trainer → child and delta, float32 [P] each.
          schedule: of the relay.
        """
        committed = [name for name in facts.commitments if name in handed]
        return cls(
            facts.number,
            topology,
            share_of(schedule, len(facts.pairs)),
            {name: facts.pairs[name] for name in committed},
            {name: heads[facts.pairs[name]] for name in committed},
            {name: handed[name][0] for name in committed},
            {name: handed[name][1] for name in committed},
        )

    def steps(self) -> dict[str, np.ndarray]:
        """What each delta, as it is composed, makes of its parent, float32 [P]."""
        return {name: step_of(self.bases[name], delta, self.share) for name, delta in self.deltas.items()}


@dataclass(frozen=True)
class Validator:
    """What every validator runs.

    Attributes:
      evaluator: the compiled losses.
      validation: the hidden examples, on the device.
      count: how many there are.
      nodes: of the Aumann–Shapley quadrature.
      budget: coalitions evaluated for Shapley where it is not exact.
    """

    evaluator: Evaluator
    validation: Batch
    count: int
    nodes: int
    budget: int

    def score(self, candidates: Candidates, drawn: Array, known: Novelties) -> Score:
        """Measures every parent and candidate of a round; whose report it becomes is for others to fill in.

        Args:
          candidates: of the round.
          drawn: indices of the drawn examples, int32 [E].
          known: the deltas accepted before.
        """
        parents = {candidates.parents[t]: base for t, base in candidates.bases.items()}
        braid, along = candidates.topology is Topology.BRAID, self._slopes(candidates, drawn)
        return Score(
            "",
            candidates.round,
            salt="",
            parents=tuple(sorted((str(n), self._loss(theta, drawn)) for n, theta in parents.items())),
            children=self._losses(candidates.steps() if braid else candidates.children, drawn),
            slopes=along[0],
            chance=along[1],
            echoes=self._echoes(known, candidates.deltas) if braid else (),
        )

    def _slopes(self, candidates: Candidates, drawn: Array) -> tuple[Pairs, Pairs]:
        """Slopes along the deltas, and what chance would make of them; neither where parents differ."""
        trainers = sorted(candidates.deltas)
        if candidates.topology is Topology.TREE or not trainers:
            return (), ()
        moves = np.stack([self._parameters(candidates.deltas[trainer]) for trainer in trainers])
        base = self._parameters(candidates.bases[trainers[0]])
        found = slopes(self.evaluator.losses_on(self.validation, drawn), base, moves)
        return _pairs(trainers, _bounded(found.rises)), _pairs(trainers, _bounded(found.chance))

    def _echoes(self, known: Novelties, deltas: Mapping[str, np.ndarray]) -> Pairs:
        """How much each candidate resembles earlier work, given their deltas in the order of commitments."""
        found = known.compare([self._parameters(delta) for delta in deltas.values()])
        return tuple(sorted((t, round(1e6 * one.echo)) for t, one in zip(deltas, found, strict=True)))

    def _losses(self, thetas: Mapping[str, np.ndarray], drawn: Array) -> Pairs:
        return tuple(sorted((trainer, self._loss(theta, drawn)) for trainer, theta in thetas.items()))

    def value(
        self,
        round: int,
        drawn: Array,
        base: np.ndarray,
        deltas: Mapping[str, np.ndarray],
        weights: np.ndarray,
        composed: np.ndarray,
        known: Novelties,
        places: int,
    ) -> Value:
        """Values the accepted participants of a braid round; whose report it becomes is left open, too.

        Args:
          round: the round.
          drawn: indices of the drawn examples, int32 [E].
          base: weights of the common parent, float32 [P].
          deltas: of each accepted trainer as it goes into the composition, float32 [P].
          weights: of each, in the order of the trainers' names, float32 [K].
          composed: weights of the composition, float32 [P].
          known: the deltas accepted before; only what a delta adds to them is paid, and siblings that are
            alike share it (`valuation/sharing.py`).
          places: how many it has room for (`places`). Who was refused or stayed away is valued as zeros, so
            that nothing compiles anew.
        """
        trainers = sorted(deltas)
        moves = [self._parameters(deltas[trainer]) for trainer in trainers]
        losses, start = self.evaluator.losses_on(self.validation, drawn), jnp.asarray(self._parameters(base))
        novel = [known.compare([move])[0].novel for move in moves]
        placed, weighed = (jnp.asarray(_filled(rows, places)) for rows in (moves, weights))
        game = Composition(losses, start, placed, weighed, threads=self.evaluator.threads)
        paid = shared_values(game, _filled(novel, places), nodes=self.nodes)
        key = jax.random.fold_in(jax.random.key(0), round)
        fair = shapley(FirstSeats(game, len(trainers)), key, budget=self.budget)
        return Value(
            "",
            round,
            salt="",
            composed=digest(composed),
            loss=self._loss(composed, drawn),
            values=_pairs(trainers, paid.values[: len(trainers)]),
            stderr=_pairs(trainers, paid.stderr[: len(trainers)]),
            chance=_pairs(trainers, paid.chance[: len(trainers)]),
            shapley=_pairs(trainers, fair.values),
            shapley_stderr=_pairs(trainers, fair.stderr),
        )

    def _parameters(self, baton: np.ndarray) -> np.ndarray:
        """What is valued: not what a baton carries behind its parameters."""
        return baton[: self.evaluator.size]

    def _loss(self, theta: np.ndarray, drawn: Array) -> int:
        loss = self.evaluator.mean_loss(theta, self.validation, drawn)
        return min(fixed_point([loss])[0], WORST) if math.isfinite(loss) else WORST


def places(schedule: Schedule, facts: Round) -> int:
    """How many a braid round's valuation has room for: all of the relay, whoever was matched."""
    return max(schedule.participants, len(facts.pairs))


def _filled(rows: Sequence[np.ndarray] | np.ndarray, places: int) -> np.ndarray:
    """Rows of float32, and zeros behind them up to so many."""
    filled = np.zeros((places, *np.shape(rows[0])), np.float32)
    filled[: len(rows)] = rows
    return filled


def _bounded(figures: np.ndarray) -> np.ndarray:
    """What is not finite is the worst."""
    return np.nan_to_num(figures, nan=WORST * 1e-6, posinf=WORST * 1e-6, neginf=WORST * 1e-6)


def _pairs(trainers: list[str], values: np.ndarray) -> Pairs:
    bounded = (max(-WORST, min(value, WORST)) for value in fixed_point(values))
    return tuple(zip(trainers, bounded, strict=True))
