"""A run's relay trained again without some of its participants: the ground truth for what they were worth.

Followed is the recorded schedule: who trained in which round, with which batches and at which place of the
learning rate's course. Whoever is left out has its chain rounds skipped, and in a braid round one place less
is there to weigh. The trust region decides again, on the recorded draws: what helps one relay may harm
another. What was refused for another reason stays refused, and who was revoked in the course of a round, with
nothing handed in, hands nothing in. With everybody present the run's own head comes
out, to the last bit.

It takes every participant's data, so only an experiment on one machine can do it.

N: participants, P: parameters, C: numbers carried beside them, E: drawn examples, R: repetitions.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from relayjax import codec
from relayjax.archive import Archive
from relayjax.codec import NonFiniteError, feedback
from relayjax.config import Config
from relayjax.errors import ConfigError, WorkdirError
from relayjax.history import History, SettledRound
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.leg import Leg
from relayjax.learning.mesh import local_mesh
from relayjax.learning.placement import place, place_shards
from relayjax.learning.relay_momentum import RelayMomentum, pushed
from relayjax.learning.task import examples
from relayjax.mechanism.base import loss_rises, medians
from relayjax.mechanism.base import slopes as slopes_of
from relayjax.mechanism.rules import RelayJAXRules
from relayjax.mechanism.state import Role, Topology
from relayjax.merging import compose, merge_of, share_of
from relayjax.relay.conduct import Conduct
from relayjax.relay.testing import WORST, draws, step_of
from relayjax.relay.turn import Handed
from relayjax.rescore import rebuilt
from relayjax.valuation.chance import slopes
from relayjax.valuation.estimate import fixed_point
from relayjax.weights import digest

MOST = 16
"""Participants up to which a relay is retrained without each of them."""

# Folded into the run's key to draw other batches; no round has such a number.
_OTHER_BATCHES = 1 << 30


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a relay went.

    Attributes:
      head: where it ended, float32 [P + C].
      final: loss of the head on all validation examples, nats.
      mean: the same after every lap and braid round, averaged.
    """

    head: np.ndarray
    final: float
    mean: float


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """What the relay loses with each participant: loss without it less loss with everybody, nats.

    Attributes:
      participants: names, sorted.
      final: by the loss at the end, float64 [R, N].
      mean: by the mean loss over the relay, float64 [R, N].
      reproduced: whether the relay with everybody ended with the run's own head.
    """

    participants: tuple[str, ...]
    final: np.ndarray
    mean: np.ndarray
    reproduced: bool

    @property
    def repeats(self) -> int:
        """R."""
        return len(self.final)


