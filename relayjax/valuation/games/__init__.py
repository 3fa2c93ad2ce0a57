"""Games: what a coalition of participants is worth. One a file; `base` says what they have in common."""

from relayjax.valuation.games.base import Game, checked, utility
from relayjax.valuation.games.blocks import tune_block
from relayjax.valuation.games.composition import Composition, Losses
from relayjax.valuation.games.first_seats import FirstSeats
from relayjax.valuation.games.function import Function
from relayjax.valuation.games.linear_first import DenseFirst, LinearFirst
from relayjax.valuation.games.path import NOBODY, Path
from relayjax.valuation.games.retraining import Retraining

__all__ = [
    "NOBODY",
    "Composition",
    "DenseFirst",
    "FirstSeats",
    "Function",
    "Game",
    "LinearFirst",
    "Losses",
    "Path",
    "Retraining",
    "checked",
    "tune_block",
    "utility",
]
