"""What the work of a run's braid rounds is worth, measured after the fact by a method of choice.

The ledger states the values that pay. This measures any other: by another estimator, on all validation
examples instead of the drawn ones, in another metric. It reads what is settled, so a run may go on meanwhile.

N: participants, E: examples, P: parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from relayjax import codec
from relayjax.archive import Archive
from relayjax.config import Config
from relayjax.errors import ConfigError, DataError, WorkdirError
from relayjax.history import History, SettledRound
from relayjax.identity import Keys
from relayjax.learning.evaluate import Evaluator, threads_of
from relayjax.learning.layout import Layout
from relayjax.learning.placement import place
from relayjax.learning.task import Batch, Task, examples
from relayjax.lineage import Siblings, siblings, walk
from relayjax.measured import NATS, Leg, legs
from relayjax.mechanism.state import Role, Topology
from relayjax.merging import merge_of
from relayjax.records import Submit
from relayjax.relay.testing import draws
from relayjax.rescore import rebuilt
from relayjax.summary import COINS, account
from relayjax.valuation import Composition, Estimate, Memo, refine
from relayjax.valuation.estimators import ESTIMATORS
from relayjax.valuation.games import Losses

AUMANN_SHAPLEY, LOSS = "aumann-shapley", "loss"

METHODS = tuple(ESTIMATORS)
"""What values can be measured by."""

EXAMPLES = ("drawn", "validation")
"""What they can be measured on: each round's own draw, or all validation examples."""

Progress = Callable[[int, int, float], None]
"""(braid rounds done, how many there are, largest standard error of the present one)."""


@dataclass(frozen=True)
class Measure:
    """How values are to be measured.

    Attributes:
      method: one of `METHODS`; by default Aumann–Shapley for the loss, `stratified` for anything else.
      budget: most coalitions to evaluate in a round; of Aumann–Shapley, directional derivatives.
      target_stderr: stop at this standard error, in units of the metric; None spends the whole budget.
      examples: one of `EXAMPLES`.
      metric: `loss`, or one of the task's metrics, of which more is better.
    """

    method: str | None = None
    budget: int = 1024
    target_stderr: float | None = None
    examples: str = EXAMPLES[0]
    metric: str = LOSS

    def __post_init__(self) -> None:
        if self.examples not in EXAMPLES:
            raise ConfigError(f"examples={self.examples}: choose one of {', '.join(EXAMPLES)}")
        if self.method is not None and self.method not in METHODS:
            raise ConfigError(f"method={self.method}: choose one of {', '.join(METHODS)}")
        if self.method == AUMANN_SHAPLEY and self.metric != LOSS:
            raise ConfigError(
                f"method={self.method} follows the gradient, which {self.metric} need not have; "
                "choose another method, such as stratified"
            )
        if self.target_stderr is not None and not self.target_stderr > 0:
            raise ConfigError(f"target_stderr={self.target_stderr}: give a positive number")

    @property
    def chosen(self) -> str:
        """The method, with the default filled in."""
        return self.method or (AUMANN_SHAPLEY if self.metric == LOSS else "stratified")


@dataclass(frozen=True, eq=False)
class ValuedRound:
    """One braid round.

    Attributes:
      number: of the round.
      trainers: whose work was accepted, sorted.
      estimate: their values, in that order.
      together: what all of them together are worth, v(N).
      examples: which ones it was measured on, int32 [E].
    """

    number: int
    trainers: tuple[str, ...]
    estimate: Estimate
    together: float
    examples: np.ndarray


