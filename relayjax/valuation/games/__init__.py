"""Games: what a coalition of participants is worth. One a file; `base` says what they have in common."""

from relayjax.valuation.games.base import Game, checked, utility
from relayjax.valuation.games.composition import Composition, Losses

__all__ = ["Composition", "Game", "Losses", "checked", "utility"]
