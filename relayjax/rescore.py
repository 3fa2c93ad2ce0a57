"""Recomputing what validators measured: every score and value of a run, from its artefacts.

Losses differ in their last bits between accelerators, and values a little more, so a recorded figure is
right when it lies within a tolerance of the recomputed one. E: drawn examples, P: parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from relayjax import codec, settings
from relayjax.archive import Archive
from relayjax.config import Config
from relayjax.errors import IntegrityError
from relayjax.history import History, SettledRound
from relayjax.identity import Keys
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.layout import Layout
from relayjax.learning.placement import place
from relayjax.learning.task import Task, examples
from relayjax.lineage import siblings
from relayjax.merging import merge_of
from relayjax.records import Pairs, Score, Submit
from relayjax.relay.testing import Candidates, Validator, draws, places, validation_digest
from relayjax.valuation.novelty import Novelties


@dataclass(frozen=True)
class Rescore:
    """What was recomputed.

    Attributes:
      scores: figures compared, of losses.
      values: figures compared, of values.
      largest: largest difference found, micro-nats.
    """

    scores: int
    values: int
    largest: int


def rescore(
    archive: Archive,
    past: History,
    keys: Keys,
    config: Config | None = None,
    tolerance: int = 100,
    progress: Callable[[int], None] = lambda round: None,
) -> Rescore:
    """Recomputes all scores and values and compares them with the ledger's.

    Args:
      archive: of the run.
      past: its history.
      keys: that open every delta: a maintainer's.
      config: any that has the run's task; needed where that is not one of RelayJAX's own.
      tolerance: largest difference allowed, micro-nats.
      progress: called with the number of each round as it is done.

    Raises:
      IntegrityError: a recorded figure is not what the artefacts give, or the validation set is another.
      AccessError: the keys do not open a delta.
    """
    check = _Checker(archive, past, keys, config, tolerance)
    for settled in past.rounds:
        check.round(settled)
        progress(settled.number)
    return Rescore(check.scores, check.values, check.largest)


def rebuilt(past: History, config: Config | None = None) -> tuple[Config, Task]:
    """The settings and the task of a run, as its genesis names them.

    Args:
      past: the run's history.
      config: any that has the run's task; needed where that is not one of RelayJAX's own.

    Raises:
      ConfigError: the task is not RelayJAX's own, and `config` does not have it.
      DataError: the task's data is missing or malformed.
      IntegrityError: the validation set is another.
    """
    own = [type(config.task)] if config else []
    config = settings.decode(past.genesis.config, Config, own=own)
    task = config.task.build(config.relay.participants, config.seed)
    if validation_digest(task.validation) != past.genesis.validation:
        raise IntegrityError("validation set", "is not the one that the validators were bound to")
    return config, task


class _Checker:
    """Holds the weights of the present heads while it walks through the rounds."""

    def __init__(self, archive: Archive, past: History, keys: Keys, config: Config | None, tolerance: int):
        config, task = rebuilt(past, config)
        layout = Layout.of(jax.eval_shape(task.init, jax.random.key(0)))
        self._validator = Validator(
            Evaluator(task, layout),
            place(task.validation),
            examples(task.validation),
            config.valuation.nodes,
            config.valuation.budget,
        )
        self._archive, self._past, self._keys, self._tolerance = archive, past, keys, tolerance
        self._draws, self._novelties = draws(past, self._validator.count), Novelties()
        self._codec = codec.get(config.relay.codec)
        self._heads: dict[int, np.ndarray] = {0: archive.genesis(past)}
        self.scores = self.values = self.largest = 0

    def round(self, settled: SettledRound) -> None:
        """Checks one round and moves on to its heads."""
        facts = settled.facts
        payloads = {name: self._open(submission) for name, submission in facts.submissions.items()}
        parents = {facts.pairs[name]: self._heads[facts.pairs[name]] for name in payloads}
        of = {name: parents[facts.pairs[name]] for name in payloads}
        children = {name: self._codec.apply(payload, of[name]) for name, payload in payloads.items()}
        deltas = {
            name: self._codec.decode(payloads[name], of[name]) for name in facts.commitments if name in of
        }
        composed = None
        if facts.scores:
            drawn = jnp.asarray(self._draws[settled.number])
            handed = {name: (children[name], delta) for name, delta in deltas.items()}
            tested = Candidates.of(facts, settled.topology, self._heads, handed, self._past.state.schedule)
            self._check_scores(settled, self._validator.score(tested, drawn, self._novelties))
            if facts.values:
                composed = self._check_values(settled, drawn)
        made = {
            number: children[self._past.state.versions[number].owners[0]] if composed is None else composed
            for number, _, _ in settled.settle.versions
        }
        for number in made:
            for name in self._past.state.versions[number].owners:
                self._novelties.remember(deltas[name][: self._validator.evaluator.size])
        known = {**self._heads, **made}
        self._heads = {number: known[number] for number in settled.settle.heads}

    def _check_scores(self, settled: SettledRound, ours: Score) -> None:
        for name, score in sorted(settled.facts.scores.items()):
            where = f"round {settled.number}, score of {name}"
            self.scores += self._compare(where, score.parents, ours.parents)
            self.scores += self._compare(where, score.children, ours.children)
            self.scores += self._compare(where, score.slopes, ours.slopes)
            self.scores += self._compare(where, score.chance, ours.chance)
            self.scores += self._compare(where, score.echoes, ours.echoes)

    def _check_values(self, settled: SettledRound, drawn: jax.Array) -> np.ndarray:
        facts = settled.facts
        some = next(iter(facts.values.values()))
        (parent,) = {facts.pairs[name] for name, _ in some.values}
        base = self._heads[parent]
        merge = merge_of(self._past.state.schedule)
        braid = siblings(settled, base, self._open, self._codec, merge)
        composed, deltas = braid.composed, braid.by_trainer
        room = places(self._past.state.schedule, facts)
        ours = self._validator.value(
            settled.number, drawn, base, deltas, braid.weights, composed, self._novelties, room
        )
        for name, value in sorted(facts.values.items()):
            where = f"round {settled.number}, value of {name}"
            if value.composed != ours.composed:
                raise IntegrityError(where, "the deltas compose to other weights")
            self.values += self._compare(where, (("composed", value.loss),), (("composed", ours.loss),))
            self.values += self._compare(where, value.values, ours.values)
            self.values += self._compare(where, value.stderr, ours.stderr)
            self.values += self._compare(where, value.chance, ours.chance)
            self.values += self._compare(where, value.shapley, ours.shapley)
            self.values += self._compare(where, value.shapley_stderr, ours.shapley_stderr)
        return composed

    def _compare(self, where: str, stated: Pairs, ours: Pairs) -> int:
        for (name, figure), (_, expected) in zip(stated, ours, strict=True):
            self.largest = max(self.largest, abs(figure - expected))
            if abs(figure - expected) > self._tolerance:
                raise IntegrityError(where, f"states {figure} for {name}, the artefacts give {expected}")
        return len(stated)

    def _open(self, submission: Submit) -> bytes:
        return self._archive.open_delta(self._past.state, submission, self._keys)
