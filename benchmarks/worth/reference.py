"""True values: from all coalitions, and by a fine quadrature that shares no code with RelayJAX's.

Shapes: N participants, P parameters, E validation examples, D inputs, H hidden units, K classes.
"""

from __future__ import annotations

import numpy as np

from relayjax.valuation.exact import all_coalitions, shapley_matrix
from worth.games import Siblings, Tabulated


def shapley_values(game: Tabulated) -> np.ndarray:
    """Shapley values, float64 [N]."""
    return shapley_matrix(game.participants) @ game.utilities


def banzhaf_values(game: Tabulated) -> np.ndarray:
    """Banzhaf values: mean marginal contributions over all coalitions alike, float64 [N]."""
    present = all_coalitions(game.participants).T
    return np.where(present, 1.0, -1.0) @ game.utilities / 2 ** (game.participants - 1)


def leave_one_out_values(game: Tabulated) -> np.ndarray:
    """v(N) − v(N \\ i), float64 [N]."""
    utilities = game.utilities
    return utilities[-1] - utilities[len(utilities) - 1 - (1 << np.arange(game.participants))]


def aumann_shapley_values(siblings: Siblings, points: int) -> np.ndarray:
    """Aumann–Shapley values in float64 NumPy, the gradient by hand, the integral by the midpoint rule.

        φ_i = −w_i δ_i · 1/Q Σ_q ∇ℓ(θ_b + (q − ½)/Q Δ),   Δ = Σ_j w_j δ_j

    Args:
      siblings: of a network with one hidden layer.
      points: Q. The loss has kinks where a unit begins to fire; the error falls with Q all the same.

    Returns:
      float64 [N], nats.
    """
    game = siblings.game
    moves = np.asarray(game.weights, np.float64)[:, None] * np.asarray(game.deltas, np.float64)
    base, total = np.asarray(game.base, np.float64), moves.sum(axis=0)
    inputs = np.asarray(siblings.validation["x"], np.float64).reshape(len(siblings.validation["y"]), -1)
    gradient = np.zeros_like(base)
    for time in (np.arange(points) + 0.5) / points:
        gradient += _gradient(siblings, inputs, base + time * total)
    return -moves @ gradient / points


def _gradient(siblings: Siblings, inputs: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Gradient of the mean cross-entropy, float64 [P], of inputs [E, D] and parameters [P]."""
    layout, labels = siblings.layout, siblings.validation["y"]
    places = {
        name: slice(start, end)
        for name, start, end in zip(layout.names, layout.offsets, layout.offsets[1:], strict=False)
    }
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    first, second = (theta[places[name]].reshape(shapes[name]) for name in _KERNELS)
    before = inputs @ first + theta[places["layers/0/bias"]]
    hidden = np.maximum(before, 0)
    logits = hidden @ second + theta[places["layers/1/bias"]]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    wrong = odds / odds.sum(axis=1, keepdims=True)
    wrong[np.arange(len(labels)), labels] -= 1
    wrong /= len(labels)
    back = (wrong @ second.T) * (before > 0)
    gradient = np.zeros_like(theta)
    for name, part in zip(_KERNELS, (inputs.T @ back, hidden.T @ wrong), strict=True):
        gradient[places[name]] = part.ravel()
    gradient[places["layers/0/bias"]], gradient[places["layers/1/bias"]] = back.sum(axis=0), wrong.sum(axis=0)
    return gradient


_KERNELS = ("layers/0/kernel", "layers/1/kernel")
