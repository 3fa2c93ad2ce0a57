"""Games whose values are known because all their coalitions are: of digits, of retraining, of votes.

Siblings are trained as the relay of `configs/digits.py` trains them: from one head, a leg each, composed with
weights 1/N. Everything is deterministic in the seed.

Shapes: N participants, E validation examples, P parameters.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from relayjax import config
from relayjax.learning.evaluate import Evaluator
from relayjax.learning.layout import Layout
from relayjax.learning.placement import place
from relayjax.learning.schemes import Setup
from relayjax.learning.task import Batch, examples
from relayjax.valuation import Composition, Function, Game, Retraining
from relayjax.valuation.exact import all_coalitions

LAPS = 20
"""Of a whole relay: what the leg's schedules are made for."""


@dataclass(frozen=True, eq=False)
class Tabulated:
    """A game read from the table of all its coalitions, in the order of `all_coalitions`.

    Attributes:
      table: worth of every coalition on every example, float [2^N, E], nats.
      siblings: what it was tabulated from, if that can be differentiated.
    """

    table: np.ndarray
    siblings: Siblings | None = None

    @property
    def participants(self) -> int:
        """N."""
        return len(self.table).bit_length() - 1

    @property
    def utilities(self) -> np.ndarray:
        """v, float64 [2^N]."""
        return self.table.mean(axis=1, dtype=np.float64)

    def utility_per_example(self, coalitions: np.ndarray) -> np.ndarray:
        """Worth of each coalition (bool [C, N]), float [C, E]."""
        return self.table[np.asarray(coalitions) @ (1 << np.arange(self.participants))]

    def means(self) -> Tabulated:
        """The same game told without its examples: two that agree."""
        return Tabulated(np.stack([self.utilities] * 2, axis=1))


@dataclass(frozen=True, eq=False)
class Siblings:
    """A composition, and what it takes to compute its losses by other means.

    Attributes:
      game: the composition.
      layout: of its parameters.
      validation: the examples of its losses.
    """

    game: Composition
    layout: Layout
    validation: Batch


def tabulated(game: Game, siblings: Siblings | None = None) -> Tabulated:
    """Evaluates all coalitions, 2^N."""
    return Tabulated(game.utility_per_example(all_coalitions(game.participants)), siblings)


def siblings(participants: int, laps: int, seed: int) -> Siblings:
    """A braid round of digits after so many laps of chain rounds, labels skewed by Dirichlet(0.1)."""
    setup = _setup(participants, seed)
    head = setup.genesis()
    before = laps * participants
    for number in range(before):
        head = setup.train(head, number % participants, number, number)
    deltas = [setup.train(head, who, before + who, before) - head for who in range(participants)]
    weights = jnp.full(participants, 1 / participants, jnp.float32)
    layout, validation = setup.leg.baton.params, dict(setup.task.validation)
    everything = np.arange(examples(validation), dtype=np.int32)
    losses = Evaluator(setup.task, layout).losses_on(place(validation), everything)
    game = Composition(losses, jnp.asarray(head), jnp.asarray(np.stack(deltas)), weights)
    return Siblings(game, layout, validation)


def retraining(participants: int, seed: int) -> Retraining[np.ndarray]:
    """One lap of digits with legs of twenty steps, as it would have been with a coalition alone."""
    setup = _setup(participants, seed, laps=1, steps=20)
    evaluator = Evaluator(setup.task, setup.leg.baton.params)
    data = place(dict(setup.task.validation))
    drawn = np.arange(examples(setup.task.validation), dtype=np.int32)

    def train(head: np.ndarray, who: int, position: int) -> np.ndarray:
        return setup.train(head, who, position, position)

    def losses(head: np.ndarray) -> np.ndarray:
        return np.asarray(evaluator.losses(head, data, drawn))

    return Retraining(train, losses, setup.genesis(), range(participants))


def votes(participants: int, seed: int) -> Function:
    """A motion is worth 1 nat and passes if more than half of the seats are for it; 1 to 19 seats each."""
    seats = np.random.default_rng(seed).integers(1, 20, size=participants)
    return Function(Partial(_passes, jnp.asarray(seats, jnp.float32)), participants)


def _passes(seats: jax.Array, present: jax.Array) -> jax.Array:
    return (2 * (present @ seats) > seats.sum()).astype(jnp.float32)


def _setup(participants: int, seed: int, laps: int = LAPS, **leg: int) -> Setup:
    """Digits and the legs of its config, for any number of participants."""
    settings = config.load("digits")
    task = settings.task.build(participants, seed)
    return Setup(task, dataclasses.replace(settings.leg, **leg), laps * participants, seed)
