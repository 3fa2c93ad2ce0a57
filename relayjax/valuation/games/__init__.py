"""Games: what a coalition of participants is worth. One a file; `base` says what they have in common."""

from relayjax.valuation.games.base import Game, checked, utility
from relayjax.valuation.games.composition import Composition, Losses
from relayjax.valuation.games.function import Function
from relayjax.valuation.games.path import NOBODY, Path
from relayjax.valuation.games.retraining import Retraining

__all__ = [
    "NOBODY",
    "Composition",
    "Function",
    "Game",
    "Losses",
    "Path",
    "Retraining",
    "checked",
    "utility",
]