@dataclass(frozen=True, eq=False)
class Appraisal:
    """All braid rounds of a run, beside what was paid.

    Attributes:
      measure: how values were measured.
      participants: names, sorted; the order of all arrays.
      rounds: the braid rounds in order.
      legs: every leg of the run, as the ledger scored it.
      paid: coins by reason, `value`, `royalty` and `remainder`, float64 [N] each.
    """

    measure: Measure
    participants: tuple[str, ...]
    rounds: tuple[ValuedRound, ...]
    legs: tuple[Leg, ...]
    paid: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def values(self) -> np.ndarray:
        """Summed over the rounds, float64 [N]; 0 for who was never valued."""
        return sum((self.of_round(r, r.estimate.values) for r in self.rounds), np.zeros(self._count))

    @property
    def stderr(self) -> np.ndarray:
        """Standard error of `values`, float64 [N].

            s_i² = Σ_e [ Σ_r (φ_{i,e,r} − φ_{i,r}) / √(E_r (E_r − 1)) ]²  +  what sampled coalitions add

        with φ_{i,e,r} an example's own value in round r; the difference is 0 where it was not drawn. Rounds
        draw from one set of examples, and one that favours a participant does so in every round: to add the
        rounds' variances as if they were independent would leave out what they have in common.
        """
        count = 1 + max(int(valued.examples.max()) for valued in self.rounds)
        influence, sampling = np.zeros((self._count, count)), np.zeros(self._count)
        for valued in self.rounds:
            own = valued.estimate.per_example
            if own is None:
                raise DataError(
                    f"{valued.estimate.method} gives no values of single examples; choose another"
                )
            size = own.shape[1]
            centred = (own - own.mean(axis=1, keepdims=True)) / math.sqrt(size * (size - 1))
            for name, row in zip(valued.trainers, centred, strict=True):
                influence[self.participants.index(name), valued.examples] += row
            sampling += self.of_round(valued, valued.estimate.sampling_stderr) ** 2
        return np.sqrt((influence**2).sum(axis=1) + sampling)

    @property
    def together(self) -> float:
        """What the rounds' compositions are worth."""
        return math.fsum(valued.together for valued in self.rounds)

    @property
    def path(self) -> np.ndarray:
        """Loss reduction by each participant's accepted chain legs, float64 [N], nats.

        Between two braid rounds it adds up to what the head's loss fell by. Legs of a braid round lie side by
        side: no path leads over them.
        """
        sums = dict.fromkeys(self.participants, 0)
        for leg in self.legs:
            if leg.topology is Topology.CHAIN and leg.accepted and leg.change is not None:
                sums[leg.trainer] -= leg.change
        return np.array([sums[name] * NATS for name in self.participants])

    @property
    def coins(self) -> np.ndarray:
        """What was paid for values, as royalty and out of the remainder, float64 [N]."""
        return sum(self.paid.values(), np.zeros(self._count))

    def of_round(self, valued: ValuedRound, figures: np.ndarray, absent: float = 0.0) -> np.ndarray:
        """A round's figures in the order of all participants, float64 [N]."""
        of = dict(zip(valued.trainers, figures.tolist(), strict=True))
        return np.array([of.get(name, absent) for name in self.participants])

    @property
    def _count(self) -> int:
        return len(self.participants)


def appraise(
    archive: Archive,
    past: History,
    keys: Keys,
    measure: Measure,
    config: Config | None = None,
    progress: Progress = lambda done, rounds, stderr: None,
) -> Appraisal:
    """Values the accepted work of every settled braid round.

    Args:
      archive: of the run.
      past: its history.
      keys: that open every delta: a maintainer's.
      measure: how.
      config: any that has the run's task; needed where that is not one of RelayJAX's own.
      progress: is told of every estimate, and of every round that is done.

    Raises:
      WorkdirError: no braid round has been valued yet.
      ConfigError: there is no such metric, or the budget or the number of participants does not suit.
      AccessError: the keys do not open a delta.
      IntegrityError: the artefacts are not those that the ledger names, or the validation set is another.
    """
    count = sum(bool(settled.facts.values) for settled in past.rounds)
    if not count:
        raise WorkdirError(_nothing_yet(archive, past))
    _, task = rebuilt(past, config)
    layout = Layout.of(jax.eval_shape(task.init, jax.random.key(0)))
    losses_on, data = _losses_on(task, layout, measure.metric), place(dict(task.validation))
    size, everything = layout.size, np.arange(examples(task.validation), dtype=np.int32)
    drawn_in = draws(past, len(everything))
    found: list[ValuedRound] = []
    progress(0, count, math.nan)
    for settled, braid in _braids(archive, past, keys):
        drawn = drawn_in[settled.number] if measure.examples == "drawn" else everything
        game = Composition(
            losses_on(data, jnp.asarray(drawn)),
            jnp.asarray(braid.parent[:size]),  # not what a baton carries behind its parameters
            jnp.asarray(np.stack([delta[:size] for delta in braid.deltas])),
            jnp.asarray(braid.weights),
            threads=threads_of(task),
        )

        def told(estimate: Estimate) -> None:
            progress(len(found), count, float(estimate.stderr.max()))

        estimate = _estimate(game, measure, settled.number, told)
        everybody = np.ones((1, game.participants), bool)
        together = float(game.utility(everybody)[0])
        found.append(ValuedRound(settled.number, braid.trainers, estimate, together, drawn))
        told(estimate)
    names = past.state.named(Role.PARTICIPANT)
    income = [account(past, name).income for name in names]
    paid = {
        reason: np.array([of_one.get(reason, 0) * COINS for of_one in income])
        for reason in ("value", "royalty", "remainder")
    }
    return Appraisal(measure, names, tuple(found), legs(past), paid)


