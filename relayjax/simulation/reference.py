"""The rules of the simulated round in plain Python, one participant and one ancestor at a time.

What the compiled rounds are held against, and the place to read what a round does. It shares nothing
with them but the draws and the settings, and walks every lineage to its root.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from relayjax.mechanism.rules import COIN, MILLION
from relayjax.simulation.draws import Draws
from relayjax.simulation.settings import Population


@dataclass(frozen=True)
class Model:
    """A model: who trained it, its version, what it performs, and what it was trained from."""

    trainer: int
    version: int
    level: float
    parent: Model | None


@dataclass
class Outcome:
    """What came of the rounds.

    Attributes:
      coins: micro-coins of each participant, after each round.
      newest: the newest version each holds or received, after each round; −1 for none.
      minted: micro-coins paid out of nothing.
      forfeited: micro-coins of deposits lost.
    """

    coins: list[list[int]] = field(default_factory=list)
    newest: list[list[int]] = field(default_factory=list)
    minted: int = 0
    forfeited: int = 0


class Reference:
    """A population whose rounds are played one at a time."""

    def __init__(self, population: Population):
        n, genesis = population.participants, Model(trainer=0, version=0, level=0.0, parent=None)
        self.population = population
        self.outcome = Outcome()
        self.heads = [genesis]
        self.coins = [0] * n
        self.models: list[Model | None] = [genesis] + [None] * (n - 1)
        self.received = [-1] * n

    def play(self, draws: Draws) -> Outcome:
        """Plays as many rounds as there are draws."""
        for round in range(len(draws.lots)):
            if self.heads:
                self._play(draws, round)
            held = [model.version if model else -1 for model in self.models]
            self.outcome.newest.append([max(pair) for pair in zip(held, self.received, strict=True)])
            self.outcome.coins.append(list(self.coins))
        return self.outcome

    def _play(self, draws: Draws, round: int) -> None:
        rules, n = self.population.rules, self.population.participants
        owners = [head.trainer for head in self.heads]
        others = sorted(set(range(n)) - set(owners), key=lambda i: (draws.lots[round, i], i))
        wanted = n // 2 - len(owners)
        trainers, maintainers = others[:wanted], others[wanted:]

        bids = {trainer: self._bid(trainer, round) for trainer in trainers}
        stakes = {o: min(self.coins[o], rules.owner_bid) // rules.places for o in owners}
        queue = sorted(trainers, key=lambda i: -bids[i])  # the lowest lot first among equals
        pairs: list[tuple[int, Model]] = []
        for head in sorted(self.heads, key=lambda model: -model.level):
            taken, queue = queue[: rules.places], queue[rules.places :]
            pairs += [(trainer, head) for trainer in taken]
        for trainer, head in pairs:
            self.coins[trainer] -= bids[trainer]
            self.coins[head.trainer] -= stakes[head.trainer]
            self.outcome.forfeited += bids[trainer] + stakes[head.trainer]  # until it is returned

        trained = [
            Model(trainer, round + 1, head.level + float(draws.gains[round, trainer]), head)
            for trainer, head in pairs
            if draws.trained[round, trainer]
        ]
        for model in trained:
            self.models[model.trainer] = model
        count, cases = len(trained), self.population.cases
        for block, items in enumerate((len(pairs), count, cases + count, count + count * cases)):
            writer = maintainers[draws.writers[round, block] % len(maintainers)]
            self._mint(writer, rules.fee * items)
            if block == 1 and trained:
                self.received[writer] = round + 1

        best = sorted(trained, key=lambda model: -model.level)
        self.heads = best[: count * rules.accepted_share // MILLION]
        parents = dict(pairs)
        for model in self.heads:
            parent: Model | None = parents[model.trainer]
            for name, deposit in ((model.trainer, bids), (parents[model.trainer].trainer, stakes)):
                self.coins[name] += deposit[name]
                self.outcome.forfeited -= deposit[name]
            while parent:
                shares = 1 if parent.parent else rules.genesis_shares
                self._mint(parent.trainer, shares * rules.lineage_reward)
                parent = parent.parent

    def _bid(self, trainer: int, round: int) -> int:
        """In round r, counted from 0, version r is on offer."""
        model = self.models[trainer]
        behind = round - (model.version if model else 0)
        return min(self.coins[trainer], (behind + self.population.rules.bid_margin) * COIN)

    def _mint(self, name: int, amount: int) -> None:
        self.coins[name] += amount
        self.outcome.minted += amount
