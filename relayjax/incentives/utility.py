"""The one place where utility is defined: what taking part was worth, in coins.

    U = coins + nat · (ℓ of the genesis − ℓ of the best version held) − leg · legs − evaluation · rounds

Coins are what a member has at the end less what it was endowed with, which is taken for its own money:
deposits that it lost and what it was slashed are in it. Whoever stays away has a utility of 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from relayjax.incentives.game import Game
from relayjax.incentives.settings import Prices, World
from relayjax.mechanism.membership import endowment
from relayjax.mechanism.rules import COIN


@dataclass(frozen=True)
class Tally:
    """What one or several members have come away with.

    Attributes:
      coins: earned, less what was lost.
      nats: by which the models they may hold are better than the genesis.
      legs: trained, in honest legs.
      scored: rounds measured.
    """

    coins: float = 0.0
    nats: float = 0.0
    legs: float = 0.0
    scored: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.coins + other.coins,
            self.nats + other.nats,
            self.legs + other.legs,
            self.scored + other.scored,
        )

    def utility(self, prices: Prices) -> float:
        """U, coins."""
        costs = prices.leg * self.legs + prices.evaluation * self.scored
        return self.coins + prices.nat * self.nats - costs


def tallies(game: Game, world: World) -> dict[str, Tally]:
    """Of every member of a relay that has been played; several places of one owner hold one model.

    Args:
      game: the relay.
      world: how training turns out.
    """
    state, missing, own = game.state, game.missing(), endowment(game.state.rules)
    found: dict[str, Tally] = {}
    holders: set[int] = set()
    for name, effort in sorted(game.efforts.items()):
        held, seat, nats = game.held(name), game.seat_of(name), 0.0
        if held is not None and seat not in holders:
            nats = max(0.0, world.opening - held - missing)
            holders |= set() if seat is None else {seat}
        coins = (state.balances[name] - own) / COIN
        found[name] = Tally(coins, nats, effort.legs, effort.scored)
    return found
