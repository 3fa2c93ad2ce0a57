"""What a simulated population is: how many play which rules for how long, and how well they train."""

from __future__ import annotations

from dataclasses import dataclass

from relayjax.errors import ConfigError
from relayjax.mechanism.rules import DeRelayLRules
from relayjax.settings import Settings, setting

_COUNTABLE = 2**62
"""Micro-coins that a 64-bit integer can count, with room to spare."""


@dataclass(frozen=True)
class Population(Settings):
    """Everything that determines a simulation: the same settings give the same coins, to the unit.

    `rules` are those of a live relay. A training's gain is added to its parent's performance; as only the
    order of the models counts, its unit makes no difference. Gains measured in a relay are in nats.
    """

    participants: int = setting(256, "participants", low=4, high=10_000_000)
    rounds: int = setting(5_000, "rounds", low=1, high=1_000_000)
    rules: DeRelayLRules = setting(DeRelayLRules, "the mechanism's numbers")
    cases: int = setting(100, "test cases of a round", low=0, high=1_000_000)
    success_rate: float = setting(0.9, "probability that a training gives a model", low=0.0, high=1.0)
    gain_mean: float = setting(1.0, "of a model's gain over its parent", low=-1e6, high=1e6)
    gain_deviation: float = setting(1.0, "standard deviation of that gain", low=0.0, high=1e6)
    gains: tuple[float, ...] = setting((), "measured gains to draw from instead", low=-1e6, high=1e6)
    seed: int = setting(42, "of the first repetition; the next one has the next seed", low=0, high=2**31 - 1)
    repetitions: int = setting(40, "populations simulated, each with its own seed", low=1, high=100_000)

    def check(self) -> None:
        if self.most_coins > _COUNTABLE:
            raise ConfigError(
                f"participants={self.participants}, rounds={self.rounds}: up to {self.most_coins:.1e} "
                f"micro-coins could be minted, but {_COUNTABLE:.1e} can be counted; take fewer of either"
            )

    @property
    def most_coins(self) -> int:
        """What can be minted at most, micro-coins: were each trainer's model accepted in each round."""
        models, rules = self.participants // 2 * self.rounds, self.rules
        lineages = models * rules.lineage_reward * (self.rounds + rules.genesis_shares)
        return lineages + rules.fee * (models * (4 + self.cases) + self.rounds * self.cases)

    @property
    def seeds(self) -> range:
        """One for each repetition."""
        return range(self.seed, self.seed + self.repetitions)