def _braids(archive: Archive, past: History, keys: Keys) -> Iterator[tuple[SettledRound, Siblings]]:
    """Every braid round that was valued, with what it accepted."""
    schedule, starts = past.state.schedule, dict[int, list[SettledRound]]()
    for settled in past.rounds:
        if settled.facts.values:
            starts.setdefault(settled.facts.pairs[settled.settle.accepted[0]], []).append(settled)
    delta_codec, merge = codec.get(schedule.codec), merge_of(schedule)

    def fetch(submission: Submit) -> bytes:
        return archive.open_delta(past.state, submission, keys)

    for version, theta in walk(past, archive.genesis(past), fetch, delta_codec):
        for settled in starts.pop(version.number, []):
            yield settled, siblings(settled, theta, fetch, delta_codec, merge)
        if not starts:
            return


def _estimate(game: Composition, measure: Measure, round: int, told: Callable[[Estimate], None]) -> Estimate:
    # These two do not sample: part of the budget would give no values, or worse ones.
    samples = measure.chosen not in ("exact", AUMANN_SHAPLEY)
    return refine(
        ESTIMATORS[measure.chosen],
        Memo(game),
        jax.random.fold_in(jax.random.key(0), round),
        budget=measure.budget,
        target_stderr=measure.target_stderr if samples else None,
        progress=told,
    )


def _losses_on(task: Task, layout: Layout, metric: str) -> Callable[[Batch, jax.Array], Losses]:
    """(data, indices) → what is to be lowered, per example, as a function of the parameters."""
    if metric == LOSS:
        return Evaluator(task, layout).losses_on
    params = jax.eval_shape(task.init, jax.random.key(0))
    one = {name: array[:1] for name, array in task.validation.items()}
    if metric not in (known := jax.eval_shape(task.metrics, params, one)):
        raise ConfigError(
            f"metric={metric}: task {task.name} has no such metric; choose one of "
            f"{', '.join(dict.fromkeys([LOSS, *known]))}"
        )

    @jax.jit
    def falls(data: Batch, indices: jax.Array, theta: jax.Array) -> jax.Array:
        chosen = jax.tree.map(lambda array: array[indices], data)
        return -task.metrics(layout.unflatten(theta), chosen)[metric]

    return lambda data, indices: Partial(falls, data, indices)


def _nothing_yet(archive: Archive, past: History) -> str:
    where, schedule = archive.workdir.path, past.state.schedule
    ahead = [number for number in schedule.braid_rounds if number > len(past.rounds)]
    if not schedule.braid_rounds:
        return f"{where}: this relay has no braid rounds, in which value is measured; see relay.braid_rounds"
    if not ahead:
        return f"{where}: no work was accepted in any braid round, so there is nothing to value"
    return (
        f"{where}: no braid round is settled yet, {len(past.rounds)} rounds are; the next is round {ahead[0]}"
    )
