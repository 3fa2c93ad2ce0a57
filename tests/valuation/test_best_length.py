"""What a direction can do at its best length: by hand in a quadratic bowl, and where losses break down."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from relayjax.errors import DataError
from relayjax.valuation import Composition
from relayjax.valuation.best_length import (
    FRACTIONS,
    best_length_gain,
    best_length_gains,
    level_factors,
)
from relayjax.valuation.games import DenseFirst

MIDDLE = np.array([1.0, 2.0, -1.0, 0.5], np.float32)
DELTAS = np.array([[2, 0, 0, 0], [0, 3, -1, 0], [-1, 0, 0, 0]], np.float32)


def bowl(scales: jax.Array, theta: jax.Array) -> jax.Array:
    return scales * jnp.square(theta - MIDDLE).sum()


def game(deltas: np.ndarray = DELTAS, weights: float = 1 / 3) -> Composition:
    losses = Partial(bowl, jnp.asarray([0.5, 1.5]))
    return Composition(losses, jnp.zeros(4), jnp.asarray(deltas), jnp.full(len(deltas), jnp.float32(weights)))


def gains(game: Composition, directions: np.ndarray) -> np.ndarray:
    """Half of each direction, made whole again."""
    return best_length_gains(game, jnp.asarray(directions / 2), np.full(len(directions), 2, np.float32))


def gain(start: np.ndarray, direction: np.ndarray) -> float:
    """The most that any length takes off, by the formula; no length beyond the whole direction."""
    square = np.square(direction).sum()
    best = np.clip((MIDDLE - start) @ direction / square, 0, 1)
    return float(np.square(MIDDLE - start).sum() - np.square(MIDDLE - start - best * direction).sum())


def test_gains_are_those_of_a_line_search_beside_half_of_the_others():
    found = gains(game(), DELTAS)
    for i, value in enumerate(found):
        others = (DELTAS.sum(axis=0) - DELTAS[i]) / 6
        assert value == pytest.approx(gain(others, DELTAS[i]), rel=1e-4)
    assert found[2] == 0.0  # it points away


def test_one_direction_alone_is_a_line_search_from_the_base():
    way = DELTAS.sum(axis=0)
    assert best_length_gain(game(), jnp.asarray(way)) == pytest.approx(gain(np.zeros(4), way), rel=1e-4)
    assert best_length_gain(game(), jnp.zeros(4)) == 0.0


def test_a_direction_is_tried_up_to_its_whole_length_and_no_further():
    short = DELTAS * np.float32(0.01)
    found = gains(game(), short)
    others = (DELTAS.sum(axis=0) - DELTAS[0]) / 6
    assert found[0] == pytest.approx(gain(others, short[0]), rel=1e-3)
    assert FRACTIONS[0] == 0 and FRACTIONS[-1] == 1 and (np.diff(FRACTIONS) > 0).all()


def test_losses_that_break_down_far_away_do_not_count_but_at_the_start_they_do():
    def cliff(scales: jax.Array, theta: jax.Array) -> jax.Array:
        return jnp.where(jnp.abs(theta).max() > 1, jnp.nan, bowl(scales, theta))

    near = Composition(
        Partial(cliff, jnp.asarray([0.5, 1.5])), jnp.zeros(4), jnp.asarray(DELTAS), jnp.full(3, 0.1)
    )
    assert (gains(near, DELTAS)[:2] > 0).all()
    beyond = Composition(near.losses, jnp.full(4, 2.0), near.deltas, near.weights)
    with pytest.raises(DataError, match="not finite"):
        gains(beyond, DELTAS)
    with pytest.raises(DataError, match="not finite"):
        best_length_gain(beyond, jnp.ones(4))


def test_a_dense_first_layer_taken_apart_gives_the_same():
    rng = np.random.default_rng(0)
    inputs, targets = (rng.normal(size=(50, width)).astype(np.float32) for width in (6, 3))

    def cut(theta: jax.Array) -> tuple[jax.Array, jax.Array, None]:
        return theta[:18].reshape(6, 3), theta[18:], None

    def rest(targets: jax.Array, outputs: jax.Array, _: None) -> jax.Array:
        return jnp.square(jnp.tanh(outputs) - targets).mean(axis=1)

    apart = DenseFirst(jnp.asarray(inputs), Partial(rest, jnp.asarray(targets)), cut)
    base, deltas = rng.normal(size=21).astype(np.float32), rng.normal(size=(4, 21)).astype(np.float32)
    arrays = jnp.asarray(base), jnp.asarray(deltas), jnp.full(4, 0.25)
    whole = Composition(Partial(lambda losses, theta: losses(theta), apart), *arrays)
    found = gains(Composition(apart, *arrays), deltas)
    np.testing.assert_allclose(found, gains(whole, deltas), atol=1e-6)
    assert found.max() > 0.01


def test_all_deltas_are_made_as_long_as_the_lower_median():
    np.testing.assert_allclose(level_factors(np.array([4.0, 1.0, 0.0, 2.0, 8.0])), [0.5, 2, 0, 1, 0.25])
    np.testing.assert_array_equal(level_factors(np.zeros(3)), np.zeros(3))
