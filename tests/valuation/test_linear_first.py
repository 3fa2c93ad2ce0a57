"""Losses in two steps, and the tables that make coalitions of them cheap."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from relayjax.errors import ConfigError
from relayjax.valuation import Composition, aumann_shapley
from relayjax.valuation.exact import all_coalitions
from relayjax.valuation.games import DenseFirst, LinearFirst, blocks, tune_block
from relayjax.valuation.games.blocks import block_that_fits
from relayjax.valuation.games.linear_first import CACHED, Whole, at_once, parts_bytes, saves_time
from relayjax.valuation.games.subset_sums import DirectSums, SubsetSums, group_sizes, subset_sums

IN, HIDDEN, OUT, E = 96, 7, 3, 20
CUTS = np.cumsum([HIDDEN, IN * HIDDEN, OUT])  # bias, kernel, second bias, second kernel
P = (IN + 1) * HIDDEN + (HIDDEN + 1) * OUT


def cut(theta: jax.Array) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
    bias, kernel, last, second = jnp.split(theta, CUTS)
    return kernel.reshape(IN, HIDDEN), bias, (second.reshape(HIDDEN, OUT), last)


def rest(labels: jax.Array, pre_activations: jax.Array, others: tuple[jax.Array, jax.Array]) -> jax.Array:
    logits = jax.nn.relu(pre_activations) @ others[0] + others[1]
    return jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


def game(participants: int, seed: int = 0, **changes: Any) -> Composition:
    rng = np.random.default_rng(seed)
    inputs, labels = rng.normal(size=(E, IN)), rng.integers(0, OUT, E)
    arrays = (
        rng.normal(size=P),
        rng.normal(size=(participants, P)),
        rng.uniform(0, 1 / participants, participants),
    )
    losses = DenseFirst(jnp.float32(inputs), Partial(rest, jnp.asarray(labels)), cut)
    scales = IN**-0.5, IN**-0.5, 1.0
    base, deltas, weights = (jnp.float32(a * scale) for a, scale in zip(arrays, scales, strict=True))
    return Composition(losses, base, deltas, weights, **changes)


def plain(game: Composition) -> Composition:
    """The same game without steps and tables."""
    return dataclasses.replace(game, losses=Partial(DenseFirst.__call__, game.losses), table_bytes=0)


def in_float64(game: Composition, coalitions: np.ndarray) -> np.ndarray:
    """The same losses by NumPy, one coalition at a time."""
    base, deltas, weights = (np.asarray(a, np.float64) for a in (game.base, game.deltas, game.weights))
    inputs, labels = (np.asarray(leaf) for leaf in jax.tree.leaves(game.losses))

    def losses(theta: np.ndarray) -> np.ndarray:
        bias, kernel, last, second = np.split(theta, CUTS)
        hidden = np.maximum(inputs @ kernel.reshape(IN, HIDDEN) + bias, 0)
        logits = hidden @ second.reshape(HIDDEN, OUT) + last
        return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(E), labels]

    return np.stack([losses(base) - losses(base + (c * weights) @ deltas) for c in coalitions])


@pytest.mark.parametrize("participants", [1, 6, 23])
def test_tables_give_what_float64_gives(participants: int):
    coalitions = np.random.default_rng(1).random((40, participants)) < 0.5
    staged = game(participants)
    assert staged.staged is staged.losses
    found = staged.utility_per_example(coalitions)
    np.testing.assert_allclose(found, in_float64(staged, coalitions), rtol=0, atol=3e-6)
    np.testing.assert_allclose(
        staged.utility(coalitions), plain(staged).utility(coalitions), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("rows", [32, 16, 0])
def test_less_memory_means_smaller_tables_and_the_same_values(rows: int):
    participants, coalitions = 8, all_coalitions(8)
    wanted = game(participants)
    row = parts_bytes(wanted.staged, wanted.base)
    assert row == 4 * (E * HIDDEN + (HIDDEN + 1) * OUT)
    small = dataclasses.replace(wanted, table_bytes=rows * row)
    sums = small._placed[1]
    if rows >= 16:
        assert isinstance(sums, SubsetSums) and small.staged is small.losses
        assert sum(leaf.nbytes for leaf in jax.tree.leaves(sums.table)) <= rows * row
    else:
        assert isinstance(sums, DirectSums) and isinstance(small.staged, Whole)
    np.testing.assert_allclose(small.utility(coalitions), wanted.utility(coalitions), rtol=0, atol=1e-6)


@pytest.mark.parametrize("participants", [1, 2, 5, 7, 16, 64, 100])
def test_groups_are_the_largest_that_fit_and_even(participants: int):
    found = [group_sizes(participants, 10, limit) for limit in range(0, 10 * 2**8 * participants, 100)]
    for limit, sizes in zip(range(0, 10 * 2**8 * participants, 100), found, strict=True):
        if sizes is None:
            assert limit < 20 * participants
            continue
        assert sum(sizes) == participants and 1 <= max(sizes) <= 5 and max(sizes) - min(sizes) <= 1
        assert 10 * sum(2**size for size in sizes) <= limit
    for fewer, more in pairwise(sizes for sizes in found if sizes):
        assert len(fewer) >= len(more)
    assert len(found[-1] or ()) == -(-participants // 5)


@pytest.mark.parametrize("sizes", [(3,), (1, 1, 1), (5, 4, 4)])
def test_a_coalition_is_the_sum_of_its_members(sizes: tuple[int, ...]):
    participants, rng = sum(sizes), np.random.default_rng(0)
    base, deltas, weights = (
        rng.integers(-9, 9, shape) for shape in ((4,), (participants, 4), (participants,))
    )
    coalitions = rng.random((50, participants)) < 0.5
    sums = subset_sums(
        Whole(Partial(lambda theta: theta)),
        *(jnp.float32(array) for array in (base, deltas, weights)),
        sizes=sizes,
    )
    composed = jax.vmap(sums.compose)(jnp.asarray(sums.picks(coalitions)))
    np.testing.assert_array_equal(composed, base + (coalitions * weights) @ deltas)  # small integers: exact


def test_steps_are_taken_only_where_they_save_work():
    few, many = game(3), game(60)
    assert parts_bytes(few.losses, few.base) < few.base.nbytes  # then always
    assert saves_time(few.losses, few.base, 3) and saves_time(many.losses, many.base, 60)
    rows = jnp.ones((500, 2))
    narrow = DenseFirst(
        rows, Partial(lambda pre, _: pre[:, 0] ** 2), lambda theta: (theta[:4].reshape(2, 2), theta[4:], ())
    )
    wide = Composition(narrow, jnp.zeros(6), jnp.ones((20, 6)), jnp.ones(20))
    assert isinstance(wide.staged, Whole)
    assert wide.utility(np.ones((1, 20), bool)) == -(60.0**2)


def test_aumann_shapley_takes_the_steps_too():
    staged = game(6)
    found, expected = aumann_shapley(staged), aumann_shapley(plain(staged))
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.stderr, expected.stderr, rtol=1e-3)


def test_a_game_of_the_same_shapes_is_not_compiled_again():
    traces = []

    def counted(labels: jax.Array, pre_activations: jax.Array, others: Any) -> jax.Array:
        traces.append(pre_activations.shape)
        return rest(labels, pre_activations, others)

    def value(seed: int) -> None:
        made = game(6, seed)
        losses = dataclasses.replace(made.losses, rest=Partial(counted, *made.losses.rest.args))
        one = dataclasses.replace(made, losses=losses)
        one.utility(all_coalitions(6)[: 10 * (seed + 1)])
        aumann_shapley(one)

    value(0)
    compiled = len(traces)
    assert compiled > 0
    value(1)
    assert len(traces) == compiled


def test_losses_of_ones_own_are_recognised_by_their_two_methods():
    class Scaled:
        def linear(self, theta: jax.Array) -> jax.Array:
            return 2 * theta

        def after(self, parts: jax.Array) -> jax.Array:
            return parts**2

        def __call__(self, theta: jax.Array) -> jax.Array:
            return self.after(self.linear(theta))

    assert isinstance(Scaled(), LinearFirst) and not isinstance(Partial(rest), LinearFirst)
    arrays = jnp.zeros(2), jnp.eye(2), jnp.ones(2)
    with pytest.raises(ConfigError, match="must be a pytree"):
        Composition(Scaled(), *arrays)
    jax.tree_util.register_static(Scaled)
    coalitions = all_coalitions(2)
    found = Composition(Scaled(), *arrays).utility_per_example(coalitions)
    np.testing.assert_array_equal(found, -4.0 * coalitions)


def test_the_default_block_fits_into_memory():
    one = game(4)
    fitting = [block_that_fits(one.staged, one.base, limit) for limit in (1, 10**4, 10**5, 10**6, 10**12)]
    assert fitting[0] == 1 and fitting[-1] == 256 and fitting == sorted(fitting) and 1 < fitting[2] < 256
    assert all(block & (block - 1) == 0 for block in fitting)
    each = parts_bytes(one.staged, one.base)
    assert all(
        block * each <= limit for block, limit in zip(fitting[1:], (10**4, 10**5, 10**6), strict=False)
    )


def test_the_fastest_block_that_fits_is_chosen(monkeypatch: pytest.MonkeyPatch):
    taken = {1: 3.0, 2: 1.0, 4: 2.0}
    monkeypatch.setattr(blocks, "_seconds", lambda game, coalitions: taken[game.block])
    monkeypatch.setattr(Composition, "utility", lambda self, coalitions: np.zeros(len(coalitions)))
    assert tune_block(game(4), [1, 2, 4], coalitions=8) == 2

    def utility(self: Composition, coalitions: np.ndarray) -> np.ndarray:
        if self.block_size > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return np.zeros(len(coalitions))

    monkeypatch.setattr(Composition, "utility", utility)
    assert tune_block(game(4), [4, 2, 1], coalitions=8) == 1
    with pytest.raises(ConfigError, match=r"none of the candidates \[4, 2\]"):
        tune_block(game(4), [4, 2])


def test_as_many_parts_at_once_as_the_caches_hold():
    steps = game(4)
    size = parts_bytes(steps.losses, steps.base)
    assert at_once(steps.losses, steps.base, 4) == 4
    assert at_once(steps.losses, steps.base, 10**9) == CACHED // size
    assert at_once(plain(steps).staged, steps.base, 4) == 1
