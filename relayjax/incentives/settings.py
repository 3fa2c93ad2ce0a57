"""What an audit assumes: how training turns out, what things cost, and how much is played.

The figures of `World` are those of the digits relay (docs/mechanism.md says how they were measured); a live
relay's own can take their place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from relayjax.errors import ConfigError
from relayjax.settings import Settings, setting


@dataclass(frozen=True)
class World(Settings):
    """How honest training turns out.

    A lap is one leg of every participant. After t laps the head's loss is

        ℓ(t) = opening · exp(−(t / laps)^stretch)

    and a braid round that starts there has a value of ℓ(t) − ℓ(t + 1) to share out.
    """

    opening: float = setting(2.3, "loss of the genesis model", unit="nats", above=0.0, high=1e3)
    laps: float = setting(2.5, "until the loss has fallen to 1/e of it", unit="laps", above=0.0, high=1e6)
    stretch: float = setting(0.6, "exponent of the learning curve", above=0.0, high=2.0)
    spread: float = setting(
        0.53, "standard deviation of the logarithm of what participants' data is worth", low=0.0, high=3.0
    )
    fluctuation: float = setting(
        0.3, "standard deviation of one leg's value, in mean values", low=0.0, high=10.0
    )
    stderr: float = setting(
        0.08,
        "standard error of a mean value of the first lap; of smaller ones it falls with their root",
        unit="mean values",
        low=0.0,
        high=10.0,
    )
    marginal: float = setting(
        0.012, "what the last model loses without one participant's data", unit="nats", low=0.0, high=1e3
    )
    failure: float = setting(0.01, "probability that a leg gives nothing to hand in", low=0.0, below=1.0)

    def loss(self, laps: float) -> float:
        """ℓ, nats, after so many laps; of a negative number, as at the start."""
        return self.opening * math.exp(-((max(laps, 0.0) / self.laps) ** self.stretch))


@dataclass(frozen=True)
class Prices(Settings):
    """What enters a utility beside coins."""

    leg: float = setting(0.5, "cost of training one leg", unit="coins", low=0.0, high=1e9)
    evaluation: float = setting(0.02, "cost of scoring a round", unit="coins", low=0.0, high=1e9)
    nat: float = setting(
        20.0, "worth of a nat by which a model one may hold is better than the genesis", low=0.0, high=1e9
    )
    spite: float = setting(
        0.1, "what a vandal would give for a coin, or its worth, that the others lose", low=0.0, high=1e3
    )


@dataclass(frozen=True)
class Play(Settings):
    """How much is played."""

    seeds: int = setting(100, "relays of each kind", low=2, high=1_000_000)
    first: int = setting(0, "seed of the first one", low=0, high=2**31 - 1)
    coalition: int = setting(1, "how many deviate together", low=1, high=64)
    identities: tuple[int, ...] = setting(
        (2, 3, 4, 6, 8, 12, 16), "numbers of places that one participant may take", low=2, high=64
    )
    deviations: tuple[str, ...] = setting((), "names of those played; all if none is given")

    def check(self) -> None:
        if list(self.identities) != sorted(set(self.identities)):
            raise ConfigError(f"identities={self.identities}: must be ascending, each once")


@dataclass(frozen=True)
class Assumptions(Settings):
    """All of it."""

    world: World = setting(World, "how training turns out")
    prices: Prices = setting(Prices, "what enters a utility")
    play: Play = setting(Play, "how much is played")