class Retraining:
    """A run that can be trained again.

    Attributes:
      participants: names, sorted.
    """

    def __init__(self, archive: Archive, past: History, config: Config | None = None):
        """Reads the task's data; trains nothing yet.

        Args:
          archive: of the run.
          past: its history.
          config: any that has the run's task; needed where that is not one of RelayJAX's own.

        Raises:
          ConfigError: the run's rules or number of participants do not allow it.
          WorkdirError: no round is settled yet.
          DataError: the task's data is missing or malformed.
          IntegrityError: the validation set is another.
        """
        state = past.state
        self.participants = state.named(Role.PARTICIPANT)
        if not isinstance(state.rules, RelayJAXRules):
            raise ConfigError("retraining follows the relayjax rules; this run has others")
        if not 2 <= len(self.participants) <= MOST:
            raise ConfigError(
                f"retraining without each of {len(self.participants)} participants: it is for 2 to {MOST}, "
                "since every one of them takes a whole relay"
            )
        if not past.rounds:
            raise WorkdirError(
                f"{archive.workdir.path}: no round is settled yet, so nothing can be retrained"
            )
        self._past, self._rules = past, state.rules
        self._config, task = rebuilt(past, config)
        settings = self._config.leg
        mesh = local_mesh(settings.batch_size // settings.accumulate, settings.sharding.model)
        if mesh is not None:
            for frozen in task.frozen:
                frozen.place(mesh, settings.sharding)
        self._leg = Leg(task, settings, mesh)
        own = dataclasses.replace(task, shards=self._conduct().shards(task))
        self._shards = dict(zip(self.participants, place_shards(own, mesh), strict=True))
        self._evaluator = Evaluator(task, self._leg.baton.params)
        self._validation = place(dict(task.validation))
        self._everything = np.arange(examples(task.validation), dtype=np.int32)
        self._draws = draws(past, len(self._everything))
        self._codec, self._merge = codec.get(state.schedule.codec), merge_of(state.schedule)
        self._genesis = archive.genesis(past)

    def legs(self, absent: Collection[str] = ()) -> int:
        """How many legs a relay without some participants has."""
        return sum(len(self._present(settled, absent)) for settled in self._past.rounds)

    def seconds_a_leg(self) -> float:
        """Plays the first two rounds to measure it, once compiled."""
        first = [settled for settled in self._past.rounds if settled.facts.pairs][:2]
        self._play(first, (), 0, lambda: None)
        begin = time.perf_counter()
        self._play(first, (), 0, lambda: None)
        return (time.perf_counter() - begin) / sum(len(settled.facts.pairs) for settled in first)

    def without(
        self, absent: Collection[str] = (), repeat: int = 0, turn: Callable[[], None] = lambda: None
    ) -> Outcome:
        """Plays the settled rounds without some participants.

        Args:
          absent: their names.
          repeat: 0 draws the batches of the run, any other number other ones.
          turn: is called after every leg.
        """
        return self._play(self._past.rounds, absent, repeat, turn)

    def leave_one_out(self, repeats: int = 1, turn: Callable[[], None] = lambda: None) -> LeaveOneOut:
        """Plays the relay with everybody, and without each participant.

        Args:
          repeats: R, how often, each time with other batches; a single one is noisy.
          turn: is called after every leg.
        """
        if repeats < 1:
            raise ConfigError(f"repeats={repeats}: give 1 or more")
        final, mean = np.zeros((2, repeats, len(self.participants)))
        reproduced = False
        for repeat in range(repeats):
            full = self.without((), repeat, turn)
            reproduced |= repeat == 0 and digest(full.head) == self._past.state.head.digest
            for index, name in enumerate(self.participants):
                outcome = self.without((name,), repeat, turn)
                final[repeat, index] = outcome.final - full.final
                mean[repeat, index] = outcome.mean - full.mean
        return LeaveOneOut(self.participants, final, mean, reproduced)

    def _play(
        self,
        rounds: Collection[SettledRound],
        absent: Collection[str],
        repeat: int,
        turn: Callable[[], None],
    ) -> Outcome:
        key = jax.random.key(self._config.seed)
        if repeat:
            key = jax.random.fold_in(key, _OTHER_BATCHES + repeat)
        momentum = RelayMomentum(self._config.leg.relay_momentum, self._leg.baton.params.size)
        head, losses, conduct = self._genesis, [], self._conduct()
        residuals: dict[str, np.ndarray | None] = {}
        for settled in rounds:
            present = self._present(settled, absent)
            if present:
                head = self._round(settled, present, head, momentum, residuals, conduct, key, turn)
            if self._ends_lap(settled):
                losses.append(self._mean_loss(head))
        final = self._mean_loss(head)
        return Outcome(head, final, math.fsum(losses or [final]) / max(1, len(losses)))

    def _round(
        self,
        settled: SettledRound,
        present: list[str],
        head: np.ndarray,
        momentum: RelayMomentum,
        residuals: dict[str, np.ndarray | None],
        conduct: Conduct,
        key: jax.Array,
        turn: Callable[[], None],
    ) -> np.ndarray:
        """Plays one round from a head, float32 [P + C]; returns the next one."""
        schedule = self._past.state.schedule
        at = (schedule.legs_before(settled.number), schedule.legs)
        key = jax.random.fold_in(key, settled.number)
        encoded: dict[str, feedback.Encoded] = {}
        braid = settled.topology is Topology.BRAID
        for name in conduct.order(present):
            own_key = jax.random.fold_in(key, self.participants.index(name))

            def train(theta: np.ndarray, name: str = name, own_key: jax.Array = own_key) -> Handed:
                delta, loss = self._leg(theta, self._shards[name], own_key, *at)
                return pushed(theta + np.asarray(delta), momentum.push(name, theta, at[0])), float(loss)

            honest = conduct.deposits(settled.number, name) and conduct.reveals(settled.number, name)
            shut_out = name in settled.revoked and name not in settled.facts.submissions
            if honest and not shut_out:
                trained, _ = conduct.hand_in(settled.number, name, braid, head, train)
                with suppress(NonFiniteError):  # who diverges has nothing to hand on, here as in the run
                    encoded[name] = feedback.encode(self._codec, head, trained, residuals.get(name))
            turn()
        payloads = {name: leg.payload for name, leg in encoded.items()}
        following, accepted = self._accepted(settled, payloads, len(present), head)
        if conduct.remembers:
            for name in accepted:
                conduct.remember(name, head, self._codec.decode(payloads[name], head))
        residuals |= {name: encoded[name].residual for name in accepted}
        for name in present:
            momentum.remember(name, following, at[0])
        return following

    def _accepted(
        self, settled: SettledRound, payloads: dict[str, bytes], places: int, head: np.ndarray
    ) -> tuple[np.ndarray, list[str]]:
        """The next head, float32 [P + C], and whose work is in it: the old one, if nobody's."""
        # All of them, where the run's own round came to no test.
        drawn = jnp.asarray(self._draws.get(settled.number, self._everything))
        deltas = {name: self._codec.decode(payload, head) for name, payload in payloads.items()}
        if settled.topology is Topology.CHAIN:
            steps = {name: self._codec.apply(payload, head) for name, payload in payloads.items()}
        else:
            share = share_of(self._past.state.schedule, places)
            steps = {name: step_of(head, delta, share) for name, delta in deltas.items()}
        before, along = self._loss(head, drawn), self._slopes(head, deltas, drawn)
        tolerance, trusted = self._tolerance(settled), self._rules.trusted
        rises = {name: self._loss(step, drawn) - before for name, step in steps.items()}
        out = self._refused_otherwise(settled)
        passed = sorted(n for n in rises if trusted(rises[n], along[n], before, tolerance) and n not in out)
        if not passed:
            return head, []
        if settled.topology is Topology.CHAIN:
            return steps[passed[0]], passed[:1]
        weights, merged = self._merge([deltas[n] for n in passed], [rises[n] for n in passed], places)
        composed = compose(head, weights, merged)
        worse = self._loss(composed, drawn) - before > tolerance
        return (head, []) if worse else (composed, passed)

    def _conduct(self) -> Conduct:
        experiment, state = self._config.experiment, self._past.state
        return Conduct(experiment, self.participants, state.named(Role.MAINTAINER), self._config.seed)

    def _tolerance(self, settled: SettledRound) -> int:
        return self._rules.tolerance_in(settled.number, self._past.state.schedule.rounds)

    def _refused_otherwise(self, settled: SettledRound) -> set[str]:
        """Whom the run refused in a round though it was within the trust region: as a copy, say."""
        facts = settled.facts
        rises, along = loss_rises(facts), slopes_of(facts)
        tolerance, trusted = self._tolerance(settled), self._rules.trusted
        before = medians(score.parents for score in facts.scores.values())
        return {
            name
            for name in settled.settle.refused
            if name in rises and trusted(rises[name], along[name], before[str(facts.pairs[name])], tolerance)
        }

    def _present(self, settled: SettledRound, absent: Collection[str]) -> list[str]:
        return [name for name in settled.facts.pairs if name not in absent]

    def _ends_lap(self, settled: SettledRound) -> bool:
        """Whether a round is a braid, or as many legs as there are participants have passed."""
        before, count = self._past.state.schedule.legs_before, len(self.participants)
        laps = before(settled.number + 1) // count > before(settled.number) // count
        return settled.topology is Topology.BRAID or laps

    def _slopes(self, head: np.ndarray, deltas: dict[str, np.ndarray], drawn: jax.Array) -> dict[str, int]:
        """What each delta adds to the loss to first order, as validators state it, micro-nats."""
        if not deltas:
            return {}
        size, losses = self._evaluator.size, self._evaluator.losses_on(self._validation, drawn)
        found = slopes(losses, head[:size], np.stack([delta[:size] for delta in deltas.values()]))
        return dict(zip(deltas, fixed_point(np.nan_to_num(found.rises)), strict=True))

    def _loss(self, theta: np.ndarray, drawn: jax.Array) -> int:
        """As a validator states it, micro-nats."""
        loss = self._evaluator.mean_loss(theta, self._validation, drawn)
        return min(fixed_point([loss])[0], WORST) if math.isfinite(loss) else WORST

    def _mean_loss(self, theta: np.ndarray) -> float:
        return self._evaluator.mean_loss(theta, self._validation, self._everything)
