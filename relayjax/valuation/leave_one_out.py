"""What the whole would lose without each participant.

Shapes: N participants.
"""

from __future__ import annotations

import jax
import numpy as np

from relayjax.errors import ConfigError
from relayjax.valuation.estimate import Estimate, from_table
from relayjax.valuation.games import Game


def leave_one_out(game: Game, key: jax.Array | None = None, *, budget: int | None = None) -> Estimate:
    """Values as what each participant adds to all others, φ_i = v(N) − v(N \\ i).

    Cheap, without sampling error, not efficient: of two participants who bring the same neither is missed.

    Args:
      game: any game.
      key: unused; it is here because every `Estimator` takes one.
      budget: most coalitions to evaluate, if there is a limit; N + 1 are.

    Raises:
      ConfigError: the budget is below N + 1.
    """
    participants = game.participants
    if budget is not None and budget < participants + 1:
        raise ConfigError(
            f"leave-one-out: a budget of {budget} coalitions does not suffice for {participants} "
            f"participants; {participants + 1} do: the full coalition, and all but each one"
        )
    everyone = np.ones((1, participants), dtype=bool)
    coalitions = np.concatenate([everyone, ~np.eye(participants, dtype=bool)])
    coefficients = np.concatenate([np.ones((participants, 1)), -np.eye(participants)], axis=1)
    return from_table(coalitions, game.utility_per_example(coalitions), coefficients, "leave-one-out")
