"""What holds for every estimator, on games of compositions."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from relayjax.errors import ConfigError, DataError
from relayjax.valuation import (
    Composition,
    Estimate,
    Memo,
    antithetic_shapley,
    aumann_shapley,
    exact_shapley,
    fixed_point,
    shapley,
)

N, IN, HIDDEN, OUT, E = 6, 5, 8, 3, 40
P = (IN + OUT) * HIDDEN

Estimator = Callable[[Composition, jax.Array], Estimate]
ESTIMATORS: dict[str, Estimator] = {
    "exact": lambda game, key: exact_shapley(game),
    "antithetic": lambda game, key: antithetic_shapley(game, key, budget=42),
    "aumann-shapley": lambda game, key: aumann_shapley(game),
    "shapley": shapley,
}
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS.keys())


def mlp_losses(inputs: jax.Array, labels: jax.Array, theta: jax.Array) -> jax.Array:
    first, second = jnp.split(theta, [IN * HIDDEN])
    logits = jnp.tanh(inputs @ first.reshape(IN, HIDDEN)) @ second.reshape(HIDDEN, OUT)
    return jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


def mlp_game(seed: int = 0, scale: float = 1.0) -> Composition:
    keys = jax.random.split(jax.random.key(seed), 4)
    inputs = jax.random.normal(keys[0], (E, IN))
    labels = jax.random.randint(keys[1], (E,), 0, OUT)
    base = 0.3 * jax.random.normal(keys[2], (P,))
    deltas = scale * jax.random.normal(keys[3], (N, P))
    return Composition(Partial(mlp_losses, inputs, labels), base, deltas, jnp.full(N, 1 / N))


def linear_losses(rows: jax.Array, theta: jax.Array) -> jax.Array:
    return rows @ theta


def linear_game() -> tuple[Composition, np.ndarray]:
    """A game without interaction, and every example's own values, float64 [N, E]."""
    rng = np.random.default_rng(0)
    rows, deltas = rng.normal(size=(E, P)), rng.normal(size=(N, P))
    weights = rng.uniform(size=N)
    losses = Partial(linear_losses, jnp.float32(rows))
    game = Composition(losses, jnp.zeros(P), jnp.float32(deltas), jnp.float32(weights))
    return game, -weights[:, None] * (deltas @ rows.T)


@every_estimator
def test_contract(estimator: Estimator):
    game = mlp_game()
    estimate = estimator(game, jax.random.key(3))
    for array in (estimate.values, estimate.stderr):
        assert array.shape == (N,)
        assert array.dtype == np.float64
    assert (estimate.stderr > 0).all()

    table = estimate.table
    if table is None:
        assert estimate.evaluations == 16 * N
    else:
        assert estimate.evaluations == len(table.coalitions) == len(np.unique(table.coalitions, axis=0))
        np.testing.assert_array_equal(table.coefficients @ table.utilities, estimate.values)
        np.testing.assert_array_equal(table.utilities, game.utility(table.coalitions))

    again = estimator(game, jax.random.key(3))
    np.testing.assert_array_equal(again.values, estimate.values)
    np.testing.assert_array_equal(again.stderr, estimate.stderr)


@every_estimator
def test_values_add_up_to_the_worth_of_all(estimator: Estimator):
    game = mlp_game()
    worth = game.utility(np.ones((1, N), bool))[0]
    assert abs(worth) > 0.01
    np.testing.assert_allclose(estimator(game, jax.random.key(0)).values.sum(), worth, atol=1e-5)


@every_estimator
def test_without_interaction_everyone_gets_what_they_bring(estimator: Estimator):
    game, shares = linear_game()
    estimate = estimator(game, jax.random.key(0))
    np.testing.assert_allclose(estimate.values, shares.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(estimate.stderr, shares.std(axis=1, ddof=1) / np.sqrt(E), rtol=1e-4)


@every_estimator
def test_a_zero_delta_earns_exactly_nothing(estimator: Estimator):
    game = mlp_game()
    idle = Composition(game.losses, game.base, game.deltas.at[2].set(0.0), game.weights)
    estimate = estimator(idle, jax.random.key(0))
    assert abs(estimate.values[2]) < 1e-15
    assert fixed_point(estimate.values)[2] == 0


@every_estimator
def test_one_validation_example_gives_no_standard_error(estimator: Estimator):
    game = mlp_game()
    assert isinstance(game.losses, Partial)
    losses = Partial(mlp_losses, *(array[:1] for array in game.losses.args))
    with pytest.raises(DataError, match="hold out 2 or more"):
        estimator(Composition(losses, game.base, game.deltas, game.weights), jax.random.key(0))


def test_antithetic_converges_to_exact_within_its_standard_error():
    game = Memo(mlp_game(scale=3.0))
    exact = exact_shapley(game)
    errors = {22: [], 62: []}
    for budget, seen in errors.items():
        for seed in range(20):
            estimate = antithetic_shapley(game, jax.random.key(seed), budget=budget)
            assert (np.abs(estimate.values - exact.values) < 3 * estimate.stderr).all()
            seen.append(np.linalg.norm(estimate.values - exact.values))
    assert 0 < np.mean(errors[62]) < np.mean(errors[22]) / 1.5


def test_aumann_shapley_agrees_with_a_fine_riemann_sum():
    game = mlp_game()
    moves = game.weights[:, None] * game.deltas
    gradient = jax.grad(lambda theta: game.losses(theta).mean())
    steps = 1000
    times = (jnp.arange(steps) + 0.5) / steps
    gradients = jax.lax.map(lambda t: gradient(game.base + t * moves.sum(axis=0)), times)
    expected = -np.asarray(moves, np.float64) @ np.asarray(gradients, np.float64).mean(axis=0)
    np.testing.assert_allclose(aumann_shapley(game).values, expected, atol=1e-6)


def test_aumann_shapley_of_a_zero_delta_is_zero_to_the_bit():
    game = mlp_game()
    idle = Composition(game.losses, game.base, game.deltas.at[2].set(0.0), game.weights)
    estimate = aumann_shapley(idle)
    assert estimate.values[2] == 0.0 == estimate.stderr[2]


@pytest.mark.parametrize("identities", [2, 16])
def test_splitting_a_delta_gains_nothing_under_aumann_shapley(identities: int):
    whole = mlp_game()
    parts = jnp.tile(whole.deltas[:1] / identities, (identities, 1))
    split = Composition(
        whole.losses,
        whole.base,
        jnp.concatenate([parts, whole.deltas[1:]]),
        jnp.full(identities + N - 1, 1 / N),
    )
    before, after = aumann_shapley(whole).values, aumann_shapley(split).values
    np.testing.assert_allclose(after[:identities].sum(), before[0], atol=1e-6)
    np.testing.assert_allclose(after[identities:], before[1:], atol=1e-6)


def test_aumann_shapley_refuses_a_quadrature_without_nodes():
    with pytest.raises(ConfigError, match="nodes is 0"):
        aumann_shapley(mlp_game(), nodes=0)


@pytest.mark.parametrize(
    ("nats", "micro_nats"),
    [
        (0.1, 100_000),
        (-0.25, -250_000),
        (-0.0, 0),
        (2**-7, 7812),
        (3 * 2**-7, 23438),
        (2.0**70, 2**70 * 10**6),
    ],
)
def test_fixed_point_rounds_half_to_even(nats: float, micro_nats: int):
    assert fixed_point(np.array([nats])) == [micro_nats]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_fixed_point_refuses_what_is_not_finite(bad: float):
    with pytest.raises(DataError, match="value 1 is"):
        fixed_point([0.0, bad])
