"""What counts as new, and what luck is worth."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from relayjax.errors import ConfigError
from relayjax.valuation import Composition, aumann_shapley
from relayjax.valuation.chance import chance
from relayjax.valuation.novelty import Novelties

P = 400


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, P)).astype(np.float32)


def knowing(*deltas: np.ndarray) -> Novelties:
    known = Novelties()
    for delta in deltas:
        known.remember(delta)
    return known


def test_the_first_delta_is_new():
    (delta,) = vectors(1)
    (one,) = Novelties().compare([delta])
    assert one.echo == 0
    np.testing.assert_array_equal(one.novel, delta)


@pytest.mark.parametrize("scale", [1.0, -1.0, 1e-3, 50.0])
def test_a_replay_of_any_length_and_sign_has_nothing_new(scale: float):
    old, older = vectors(2)
    (one,) = knowing(older, old).compare([np.float32(scale) * old])
    assert one.echo == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(one.novel) < 1e-5 * abs(scale) * np.linalg.norm(old)


def test_noise_on_a_replay_leaves_only_the_noise():
    old, noise = vectors(2)
    noise -= (noise @ old) / (old @ old) * old
    (one,) = knowing(old).compare([old + noise])
    cosine = np.linalg.norm(old) / np.linalg.norm(old + noise)
    assert one.echo == pytest.approx(cosine, abs=1e-5)
    np.testing.assert_allclose(one.novel, noise, atol=1e-5)


@pytest.mark.parametrize("count", [2, 5, 12])
@pytest.mark.parametrize("common", [0.0, 2.0])
def test_a_mixture_of_old_deltas_has_nothing_new(count: int, common: float):
    """Whether the old ones are strangers to each other or alike."""
    many = vectors(12) + np.float32(common) * vectors(1, seed=9)
    mixture = np.random.default_rng(1).uniform(0.5, 1, count).astype(np.float32) @ many[:count]
    (one,) = knowing(*many).compare([mixture])
    assert 0.2 < one.echo < 0.99
    assert np.linalg.norm(one.novel) < 1e-4 * np.linalg.norm(mixture)


def test_of_a_noised_mixture_the_noise_is_left():
    many, noise = vectors(3), vectors(1, seed=5)[0] * np.float32(np.sqrt(3))
    mixture = many.sum(axis=0)
    (one,) = knowing(*many).compare([mixture + noise])
    assert abs(one.novel @ mixture) < 1e-2
    assert np.linalg.norm(one.novel) <= np.linalg.norm(noise)
    assert one.novel @ noise > 0.98 * noise @ noise


@pytest.mark.parametrize("since", [0, 25, 38])
@pytest.mark.parametrize("noised", [0.0, 1.0, 2.0])
def test_a_movement_of_the_head_has_nothing_new(since: int, noised: float):
    """So many legs that each resembles their sum too little, let alone under noise."""
    many = vectors(40)
    moved = many[since:].sum(axis=0)
    noise = vectors(1, seed=5)[0]
    noise -= np.float32((noise @ moved) / (moved @ moved)) * moved
    noise *= np.float32(noised * np.linalg.norm(moved) / np.linalg.norm(noise))
    (one,) = knowing(*many).compare([moved + noise])
    assert abs(one.novel @ moved) < 1e-3 * (moved @ moved)
    assert np.linalg.norm(one.novel) <= np.linalg.norm(noise) + 1e-3


def test_projection_is_what_least_squares_gives():
    """An independent calculation with more deltas remembered than explain anything."""
    many = vectors(40)
    delta = many[3] - np.float32(0.7) * many[8] + np.float32(0.5) * many[31] + vectors(1, seed=6)[0]
    (one,) = knowing(*many).compare([delta])
    chosen = many[[3, 8, 31]].T.astype(np.float64)
    shares = np.linalg.lstsq(chosen, delta.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(one.novel, delta - chosen @ shares, atol=1e-5)


def test_resemblance_below_the_least_is_left_alone():
    near, far, new = vectors(3)
    (one,) = knowing(far, near).compare([near + np.float32(0.1) * far + new])
    assert abs(one.novel @ near) < 1e-2
    assert one.novel @ far > 1


def test_with_a_least_of_one_only_the_nearest_explains():
    near, far, last = vectors(3)
    known = Novelties(least=1.0)
    for delta in (far, near, last):
        known.remember(delta)
    (one,) = known.compare([2 * near + far])
    assert abs(one.novel @ near) < 1e-2
    assert one.novel @ far > 100


def test_in_few_dimensions_strangers_explain_nothing():
    """With more remembered than there are parameters, any delta lies in their span."""
    rng = np.random.default_rng(2)
    many = rng.normal(size=(60, 30)).astype(np.float32)
    delta = rng.normal(size=30).astype(np.float32)
    (one,) = knowing(*many).compare([delta])
    assert np.linalg.norm(one.novel) > 0.5 * np.linalg.norm(delta)


def test_remembering_more_later_gives_the_same():
    """Products kept from earlier comparisons are completed, not trusted."""
    many = vectors(10)
    mixture = many[[1, 8]].sum(axis=0)
    known = knowing(*many[:5])
    known.compare([mixture])
    for delta in many[5:]:
        known.remember(delta)
    (late,), (fresh,) = known.compare([mixture]), knowing(*many).compare([mixture])
    np.testing.assert_array_equal(late.novel, fresh.novel)
    assert late.echo == fresh.echo


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_alike_the_later_is_the_echo(order: tuple[int, int]):
    (delta, other) = vectors(2)
    pair = np.stack([delta, np.float32(3) * delta])[list(order)]
    first, between, second = Novelties().compare([pair[0], other, pair[1]])
    assert first.echo == 0 and between.echo < 0.3
    assert second.echo == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(second.novel, pair[1])  # what siblings explain is not taken out


def test_a_tiny_delta_does_not_speak_for_a_whole_direction():
    """Whether it comes first or last: what counts is how long all others are."""
    direction, rest, other, another = vectors(4)
    tiny = np.float32(1e-6) * direction
    for known in (knowing(tiny, other, another), knowing(other, another, tiny)):
        one, along = known.compare([direction + rest, direction])
        np.testing.assert_array_equal(one.novel, knowing(other, another).compare([direction + rest])[0].novel)
        assert along.echo < 0.99  # and nobody is refused for its sake


@pytest.mark.parametrize("scale", [1.0, 8.0, 30.0, 1000.0])
def test_a_noised_replay_has_nothing_new_however_long_it_is(scale: float):
    old, other, noise = vectors(3)
    noise -= (noise @ old) / (old @ old) * old
    (one,) = knowing(old, other).compare([np.float32(scale) * (old + np.float32(0.2) * noise)])
    assert abs(one.novel @ old) < 1e-3 * scale * (old @ old)


def test_in_few_dimensions_strangers_are_no_echoes():
    rng = np.random.default_rng(0)
    known = knowing(*rng.normal(size=(20, 2)).astype(np.float32))
    assert all(one.echo == 0 for one in known.compare(list(rng.normal(size=(20, 2)).astype(np.float32))))


def test_zeros_resemble_nothing():
    (delta,) = vectors(1)
    nothing = np.zeros_like(delta)
    still, moved = knowing(nothing, delta).compare([nothing, delta])
    assert still.echo == 0 and not still.novel.any()
    assert moved.echo == pytest.approx(1)


def quadratic(rows: jax.Array, theta: jax.Array) -> jax.Array:
    return (rows @ theta) ** 2


def game(seed: int = 0, participants: int = 5) -> Composition:
    keys = jax.random.split(jax.random.key(seed), 3)
    rows = jax.random.normal(keys[0], (60, P)) / np.sqrt(P)
    base, deltas = jax.random.normal(keys[1], (P,)), jax.random.normal(keys[2], (participants, P))
    return Composition(Partial(quadratic, rows), base, deltas, jnp.full(participants, 1 / participants))


def test_directions_are_valued_along_the_way_of_the_deltas():
    one = game()
    np.testing.assert_array_equal(
        aumann_shapley(one, directions=one.deltas).values, aumann_shapley(one).values
    )
    halves = aumann_shapley(one, directions=0.5 * one.deltas).values
    np.testing.assert_allclose(2 * halves, aumann_shapley(one).values, rtol=1e-5)
    nothing = one.deltas.at[2].set(0.0)
    values = aumann_shapley(one, directions=nothing).values
    assert values[2] == 0
    np.testing.assert_allclose(np.delete(values, 2), np.delete(aumann_shapley(one).values, 2), rtol=1e-5)
    with pytest.raises(ConfigError, match="one for each delta"):
        aumann_shapley(one, directions=one.deltas[:2])


def test_chance_is_the_spread_of_random_directions():
    one = game()
    stated = chance(one)
    lengths = np.linalg.norm(one.deltas, axis=1)
    found = []
    for seed in range(200):
        noise = vectors(5, seed)
        noise *= (lengths / np.linalg.norm(noise, axis=1))[:, None]
        found.append(aumann_shapley(one, directions=jnp.asarray(noise)).values)
    np.testing.assert_allclose(np.std(found, axis=0), stated, rtol=0.2)
    idle = Composition(one.losses, one.base, one.deltas.at[1].set(0.0), one.weights)
    assert chance(idle)[1] == 0
